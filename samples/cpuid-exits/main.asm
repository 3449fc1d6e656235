; cpuid-exits - how a guest finds out that it is one.
;
; On VT-x the instruction CPUID always leaves the guest: VM exit 10. The hypervisor answers in the
; processor's place, and so decides what processor the guest believes to have.

%include "boot.inc"
%include "console.inc"

%define MORE_EXITS 8

main:
        mov     eax, 1                          ; ECX bit 31 is always 0 on a processor of silicon
        cpuid
        shr     ecx, 31
        print   "hypervisor present: "
        print_decimal rcx
        print   10

        mov     eax, XEN_CPUID_FIRST_LEAF       ; leaves from here on are the hypervisor's own
        cpuid
        mov     [signature], ebx
        mov     [signature + 4], ecx
        mov     [signature + 8], edx
        print   "signature: "
        mov     esi, signature
        mov     ecx, 12
        call    console_append
        print   10

        mov     eax, XEN_CPUID_VERSION_LEAF
        cpuid
        shr     eax, 16
        print   "major version: "
        print_decimal rax
        print   10

        mov     eax, XEN_CPUID_HYPERCALL_LEAF
        cpuid
        print   "hypercall pages: "
        print_decimal rax
        print   10

        mov     edi, MORE_EXITS                 ; each turn is one exit and one entry
.again:
        xor     eax, eax
        cpuid
        dec     edi
        jnz     .again
        print   "CPUID instructions since: "
        print_decimal MORE_EXITS
        print   10
        ret

section .bss
signature:
        resb    12
