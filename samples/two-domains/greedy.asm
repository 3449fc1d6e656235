; greedy.asm - the second of two guests that share a processor: it computes.
;
; It adds up numbers and makes no hypercall but those that print. Only the end of its time slice lets
; the other domain run meanwhile.

%include "boot.inc"
%include "console.inc"

%define ROUNDS          4
%define ADDITIONS       1000000

main:
        mov     ebx, 1
.round:
        xor     eax, eax
        mov     ecx, ADDITIONS
.addition:
        add     rax, rcx
        loop    .addition
        imul    rax, rbx
        print   "greedy: sum "
        print_decimal rax
        print   10
        inc     ebx
        cmp     ebx, ROUNDS
        jbe     .round
        print   "greedy: done", 10
        ret
