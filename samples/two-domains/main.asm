; two-domains - the first of two guests that share a processor: it gives way.
;
; After each line this one yields: "let somebody else run". The other one, greedy.asm, never does, and
; runs until Xen takes the processor away. two-domains.hyperstep.json makes a domain of each.

%include "boot.inc"
%include "console.inc"

%define ROUNDS 4

main:
        mov     ebx, 1
.round:
        print   "polite: round "
        print_decimal rbx
        print   10
        hypercall __HYPERVISOR_sched_op, SCHEDOP_yield, 0
        inc     ebx
        cmp     ebx, ROUNDS
        jbe     .round
        print   "polite: done", 10
        ret
