; taker.asm - domain 2 of grant-transfer: it makes room, and accepts a page of domain 1.

%include "boot.inc"
%include "console.inc"
%include "grants.inc"

%define TABLE_FRAME     0x400                   ; where the grant table is to be seen, at 4 MiB
%define ENTRY           (TABLE_FRAME << 12) + GIFT_REFERENCE * grant_entry_v1_size
%define PATIENCE        100

main:
        hypercall __HYPERVISOR_memory_op, XENMEM_add_to_physmap, mapping
        hypercall __HYPERVISOR_memory_op, XENMEM_decrease_reservation, reservation
        print   "Gave "
        print_decimal rax
        print   " page back, to have room for another.", 10

        mov     edi, ENTRY
        mov     dword [rdi + grant_entry_v1.frame], GIFT_FRAME
        mov     word [rdi + grant_entry_v1.domid], GIVER
        mov     word [rdi + grant_entry_v1.flags], GTF_accept_transfer

        ; Say so: domain 1 waits for a port that it may bind.
        hypercall __HYPERVISOR_event_channel_op, EVTCHNOP_alloc_unbound, channel

        mov     ebx, PATIENCE
.wait:
        mov     edi, ENTRY
        test    word [rdi + grant_entry_v1.flags], GTF_transfer_completed
        jnz     .here
        hypercall __HYPERVISOR_sched_op, SCHEDOP_yield
        dec     ebx
        jnz     .wait
        print   "No page has come.", 10
        ret
.here:
        print   "A page has come; it says: "
        mov     esi, GIFT_FRAME << 12
        xor     ecx, ecx
.length:
        inc     ecx
        cmp     byte [rsi + rcx - 1], 10
        jne     .length
        jmp     console_append

section .data
align 8
channel:
istruc evtchn_alloc_unbound
        at evtchn_alloc_unbound.dom,        dw DOMID_SELF
        at evtchn_alloc_unbound.remote_dom, dw GIVER
        at evtchn_alloc_unbound.port,       dd 0
iend
mapping:
istruc xen_add_to_physmap
        at xen_add_to_physmap.domid, dw DOMID_SELF
        at xen_add_to_physmap.space, dd XENMAPSPACE_grant_table
        at xen_add_to_physmap.idx,   dq 0
        at xen_add_to_physmap.gpfn,  dq TABLE_FRAME
iend
reservation:
istruc xen_memory_reservation
        at xen_memory_reservation.extent_start, dq frame
        at xen_memory_reservation.nr_extents,   dq 1
        at xen_memory_reservation.extent_order, dd 0
        at xen_memory_reservation.mem_flags,    dd 0
        at xen_memory_reservation.domid,        dw DOMID_SELF
iend
align 8
frame:
        dq      GIFT_FRAME
