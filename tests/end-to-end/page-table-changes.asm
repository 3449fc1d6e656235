; A guest that runs a script of changes to its page tables, control registers and memory. Each entry
; has 32 bytes: operation, address, value, count. Every exception is logged, and the script goes on.

%include "boot.inc"

%define SCRIPT          0x400000
%define LOG             0x600000
%define LOG_MASK        0x3fff8
%define ROOTS           0x820000
%define USER_CODE       (127 << 39)
%define SELECTOR_USER_DATA (0x18 | 3)
%define SELECTOR_USER_CODE (0x20 | 3)
%define SELECTOR_TSS    0x28
%define TSS_SIZE        104
%define VECTORS         0x81
%define LAST            24

main:
        mov     [saved_rsp], rsp
        mov     eax, tss
        mov     [tss_descriptor + 2], ax
        shr     eax, 16
        mov     [tss_descriptor + 4], al
        mov     [tss_descriptor + 7], ah
        mov     eax, main_stack
        mov     [tss + 4], rax                  ; RSP0
        mov     eax, ist_stack
        mov     [tss + 36], rax                 ; IST1, which the script moves
        mov     eax, fault_stack
        mov     [tss + 44], rax                 ; IST2, for #DF and #PF
        lgdt    [own_gdt_pointer]
        mov     eax, SELECTOR_TSS
        ltr     ax
        xor     ecx, ecx
        mov     edi, idt
        mov     ebx, stubs
.gate:  mov     eax, ebx
        mov     [rdi], ax
        mov     word [rdi + 2], SELECTOR_CODE
        mov     word [rdi + 4], 0xee01          ; present, DPL 3, interrupt gate, IST1
        shr     eax, 16
        mov     [rdi + 6], ax
        add     edi, 16
        add     ebx, 16
        inc     ecx
        cmp     ecx, 32
        jb      .gate
        mov     byte [idt + 16 * 8 + 4], 2
        mov     byte [idt + 16 * 14 + 4], 2
        mov     eax, from_user
        mov     edi, idt + 16 * 0x80
        mov     [rdi], ax
        mov     word [rdi + 2], SELECTOR_CODE
        mov     word [rdi + 4], 0xee01
        shr     eax, 16
        mov     [rdi + 6], ax
        lidt    [idt_pointer]
        ; Two roots, which differ in the entries that the script writes.
        lea     rax, [user_pdpt + 7]
        mov     [page_map_level_4 + 8 * 127], rax
        lea     rax, [user_directory + 7]
        mov     [user_pdpt], rax
        lea     rax, [user_table + 7]
        mov     [user_directory], rax
        lea     rax, [user_page + 5]
        mov     [user_table], rax
        mov     esi, page_map_level_4
        mov     edi, ROOTS
        mov     ecx, 512
        rep     movsq
        mov     esi, page_map_level_4
        mov     ecx, 512
        rep     movsq
        mov     eax, ROOTS
        mov     cr3, rax
        mov     qword [script], SCRIPT
        mov     qword [log], LOG

next:   mov     rsp, main_stack
        mov     rsi, [script]
        mov     rcx, [rsi]
        mov     rdi, [rsi + 8]
        mov     rax, [rsi + 16]
        mov     rdx, [rsi + 24]
        add     rsi, 32
        mov     [script], rsi
        cmp     rcx, LAST
        ja      next
        jmp     [operations + rcx * 8]

; note: RAX goes to the log. Changes RBX.
note:   mov     rbx, [log]
        mov     [rbx], rax
        add     ebx, 8
        and     ebx, LOG_MASK
        or      ebx, LOG
        mov     [log], rbx
        ret

align 16
stubs:
%assign vector 0
%rep 32
  align 16
  %if vector = 8 || (vector >= 10 && vector <= 14) || vector = 17
        push    vector
        jmp     exception
  %else
        push    0
        push    vector
        jmp     exception
  %endif
  %assign vector vector + 1
%endrep

exception:
        mov     rax, [rsp + 8]                  ; the error code and the vector
        shl     rax, 8
        or      rax, [rsp]
        call    note
        mov     rax, cr2
        call    note
        mov     rax, [rsp + 16]                 ; RIP
        call    note
        mov     rax, [rsp + 32]                 ; RFLAGS
        call    note
        jmp     next

from_user:
        call    note
        jmp     next

finish: mov     rsp, [saved_rsp]
        mov     eax, page_map_level_4
        mov     cr3, rax
        ret

