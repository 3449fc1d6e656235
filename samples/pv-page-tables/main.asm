; pv-page-tables - direct paging: a PV guest makes a page table of its own, and Xen checks it.
;
; The tables of a PV guest hold machine frames, and the processor walks them as they are; so Xen lets
; no guest write to one unseen. The guest fills a page, maps it read-only, registers it (a pin), and
; changes it by hypercalls from then on, or by writes that Xen emulates. What would reach beyond the
; guest's own memory, or make a table writable, is refused.

%include "pv-boot.inc"
%include "console.inc"

%define PRESENT         1
%define WRITABLE        2
%define USER            4
%define PAGE_RW         PRESENT | WRITABLE | USER
%define PAGE_RO         PRESENT | USER

; Linear addresses from here on get a table of their own: slot 511 of the first L2.
%define WINDOW          0x3fe00000
%define WINDOW_SLOT     511

; report TEXT: prints what a hypercall has returned.
%macro report 1
        print   %1, ": "
        call    print_result
%endmacro

main:
        hypercall __HYPERVISOR_set_trap_table, traps

        mov     rdi, page                       ; 1. The page and its machine frame: the P2M is a
        call    frame_of                        ;    list that start_info names.
        mov     [page_mfn], rax
        mov     rdi, text
        call    frame_of
        mov     [text_mfn], rax

        shl     rax, 12                         ; 2. An L1 table: its first entry maps `text`
        or      rax, PAGE_RO
        mov     [page], rax
        call    pin
        report  "Pin the table while it is mapped writable"

        mov     rsi, [page_mfn]                 ; 3. Map it read-only, and pin it again
        shl     rsi, 12
        or      rsi, PAGE_RO
        hypercall __HYPERVISOR_update_va_mapping, page, rsi, UVMF_INVLPG
        report  "Map the table read-only"
        call    pin
        report  "Pin the table"

        hypercall __HYPERVISOR_vm_assist, VMASST_CMD_enable, VMASST_TYPE_writable_pagetables
        report  "Have writes to page tables emulated"
        mov     qword [page + 8], 0             ; 4. It is read-only, so a write is #PF. Xen looks at
        print   "Write an empty entry: done", 10
                                                ;    it: this one it does for the guest ...
        mov     rax, [page_mfn]
        shl     rax, 12
        or      rax, PAGE_RW
        mov     qword [resume], .not_written    ; ... and this one, which would make the table writable,
        mov     [page + 8], rax                 ;    is the guest's own fault.
        print   "The page table maps itself writable.", 10
.not_written:

        call    find_first_l2                   ; 5. Hook it into the tables that the guest runs on
        mov     rax, [page_mfn]
        shl     rax, 12
        or      rax, PAGE_RW
        lea     rdi, [l2_slot]
        call    update
        report  "Put the table into slot 511 of the first L2"
        mov     esi, WINDOW
        mov     ecx, text_length
        call    console_append

        mov     rax, [page_mfn]                 ; 6. Entries that Xen refuses
        shl     rax, 12
        or      rax, PAGE_RW
        call    update_second
        report  "Map the page table writable"
        mov     rax, 1 << 46 | PAGE_RW
        call    update_second
        report  "Map a frame that is not there"
        mov     rax, [text_mfn]
        shl     rax, 12
        or      rax, PAGE_RW
        call    update_second
        report  "Map a page of its own, writable"
        mov     edi, WINDOW + PAGE_SIZE
        mov     byte [rdi], "T"
        mov     esi, text
        mov     ecx, text_length
        call    console_append

        xor     eax, eax                        ; 7. Take it out, unpin it, and it is memory again
        lea     rdi, [l2_slot]
        call    update
        report  "Take the table out"
        mov     dword [operation], MMUEXT_UNPIN_TABLE
        call    extended
        report  "Unpin it"
        mov     rsi, [page_mfn]
        shl     rsi, 12
        or      rsi, PAGE_RW
        hypercall __HYPERVISOR_update_va_mapping, page, rsi, UVMF_INVLPG
        report  "Map it writable"
        mov     qword [page + 8], 0
        print   "It is written as memory.", 10
        ret

