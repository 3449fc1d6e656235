; memory-swap - memory that is on a swap device half the time, and a guest that does not know.
;
; The hypervisor keeps some of this domain's pages on a device, with checksums. A touch of one is an EPT
; violation: the page comes back into a free frame, another one goes in its place, and the guest goes
; on. This guest writes every page, reads it again a round later, and would notice a single wrong word.

%include "boot.inc"
%include "console.inc"

%define PAGES           768
%define ROUNDS          4
%define STRIDE          289             ; has no factor in common with PAGES: each page comes once a round

main:
        xor     ebx, ebx                ; the round
.round:
        xor     r12d, r12d              ; pages that were not as they should be
        xor     r13d, r13d              ; the running checksum
        xor     r14d, r14d              ; the page
        mov     r15d, PAGES
.page:
        mov     edi, r14d
        shl     edi, 12
        add     edi, pages
        test    ebx, ebx
        jz      .write                  ; nothing is there yet
        lea     ecx, [rbx - 1]
        call    value_of                ; what the round before wrote
        cmp     [rdi], rax
        jne     .wrong
        cmp     [rdi + PAGE_SIZE - 8], rax
        je      .right
.wrong:
        inc     r12d
.right:
        rol     r13, 1
        xor     r13, [rdi]
.write:
        mov     ecx, ebx
        call    value_of
        mov     [rdi], rax
        mov     [rdi + PAGE_SIZE - 8], rax
        add     r14d, STRIDE
        cmp     r14d, PAGES
        jb      .next
        sub     r14d, PAGES
.next:
        dec     r15d
        jnz     .page

        print   "round "
        print_decimal rbx
        print   ": wrong pages "
        print_decimal r12
        print   ", checksum "
        print_hex r13
        print   10
        inc     ebx
        cmp     ebx, ROUNDS
        jb      .round
        ret

; value_of: RAX = what round ECX writes to page R14. Changes RDX.
value_of:
        lea     eax, [rcx + 1]
        imul    rax, rax, 0x1e3779b1
        lea     edx, [r14 + 7]
        imul    rax, rdx
        ret

pages   equ 4 << 20                             ; memory of the domain behind the program
