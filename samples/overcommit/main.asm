; overcommit - guests that have more memory than the machine, and each finds its own unharmed.
;
; overcommit.hyperstep.json gives three such guests, and one with a balloon, half as much memory again
; as the machine has. Frames are given on the first touch. When they run short the hypervisor asks for
; a smaller balloon, then shares pages of equal content, then swaps. Each guest writes its memory, again
; and again, and keeps a running checksum of what it must find.

%include "boot.inc"
%include "console.inc"

%define FIRST           0x200           ; the first page that is used: after the program
%define MOST            2560            ; at most so many pages
%define ROUNDS          5
%define ZERO_EACH       4               ; one page of so many stays zero

main:
        hypercall __HYPERVISOR_memory_op, XENMEM_current_reservation, this_domain
        sub     eax, FIRST + 64         ; a little is left at the end
        cmp     eax, MOST
        jbe     .fits
        mov     eax, MOST
.fits:
        mov     [pages], eax
        xor     ebx, ebx                ; the round
        xor     r13d, r13d              ; checksum of what was written in the round before
.round:
        xor     r12d, r12d              ; checksum of what is found
        xor     r14d, r14d              ; the page
        mov     r15, r13
        xor     r13d, r13d
.page:
        mov     edi, r14d
        add     edi, FIRST
        shl     edi, 12
        mov     edx, r14d               ; the words are at another place in each page
        shl     edx, 3
        and     edx, PAGE_SIZE - 8
        add     edi, edx
        rol     r12, 1
        xor     r12, [rdi]
        test    r14d, ZERO_EACH - 1
        jz      .zero                   ; is read alone
        lea     eax, [rbx + 1]
        imul    rax, rax, 0x1e3779b1
        lea     edx, [r14 + 3]
        imul    rax, rdx
        mov     [rdi], rax
        rol     r13, 1
        xor     r13, rax
        jmp     .next
.zero:
        rol     r13, 1
        cmp     qword [rdi], 0
        je      .next                   ; of a domU: a dom0 gets memory as it was left
        test    ebx, ebx
        jnz     .next
        mov     qword [rdi], 0
.next:
        inc     r14d
        cmp     r14d, [pages]
        jb      .page
        test    ebx, ebx
        jz      .right                  ; nothing was written before
        cmp     r12, r15
        jne     .wrong
.right:
        print   "round "
        print_decimal rbx
        print   ": all as it was written", 10
        inc     ebx
        cmp     ebx, ROUNDS
        jb      .round
        ret
.wrong:
        print   "round "
        print_decimal rbx
        print   ": WRONG DATA", 10
        ret

section .data
this_domain:
        dw      DOMID_SELF

section .bss
pages:
        resd    1
