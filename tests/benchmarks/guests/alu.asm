; alu - dependent integer arithmetic, 11 instructions a step.
%define ROUNDS 40000000
%include "bench.inc"

workload:
        mov     eax, 0x12345678
        mov     ebx, 0x9e3779b9
align 16
.step:
        add     eax, ebx
        adc     ebx, 0x01000193
        xor     ebx, eax
        rol     eax, 7
        lea     edx, [rax + rbx * 2 + 17]
        sub     edx, ecx
        shr     edx, 3
        imul    edx, edx, 0x5bd1e995
        xor     eax, edx
        dec     ecx
        jnz     .step
        ret
