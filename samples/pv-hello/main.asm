; pv-hello - the smallest paravirtualized guest.
;
; It runs at privilege level 3 and knows it: it prints its privilege level, reads a control register,
; which is #GP at level 3 and which Xen emulates, and executes CPUID in the way that a PV kernel has to.

%include "pv-boot.inc"
%include "console.inc"

main:
        print   "Hello from a PV guest.", 10

        mov     eax, cs                         ; RPL of CS: the privilege level
        and     eax, 3
        print   "It runs at privilege level "
        print_decimal rax
        print   ".", 10

        mov     rax, cr0                        ; #GP(0) at level 3: Xen emulates it
        and     eax, 1 << 31 | 1
        print   "CR0.PG and CR0.PE, by Xen: "
        print_hex rax
        print   10

        mov     eax, XEN_CPUID_FIRST_LEAF       ; UD2 and the letters "xen": Xen emulates CPUID
        ud2
        db      "xen"
        cpuid
        mov     [signature], ebx
        mov     [signature + 4], ecx
        mov     [signature + 8], edx
        mov     esi, signature
        mov     ecx, 12
        call    console_append
        print   " says the forced-emulation prefix.", 10
        ret

section .bss
signature:
        resb    12
