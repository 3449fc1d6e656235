; greedy.asm - the second of two guests that share a processor: it computes.
;
; It adds up numbers and makes no hypercall but those that print. Only the scheduler's time slice,
; seen here as the VM exit "VMX-preemption timer expired", lets the other domain run meanwhile.

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
