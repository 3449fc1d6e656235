; bytecode - a threaded interpreter: an indirect jump a bytecode.
%define ROUNDS 4000000
%include "bench.inc"

%macro next 0
        movzx   edx, byte [rsi]
        inc     rsi
        jmp     [r8 + rdx * 8]
%endmacro

workload:
        mov     ebx, 1
        xor     eax, eax
        mov     r8, operations
        mov     rsi, program
        next
add_register:
        add     eax, ebx
        next
xor_register:
        xor     ebx, eax
        next
constant:
        movzx   edx, byte [rsi]
        inc     rsi
        add     ebx, edx
        next
rotate:
        rol     eax, 3
        next
swap:
        xchg    eax, ebx
        next
skip_if_odd:
        mov     edx, eax
        and     edx, 1
        add     rsi, rdx
        next
again:
        dec     ecx
        jz      .leave
        mov     rsi, program
.leave:
        next
end:
        ret

section .rodata align=8
operations:
        dq      add_register, xor_register, constant, rotate, swap, skip_if_odd, again, end
program:
        db      0, 1, 2, 77, 3, 5, 4, 0, 4, 1, 5, 3, 2, 19, 0, 6, 7
