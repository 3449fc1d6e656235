; balloon-reclaim - a balloon driver that has to make room first.
;
; The toolstack says how much memory the domain is to have: `xl mem-set` writes memory/target, a watch
; tells the guest, and the guest gives pages back or takes them again. It keeps some pages free and
; uses others as a cache: free ones go first, then the cache has to be dropped, page by page.
;
; Only as a domU: the real Xen gives a dom0 no page for xenstore.

%include "boot.inc"
%include "console.inc"
%include "xenstore.inc"

%define FREE_START      6 << 20                 ; 256 pages that nobody uses, from 6 MiB
%define FREE_COUNT      256
%define CACHE_START     8 << 20                 ; 768 pages with something in them, from 8 MiB
%define CACHE_COUNT     768
%define PATIENCE        3000                    ; how often the guest looks for an order

main:
        mov     edi, CACHE_START                ; the cache holds something
        mov     ecx, CACHE_COUNT * PAGE_SIZE / 8
        mov     rax, "cached.."
        rep     stosq
        mov     edi, free_list                  ; a list of the free frames
        mov     eax, FREE_START >> 12
        mov     ecx, FREE_COUNT
.next_free:
        stosq
        inc     eax
        loop    .next_free
        mov     dword [free_pages], FREE_COUNT
        mov     dword [cache_pages], CACHE_COUNT

        call    xenstore_open
        xenstore XS_WATCH, 0, "memory/target", 0, "balloon", 0
        call    tell_current
        print   "Waiting for xl mem-set.", 10

.wait:
        mov     ebx, PATIENCE
.look:
        mov     rsi, [xenstore_page]
        mov     ecx, [rsi + xenstore_domain_interface.rsp_cons]
        cmp     ecx, [rsi + xenstore_domain_interface.rsp_prod]
        jne     .order
        hypercall __HYPERVISOR_sched_op, SCHEDOP_yield
        dec     ebx
        jnz     .look
        print   "No order has come; good bye.", 10
        ret
.order:
        call    xenstore_receive
        xenstore XS_READ, 0, "memory/target", 0
        call    xenstore_number                 ; in KiB
        shr     eax, 2
        mov     [target], rax
        call    current
        cmp     rax, [target]
        je      .wait
        ja      .inflate
        call    deflate
        jmp     .wait
.inflate:
        call    inflate
        jmp     .wait

; Gives pages back until the domain has no more than the target.
inflate:
        mov     dword [given_free], 0
        mov     dword [reclaimed], 0
.next:
        call    current
        cmp     rax, [target]
        jbe     .done
        cmp     dword [free_pages], 0
        jne     .give
        call    reclaim
        jc      .done
.give:
        dec     dword [free_pages]
        mov     eax, [free_pages]
        mov     rax, [free_list + rax * 8]
        mov     [frame], rax
        hypercall __HYPERVISOR_memory_op, XENMEM_decrease_reservation, reservation
        cmp     eax, 1
        jne     .done
        mov     rax, [frame]
        mov     edx, [balloon_pages]
        mov     [balloon + rdx * 8], rax
        inc     dword [balloon_pages]
        inc     dword [given_free]
        jmp     .next
.done:
        mov     eax, [given_free]
        mov     ecx, [reclaimed]
        print   "Gave back "
        print_decimal rax
        print   " pages; "
        print_decimal rcx
        print   " of them had to be reclaimed from the cache.", 10
        jmp     tell_current

; Drops a page of the cache: it is free then. CF is set if there is none.
reclaim:
        cmp     dword [cache_pages], 0
        je      .none
        dec     dword [cache_pages]
        mov     eax, [cache_pages]
        add     eax, CACHE_START >> 12
        mov     edx, [free_pages]
        mov     [free_list + rdx * 8], rax
        inc     dword [free_pages]
        inc     dword [reclaimed]
        clc
        ret
.none:
        stc
        ret

; Takes pages again, the last that was given first; they come empty.
deflate:
        xor     ebx, ebx
.next:
        call    current
        cmp     rax, [target]
        jae     .done
        cmp     dword [balloon_pages], 0
        je      .done
        dec     dword [balloon_pages]
        mov     eax, [balloon_pages]
        mov     rax, [balloon + rax * 8]
        mov     [frame], rax
        hypercall __HYPERVISOR_memory_op, XENMEM_populate_physmap, reservation
        cmp     eax, 1
        jne     .done
        mov     rax, [frame]
        mov     edx, [free_pages]
        mov     [free_list + rdx * 8], rax
        inc     dword [free_pages]
        inc     ebx
        jmp     .next
.done:
        print   "Took "
        print_decimal rbx
        print   " pages.", 10

tell_current:
        mov     eax, [balloon_pages]
        mov     ecx, [free_pages]
        mov     edx, [cache_pages]
        print   "Pages in the balloon: "
        print_decimal rax
        print   ", free: "
        print_decimal rcx
        print   ", cached: "
        print_decimal rdx
        print   ".", 10
        ret

; RAX = pages that the domain has.
current:
        hypercall __HYPERVISOR_memory_op, XENMEM_current_reservation, domain
        ret

section .data
align 8
reservation:
istruc xen_memory_reservation
        at xen_memory_reservation.extent_start, dq frame
        at xen_memory_reservation.nr_extents,   dq 1
        at xen_memory_reservation.extent_order, dd 0
        at xen_memory_reservation.mem_flags,    dd 0
        at xen_memory_reservation.domid,        dw DOMID_SELF
iend
domain:
        dw      DOMID_SELF
align 8
frame:
        dq      0

section .bss
alignb 8
target:
        resq    1
free_pages:
        resd    1
cache_pages:
        resd    1
balloon_pages:
        resd    1
given_free:
        resd    1
reclaimed:
        resd    1
alignb 8
free_list:
        resq    FREE_COUNT + CACHE_COUNT
balloon:
        resq    FREE_COUNT + CACHE_COUNT
section .text
