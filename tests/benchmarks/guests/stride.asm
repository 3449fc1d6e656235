; stride - a store and a load in each page of 64 MiB: more pages than a TLB holds.
%define ROUNDS 400
%define STEP (4096 + 64)
%include "bench.inc"

workload:
        xor     eax, eax
.pass:
        mov     esi, STRIDE_BASE
.touch:
        mov     [rsi], ecx
        add     eax, [rsi]
        add     esi, STEP
        cmp     esi, STRIDE_BASE + STRIDE_BYTES
        jb      .touch
        dec     ecx
        jnz     .pass
        ret
