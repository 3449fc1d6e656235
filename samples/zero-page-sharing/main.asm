; zero-page-sharing - pages of zeros that need one machine frame, and a guest that does not know.
;
; This guest has a MiB of zeros. A scan in Dom0 finds such pages, maps all of them to one frame that
; nobody may write, and frees the others. The first write to a page is an EPT violation: the hypervisor
; gives the page a frame of its own, and the guest goes on. All that the guest can tell is that its
; memory holds what it has written.

%include "boot.inc"
%include "console.inc"

%define PAGES           256
%define WRITTEN         4               ; one page of so many is written
%define PATIENCE        200000          ; instructions to wait for the scan

main:
        call    sum_pages
        print   "at first: sum "
        print_hex rax
        print   10

        call    wait_for_scan           ; Now most of our memory is one frame.
        call    sum_pages               ; Reading does not change that.
        print   "after a scan: sum "
        print_hex rax
        print   10

        mov     ebx, 1                  ; Write: each of these pages gets its own frame back.
        call    fill_some
        call    sum_pages
        print   "some pages written: sum "
        print_hex rax
        print   10
        call    count_zero_pages
        print   "pages of zeros: "
        print_decimal rax
        print   10

        xor     ebx, ebx                ; Zeros again, and the scan takes the frames again.
        call    fill_some
        call    wait_for_scan
        call    sum_pages
        print   "zeros again: sum "
        print_hex rax
        print   10
        ret

; fill_some: one page of WRITTEN is filled with its number + 1, or with zeros if EBX = 0.
fill_some:
        mov     edi, pages
        xor     edx, edx
.page:
        lea     eax, [rdx + 1]
        test    ebx, ebx
        cmovz   eax, ebx
        mov     ecx, PAGE_SIZE / 8
        rep stosq
        add     edi, (WRITTEN - 1) * PAGE_SIZE
        add     edx, WRITTEN
        cmp     edx, PAGES
        jb      .page
        ret

; sum_pages: RAX = the sum of the first and the last word of each page.
sum_pages:
        xor     eax, eax
        xor     edx, edx
        mov     esi, pages
.page:
        add     rax, [rsi]
        add     rax, [rsi + PAGE_SIZE - 8]
        add     esi, PAGE_SIZE
        inc     edx
        cmp     edx, PAGES
        jb      .page
        ret

; count_zero_pages: RAX = how many pages hold nothing but zeros.
count_zero_pages:
        xor     edx, edx
        xor     ebx, ebx
        mov     edi, pages
.page:
        push    rdi
        xor     eax, eax
        mov     ecx, PAGE_SIZE / 8
        repe scasq
        pop     rdi
        jne     .not_zero
        inc     ebx
.not_zero:
        add     edi, PAGE_SIZE
        inc     edx
        cmp     edx, PAGES
        jb      .page
        mov     eax, ebx
        ret

wait_for_scan:
        mov     ecx, PATIENCE
.wait:
        loop    .wait
        ret

section .bss
alignb 4096
pages:
        resb    PAGES * PAGE_SIZE
