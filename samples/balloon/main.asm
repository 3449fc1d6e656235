; balloon - giving memory back to Xen, and taking it again.
;
; A balloon driver in the guest takes pages from its own use and returns them to the hypervisor with
; decrease_reservation: their GFNs leave the P2M. With populate_physmap they come back, with other
; machine frames behind them. So a hypervisor moves memory between domains that all keep running.

%include "boot.inc"
%include "console.inc"

%define PAGES 64

main:
        ; The list of GFNs that both hypercalls take: one extent, one page.
        mov     eax, balloon_pages
        shr     eax, 12
        xor     ecx, ecx
.next_gfn:
        mov     [gfns + 8 * rcx], rax
        inc     eax
        inc     ecx
        cmp     ecx, PAGES
        jb      .next_gfn

        mov     qword [balloon_pages], 0x1234
        print   "before: "
        print_hex qword [balloon_pages]
        print   10
        call    current_reservation
        mov     rbx, rax

        ; Inflate: the pages go.
        hypercall __HYPERVISOR_memory_op, XENMEM_decrease_reservation, reservation
        print   "decrease_reservation: "
        print_decimal rax
        print   " extents", 10
        call    print_difference

        mov     rax, [balloon_pages]            ; EPT violation: this GFN has no frame any more
        print   "a ballooned page reads as: "
        print_hex rax
        print   10

        ; Deflate: the pages come back, with what content nobody promises.
        hypercall __HYPERVISOR_memory_op, XENMEM_populate_physmap, reservation
        print   "populate_physmap: "
        print_decimal rax
        print   " extents", 10
        call    print_difference

        mov     qword [balloon_pages], 0x5678
        mov     rax, [balloon_pages]
        print   "memory again: "
        print_hex rax
        print   10
        ret

; print_difference: how many pages the domain has more than the RBX it had before.
print_difference:
        call    current_reservation
        sub     rax, rbx
        print   "difference in pages: "
        print_decimal rax
        print   10
        ret

; current_reservation: RAX = pages the domain has. Changes RDI and RSI.
current_reservation:
        hypercall __HYPERVISOR_memory_op, XENMEM_current_reservation, this_domain
        ret

section .data
align 8
reservation:
istruc xen_memory_reservation
        at xen_memory_reservation.extent_start, dq gfns
        at xen_memory_reservation.nr_extents,   dq PAGES
        at xen_memory_reservation.extent_order, dd 0
        at xen_memory_reservation.mem_flags,    dd 0
        at xen_memory_reservation.domid,        dw DOMID_SELF
iend

this_domain:
        dw      DOMID_SELF

section .bss
alignb 4096
balloon_pages:
        resb    PAGES * PAGE_SIZE
gfns:
        resq    PAGES
