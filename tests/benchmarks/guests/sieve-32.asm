; sieve-32 - the sieve in 32-bit protected mode without paging.
%define PROTECTED_MODE
%define rdi edi
%define rbx ebx
%define rsi esi
%include "sieve.asm"
