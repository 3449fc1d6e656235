; pv.asm - the workload of same-guest-three-mmus as a PV guest.
;
; The processor walks the guest's own tables, with machine frames in them; only Xen may write there. A
; hypercall for each entry would cost more than a VM exit saves: mmu_update takes a list.

%include "pv-boot.inc"
%include "console.inc"
%include "workload.inc"

%define PAGE_RW         7
%define PAGE_RO         5
%define BATCH           128

main:
        mov     edi, directory                  ; the directory and its tables become page tables:
        mov     ecx, 1 + PAGES / 512            ; read-only first
.protect:
        push    rcx
        push    rdi
        call    frame_of
        shl     rax, 12
        or      rax, PAGE_RO
        mov     rsi, rax
        mov     rdi, [rsp]
        hypercall __HYPERVISOR_update_va_mapping, rdi, rsi, UVMF_INVLPG
        pop     rdi
        pop     rcx
        add     rdi, PAGE_SIZE
        loop    .protect

        mov     edi, tables                     ; then into the directory
        xor     ebx, ebx
.next_table:
        push    rdi
        call    frame_of
        shl     rax, 12
        or      rax, PAGE_RW
        push    rax
        mov     edi, directory
        call    frame_of
        shl     rax, 12
        lea     rcx, [rax + rbx * 8]
        pop     rax
        call    append
        pop     rdi
        add     rdi, PAGE_SIZE
        inc     ebx
        cmp     ebx, PAGES / 512
        jb      .next_table
        call    flush_entries

        mov     edi, directory                  ; and the directory into the L3, for the second GiB
        call    frame_of
        shl     rax, 12
        or      rax, PAGE_RW
        mov     rcx, [start_info]
        mov     rcx, [rcx + start_info_pv.pt_base]
        mov     rcx, [rcx]
        mov     rdx, 0x000ffffffffff000
        and     rcx, rdx
        add     rcx, 8
        call    append
        call    flush_entries
        jmp     workload

set_entry:
        push    rsi
        shl     edi, 12
        add     edi, FIRST_FRAME
        call    frame_of
        shl     rax, 12
        or      rax, PAGE_RW
        mov     r8, rax
        mov     edi, [rsp]                      ; its table, and the machine address of the entry
        shr     edi, 9
        shl     edi, 12
        add     edi, tables
        call    frame_of
        shl     rax, 12
        pop     rsi
        and     esi, 511
        lea     rcx, [rax + rsi * 8]
        mov     rax, r8

; The entry at machine address RCX is to become RAX.
append:
        mov     edx, [used]
        shl     edx, 4
        mov     [requests + rdx + mmu_update.ptr], rcx
        mov     [requests + rdx + mmu_update.val], rax
        inc     dword [used]
        cmp     dword [used], BATCH
        je      send
        ret

flush_entries:
        call    send
        hypercall __HYPERVISOR_mmuext_op, flush, 1, 0, DOMID_SELF
        ret

send:
        mov     eax, [used]
        test    eax, eax
        jz      .nothing
        hypercall __HYPERVISOR_mmu_update, requests, rax, 0, DOMID_SELF
        mov     dword [used], 0
        test    rax, rax
        js      .refused
.nothing:
        ret
.refused:
        print   "Xen has refused an entry.", 10
        ret

; RAX = machine frame of the linear address RDI.
frame_of:
        mov     rax, [start_info]
        mov     rax, [rax + start_info_pv.mfn_list]
        shr     rdi, 12
        mov     rax, [rax + rdi * 8]
        ret


section .data
align 8
flush:                                          ; struct mmuext_op
        dd      MMUEXT_TLB_FLUSH_LOCAL, 0
        dq      0, 0

section .bss
alignb PAGE_SIZE
directory:
        resb    PAGE_SIZE
tables:
        resb    PAGE_SIZE * 4
requests:
        resb    BATCH * mmu_update_size
used:
        resd    1
section .text
