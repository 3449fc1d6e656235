; fib - recursive Fibonacci: calls, returns, pushes and pops.
%define ROUNDS 60
%include "bench.inc"

workload:
        mov     ebp, ecx
.round:
        mov     eax, 27
        call    fib
        dec     ebp
        jnz     .round
        ret
fib:
        cmp     eax, 2
        jb      .done
        push    rax
        dec     eax
        call    fib
        pop     rcx
        push    rax
        lea     eax, [rcx - 2]
        call    fib
        pop     rcx
        add     eax, ecx
.done:
        ret
