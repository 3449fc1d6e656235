; rep-movs - copies 1 MiB by double words, again and again.
%define ROUNDS 400
%define SIZE 0x100000
%include "bench.inc"

workload:
        mov     ebp, ecx
.round:
        mov     esi, DATA_BASE
        mov     edi, DATA_BASE + SIZE
        mov     ecx, SIZE / 4
        rep movsd
        dec     ebp
        jnz     .round
        ret
