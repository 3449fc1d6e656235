; same-guest-three-mmus - one workload under direct paging, shadow paging and EPT.
;
; This is the guest with page tables of its own, as on a bare machine: it writes to them whenever it
; likes. Under EPT (`hap` on) nobody looks; under shadow paging (`hap` off) each write is a VM exit.
; pv.asm is the same workload as a PV guest, and three-mmus.hyperstep.json runs all three.

%include "boot.inc"
%include "console.inc"
%include "workload.inc"

%define PAGE_RW         7

main:
        mov     rax, directory                  ; the second GiB has a page directory of its own
        or      eax, PAGE_RW
        mov     [page_directory_pointers + 8], rax
        mov     ecx, PAGES / 512
        mov     eax, tables
        or      eax, PAGE_RW
        mov     edi, directory
.next_table:
        mov     [rdi], rax
        add     rax, PAGE_SIZE
        add     rdi, 8
        loop    .next_table

        jmp     workload

; Written at once; the page is forgotten.
set_entry:
        mov     eax, edi
        shl     eax, 12
        add     eax, FIRST_FRAME | PAGE_RW
        mov     [tables + rsi * 8], rax
        shl     esi, 12
        add     esi, WINDOW
        invlpg  [rsi]
        ret

flush_entries:
        ret


section .bss
alignb PAGE_SIZE
directory:
        resb    PAGE_SIZE
tables:
        resb    PAGE_SIZE * 4
section .text
