; hello - the smallest guest that says something.
;
; It asks Xen to print a line, with the hypercall console_io, and powers off.

%include "boot.inc"

main:
        hypercall __HYPERVISOR_console_io, CONSOLEIO_write, greeting_length, greeting
        ret

section .rodata
greeting:
        db      "Hello from a guest.", 10
greeting_length equ $ - greeting
