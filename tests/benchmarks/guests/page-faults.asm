; page-faults - a page fault a round: unmap, INVLPG, touch, map in the handler, IRETQ.
%define ROUNDS 1000000
%include "bench.inc"

workload:
        mov     rax, handler
        mov     [idt + 14 * 16], ax
        mov     word [idt + 14 * 16 + 2], 8
        mov     word [idt + 14 * 16 + 4], 0x8e00
        shr     rax, 16
        mov     [idt + 14 * 16 + 6], ax
        lidt    [idt_pointer]
        mov     rbx, FAULT_VA
.step:
        mov     dword [fault_table], 0
        invlpg  [rbx]
        mov     eax, [rbx]
        dec     ecx
        jnz     .step
        ret
handler:
        push    rax
        mov     rax, cr2
        mov     dword [fault_table], STRIDE_PHYSICAL | 3
        pop     rax
        add     rsp, 8
        iretq

section .data align=16
idt:
        times 32 dq 0, 0
idt_pointer:
        dw      32 * 16 - 1
        dq      idt
