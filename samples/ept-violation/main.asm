; ept-violation - touching guest-physical memory that is not there.
;
; The guest's own page tables allow each of these accesses. The second translation, from
; guest-physical to machine addresses (EPT), has nothing at HOLE: VM exit 48. Xen finds no device
; there either, so it completes the instruction itself: a read gives ones, a write is lost.

%include "boot.inc"
%include "console.inc"

%define HOLE 0x30000000                         ; 768 MiB: above the domain's memory

main:
        mov     ebx, HOLE

        mov     rax, [rbx]                      ; qualification: data read
        print   "8 bytes read from the hole: "
        print_hex rax
        print   10

        mov     qword [rbx], 0x1234             ; qualification: data write
        mov     rax, [rbx]
        print   "and after a write of 0x1234: "
        print_hex rax
        print   10

        movzx   eax, byte [rbx + 0x123]         ; the exit gives the full guest-physical address
        print   "1 byte from the hole: "
        print_hex rax
        print   10

        mov     qword [there], 0x1234           ; memory that is there: no exit
        mov     rax, [there]
        print   "8 bytes of the domain's own memory: "
        print_hex rax
        print   10
        ret

section .bss
alignb 8
there:
        resq    1