; ---- Hypercalls --------------------------------------------------------------------------------
pin:
        mov     dword [operation], MMUEXT_PIN_L1_TABLE
extended:
        mov     rax, [page_mfn]
        mov     [operation + mmuext_op.mfn], rax
        hypercall __HYPERVISOR_mmuext_op, operation, 1, 0, DOMID_SELF
        ret

; The second entry of the new table becomes RAX.
update_second:
        mov     rcx, [page_mfn]
        shl     rcx, 12
        add     rcx, 8
        mov     [second_slot], rcx
        lea     rdi, [second_slot]

; The entry at the machine address in [RDI] becomes RAX.
update:
        mov     rcx, [rdi]
        mov     [request + mmu_update.ptr], rcx
        mov     [request + mmu_update.val], rax
        hypercall __HYPERVISOR_mmu_update, request, 1, 0, DOMID_SELF
        ret

; ---- Frames ------------------------------------------------------------------------------------
; RAX = machine frame of the linear address RDI: the list has one number for each frame of the domain.
frame_of:
        mov     rax, [start_info]
        mov     rax, [rax + start_info_pv.mfn_list]
        shr     rdi, 12
        mov     rax, [rax + rdi * 8]
        ret

; [l2_slot] = machine address of the entry for WINDOW. The tables hold machine frames; the M2P tells
; which frame of the domain each is, and there it is mapped, read-only.
find_first_l2:
        mov     rax, [start_info]
        mov     rax, [rax + start_info_pv.pt_base]
        mov     rax, [rax]                      ; L4, slot 0: the L3
        call    .follow
        mov     rax, [rax]                      ; L3, slot 0: the L2
        mov     rcx, 0x000ffffffffff000
        and     rax, rcx
        add     rax, WINDOW_SLOT * 8
        mov     [l2_slot], rax
        ret
.follow:                                        ; RAX = linear address of the table that an entry names
        mov     rcx, 0x000ffffffffff000
        and     rax, rcx
        shr     rax, 12
        mov     rcx, MACH2PHYS_VIRT_START
        mov     rax, [rcx + rax * 8]
        shl     rax, 12
        ret

; ---- What is printed of a result ---------------------------------------------------------------
print_result:
        test    rax, rax
        js      .refused
        print   "done", 10
        ret
.refused:
        neg     rax
        print   "refused, error "
        print_decimal rax
        print   10
        ret

; ---- #PF ---------------------------------------------------------------------------------------
; Xen has pushed RCX, R11, the error code, RIP, CS, RFLAGS, RSP, SS.
on_page_fault:
        add     rsp, 16
        pop     rax
        print   "Write an entry that maps the table writable: #PF, error code "
        print_decimal rax
        print   10
        mov     rax, [resume]
        mov     [rsp], rax
        push    0                               ; flags of struct iret_context
        jmp     hypercall_page + 32 * __HYPERVISOR_iret

section .data
align 8
traps:                                          ; struct trap_info: vector, flags, CS, address
        db      14, 0
        dw      FLAT_KERNEL_CS
        dd      0
        dq      on_page_fault
        times 16 db 0

request:                                        ; struct mmu_update
        dq      0, 0
operation:                                      ; struct mmuext_op
        times mmuext_op_size db 0

align PAGE_SIZE
text:
        db      "this line is read through the new page table.", 10
text_length equ $ - text
        align   PAGE_SIZE, db 0

section .bss
alignb PAGE_SIZE
page:
        resb    PAGE_SIZE
page_mfn:
        resq    1
text_mfn:
        resq    1
l2_slot:
        resq    1
second_slot:
        resq    1
resume:
        resq    1
section .text
