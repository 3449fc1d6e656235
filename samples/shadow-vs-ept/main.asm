; shadow-vs-ept - what a guest does with its page tables, and what that costs without EPT.
;
; With EPT (`hap` on) the processor walks the guest's own tables: none of the five parts below makes a
; VM exit. Without EPT (`hap` off) it walks shadow tables of the hypervisor's, which have to follow the
; guest's: every part makes some. The guest can not tell: it prints the same.

%include "boot.inc"
%include "console.inc"
%include "interrupts.inc"

%define WINDOW          0x400000000000          ; entry 128 of the PML4, entry 0 of each lower table
%define FRAMES          0x600000                ; memory that the window shows, one page after the other

%define PTE_USED        0x67                    ; present, writable, user; accessed and dirty
%define PTE_NEW         0x07                    ; the same; accessed and dirty are clear
%define PTE_ACCESSED    5                       ; bit numbers
%define PTE_DIRTY       6

%define PAGES           16
%define CHANGES         16
%define SWITCHES        16

main:
        load_idt
        set_gate VECTOR_PF, page_fault
        call    build_tables

        print   "1. touch pages: "
        call    touch_pages
        print_decimal rax
        print   " written, "
        call    count_dirty
        print_decimal rax
        print   " dirty bits set", 10

        print   "2. change an entry: the page behind it held "
        call    change_entry
        print_decimal rax
        print   " different numbers", 10

        print   "3. page faults of the guest: "
        call    take_faults
        print_decimal [faults]
        print   10

        print   "4. two address spaces: "
        call    switch_spaces
        print_decimal rax
        print   " and "
        print_decimal rdx
        print   10

        print   "5. the tables through themselves: "
        call    self_map
        print_hex rax
        print   10
        ret

; A window of 2 MiB, whose last table is `window_table`; and a second PML4 like the first.
build_tables:
        lea     rax, [window_pdpt + PTE_NEW]
        mov     [page_map_level_4 + 8 * 128], rax
        lea     rax, [window_directory + PTE_NEW]
        mov     [window_pdpt], rax
        lea     rax, [window_table + PTE_NEW]
        mov     [window_directory], rax
        mov     eax, FRAMES | PTE_NEW
        xor     ecx, ecx
.next:  mov     [window_table + rcx * 8], rax
        add     rax, PAGE_SIZE
        inc     ecx
        cmp     ecx, PAGES
        jb      .next
        mov     esi, page_map_level_4
        mov     edi, second_map
        mov     ecx, PAGE_SIZE / 8
        rep     movsq
        ret

; Under shadow paging the first write to each page is a fault: the shadow has no entry yet, and the
; guest's dirty bit is still to be set.
touch_pages:
        mov     rbx, WINDOW
        xor     eax, eax
.next:  mov     [rbx], rax
        add     rbx, PAGE_SIZE
        inc     eax
        cmp     eax, PAGES
        jb      .next
        ret

count_dirty:
        xor     eax, eax
        xor     ecx, ecx
.next:  mov     rdx, [window_table + rcx * 8]
        shr     edx, PTE_DIRTY
        and     edx, 1
        add     eax, edx
        inc     ecx
        cmp     ecx, PAGES
        jb      .next
        ret

; A write to a table that is shadowed is a fault: the hypervisor completes it, and the shadow entry
; follows. After some writes in a row the table is taken for a plain page, until it is walked again.
change_entry:
        mov     rbx, WINDOW
        xor     eax, eax
        xor     ecx, ecx
.next:  mov     edx, ecx
        shl     edx, 12
        add     edx, FRAMES | PTE_USED
        mov     [window_table], rdx
        invlpg  [rbx]                           ; a VM exit, too
        cmp     [rbx], rcx                      ; what touch_pages has written there
        sete    dl
        movzx   edx, dl
        add     eax, edx
        inc     ecx
        cmp     ecx, CHANGES
        jb      .next
        ret

; Each #PF is a VM exit first: only the guest's tables tell whose it is.
take_faults:
        mov     rbx, WINDOW + PAGES * PAGE_SIZE
        mov     ecx, 4
.next:  mov     [rbx], rcx
        add     rbx, PAGE_SIZE
        loop    .next
        ret

; Each MOV to CR3 is a VM exit; the shadows of both spaces are kept.
switch_spaces:
        mov     qword [other_pdpt], other_directory + PTE_NEW
        mov     qword [other_directory], other_table + PTE_NEW
        mov     qword [other_table], FRAMES + PAGE_SIZE * 7 + PTE_NEW
        mov     qword [second_map + 8 * 128], other_pdpt + PTE_NEW
        mov     rbx, WINDOW
        mov     ecx, SWITCHES
.next:  mov     esi, second_map
        mov     cr3, rsi
        mov     rdx, [rbx]
        mov     esi, page_map_level_4
        mov     cr3, rsi
        mov     rax, [rbx]
        loop    .next
        ret

; Entry 256 of the PML4 is the PML4 itself: then each table is a page, too. As a table of every level
; it gets four shadow pages.
self_map:
        lea     rax, [page_map_level_4 + PTE_NEW]
        mov     [page_map_level_4 + 8 * 256], rax
        mov     rbx, 0xffff804020100000         ; the PML4: indexes 256, 256, 256, 256
        mov     rax, [rbx + 8 * 128]
        mov     qword [page_map_level_4 + 8 * 256], 0
        and     eax, 1 << PTE_ACCESSED | 1
        ret

; page_fault: maps the page that was missing.
page_fault:
        push    rax
        push    rdx
        inc     qword [faults]
        mov     rax, cr2
        shr     rax, 12
        and     eax, 0x1ff
        mov     edx, eax
        shl     edx, 12
        add     edx, FRAMES | PTE_NEW
        mov     [window_table + rax * 8], rdx
        pop     rdx
        pop     rax
        add     rsp, 8                          ; the error code
        iretq

section .bss
alignb 4096
window_pdpt:            resb PAGE_SIZE
window_directory:       resb PAGE_SIZE
window_table:           resb PAGE_SIZE
second_map:             resb PAGE_SIZE
other_pdpt:             resb PAGE_SIZE
other_directory:        resb PAGE_SIZE
other_table:            resb PAGE_SIZE
faults:                 resq 1
section .text
