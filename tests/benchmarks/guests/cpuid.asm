; cpuid - an instruction that always leaves a guest.
%define ROUNDS 3000000
%include "bench.inc"

workload:
        mov     esi, ecx
.step:
        xor     eax, eax
        cpuid
        dec     esi
        jnz     .step
        ret