op_write:
        mov     [rdi], rax
        jmp     next
op_read:
        mov     rax, [rdi]
        call    note
        jmp     next
op_execute:
        call    rdi
        jmp     next
op_write_protect:
        shl     eax, 16
        and     eax, 1 << 16
        mov     rbx, cr0
        and     ebx, ~(1 << 16)
        or      eax, ebx
        mov     cr0, rax
        jmp     next
op_smep_smap:
        and     eax, 3 << 20
        mov     rbx, cr4
        and     ebx, ~(3 << 20)
        or      eax, ebx
        mov     cr4, rax
        jmp     next
op_nx:
        and     eax, 1 << 11
        or      eax, 1 << 8
        xor     edx, edx
        mov     ecx, 0xc0000080
        wrmsr
        jmp     next
op_root:
        and     eax, 1
        shl     eax, 12
        add     eax, ROOTS
        mov     cr3, rax
        mov     rax, cr3
        call    note
        jmp     next
op_invlpg:
        invlpg  [rdi]
        jmp     next
op_user_write:
        mov     ebx, user_page.write - user_page
        jmp     to_user
op_user_read:
        mov     ebx, user_page.read - user_page
        jmp     to_user
op_user_execute:
        mov     ebx, user_page.execute - user_page
        jmp     to_user
op_user_add:
        mov     ebx, user_page.add - user_page
to_user:
        mov     rsi, USER_CODE
        add     rsi, rbx
        push    SELECTOR_USER_DATA
        push    rdi
        push    2
        push    SELECTOR_USER_CODE
        push    rsi
        iretq
op_ac:
        pushfq
        and     eax, 1 << 18
        and     dword [rsp], ~(1 << 18)
        or      [rsp], eax
        popfq
        jmp     next
op_add:
        add     [rdi], eax
        jmp     next
op_store_string:
        mov     ecx, edx
        rep     stosq
        jmp     next
op_move_string:
        mov     rsi, rdi
        mov     rdi, [script]                   ; the next address
        mov     rdi, [rdi + 8]
        mov     ecx, edx
        rep     movsb
        jmp     next
op_push:
        mov     rsp, rdi
        push    rax
        jmp     next
op_call:
        mov     rsp, rdi
        call    .here
.here:  jmp     next
op_exchange:
        xchg    [rdi], rax
        call    note
        jmp     next
op_write_byte:
        mov     [rdi], al
        jmp     next
op_push_memory:
        mov     rsp, rdi
        push    qword [rsi + 8 - 32 + 8]        ; the value
        push    qword [rdi]
        jmp     next
op_interrupt_stack:                             ; the stack of interrupts is where the script says
        mov     [tss + 36], rdi
        int     0x80
op_restore:
        mov     eax, ist_stack
        mov     [tss + 36], rax
        jmp     next

section .data
align 8
operations:
        dq      finish, op_write, op_read, op_execute, op_write_protect, op_smep_smap, op_nx, op_root
        dq      op_invlpg, op_user_write, op_user_read, op_user_execute, op_user_add, op_ac, op_add
        dq      op_store_string, op_move_string, op_push, op_call, op_exchange, op_write_byte
        dq      op_push_memory, op_interrupt_stack, op_read, op_restore
align 16
own_gdt:
        dq      0
        dq      0x00af9b000000ffff
        dq      0x00cf93000000ffff
        dq      0x00cff3000000ffff
        dq      0x00affb000000ffff
tss_descriptor:
        dq      0x0000890000000000 | TSS_SIZE - 1
        dq      0
own_gdt_end:
own_gdt_pointer:
        dw      own_gdt_end - own_gdt - 1
        dq      own_gdt
idt_pointer:
        dw      16 * VECTORS - 1
        dq      idt

section .text
align 4096
user_page:
.write: mov     [rdi], rax
        int     0x80
.read:  mov     rax, [rdi]
        int     0x80
.execute:
        call    rdi
        int     0x80
.add:   add     [rdi], rax
        int     0x80
align 4096

section .bss
alignb 4096
user_pdpt:      resb PAGE_SIZE
user_directory: resb PAGE_SIZE
user_table:     resb PAGE_SIZE
                resb PAGE_SIZE
main_stack:     resb PAGE_SIZE
ist_stack:
                resb PAGE_SIZE
fault_stack:
idt:            resb 16 * VECTORS
tss:            resb TSS_SIZE
saved_rsp:      resq 1
script:         resq 1
log:            resq 1
section .text
