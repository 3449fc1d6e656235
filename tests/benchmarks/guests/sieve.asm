; sieve - the primes below 4 MiB: byte stores and byte loads.
%define ROUNDS 8
%define SIZE 0x400000
%include "bench.inc"

workload:
        mov     ebp, ecx
.round:
        mov     rdi, DATA_BASE
        mov     ecx, SIZE / 4
.fill:
        mov     dword [rdi], 0x01010101
        add     rdi, 4
        dec     ecx
        jnz     .fill
        mov     rdi, DATA_BASE
        mov     ebx, 2
.candidate:
        cmp     byte [rdi + rbx], 0
        je      .composite
        mov     esi, ebx
        imul    esi, ebx
.strike:
        mov     byte [rdi + rsi], 0
        add     esi, ebx
        cmp     esi, SIZE
        jb      .strike
.composite:
        inc     ebx
        cmp     ebx, 2048
        jb      .candidate
        xor     eax, eax
        xor     esi, esi
.count:
        movzx   edx, byte [rdi + rsi]
        add     eax, edx
        inc     esi
        cmp     esi, SIZE
        jb      .count
        dec     ebp
        jnz     .round
        ret
