; mmu-update - 256 L1 entries of a PV guest are changed by one hypercall, again and again: each maps
; the page of its neighbor, then its own.
%define ROUNDS 4000
%include "pv-tables.inc"

prepare:
        mov     rbx, away
        mov     rdx, 1
        call    fill
        mov     rbx, back
        xor     edx, edx

; fill: RBX = a list of requests, RDX = how far away each entry's page is.
fill:
        xor     ecx, ecx
.next:
        mov     rdi, rcx
        shl     rdi, 12
        add     rdi, window
        mov     r12, rdi
        call    table_of
        mov     rdi, rax
        call    frame_of
        shr     r12, 12
        and     r12, 511
        lea     rax, [rax + r12 * 8]
        mov     [rbx], rax
        lea     rdi, [rcx + rdx]
        and     edi, WINDOW_PAGES - 1
        shl     rdi, 12
        add     rdi, window
        call    frame_of
        or      rax, P | RW
        mov     [rbx + 8], rax
        add     rbx, 16
        inc     ecx
        cmp     ecx, WINDOW_PAGES
        jb      .next
        ret

workload:
        mov     ebx, ecx
.round:
        hypercall __HYPERVISOR_mmu_update, away, WINDOW_PAGES, 0, DOMID_SELF
        hypercall __HYPERVISOR_mmu_update, back, WINDOW_PAGES, 0, DOMID_SELF
        dec     ebx
        jnz     .round
        ret

section .bss
alignb 16
away:
        resb    WINDOW_PAGES * 16
back:
        resb    WINDOW_PAGES * 16
section .text
