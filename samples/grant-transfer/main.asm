; grant-transfer - the giver: a page of this domain becomes one of domain 2.
;
; Domain 2 (taker.asm) has said in its grant table that it accepts a page of domain 1, and where. The
; transfer takes the machine frame from the giver and puts it into the taker's P2M: nothing is copied.
; Run grant-transfer.hyperstep.json, which has both; alone, the giver finds nobody.
;
; The giver is a PV domain: Xen lets no other give pages away. It knows its pages by their machine
; frames, and has to unmap one before it can go. A page that the other side does not take is lost all
; the same: that is why the giver waits for the taker's event channel.

%include "pv-boot.inc"
%include "console.inc"
%include "grants.inc"

%define PATIENCE        200

main:
        mov     edi, gift
        mov     esi, message
        mov     ecx, message_length
        rep     movsb
        print   "The page has a text in it.", 10

        mov     ebx, PATIENCE
.try:
        hypercall __HYPERVISOR_event_channel_op, EVTCHNOP_bind_interdomain, channel
        test    rax, rax
        jz      .ready
        hypercall __HYPERVISOR_sched_op, SCHEDOP_yield
        dec     ebx
        jnz     .try
        print   "Nobody takes it.", 10
        ret
.ready:
        ; From the number of the page to its machine frame.
        mov     rax, [start_info]
        mov     rax, [rax + start_info_pv.mfn_list]
        mov     ecx, gift
        shr     ecx, 12
        mov     rbx, [rax + 8 * rcx]
        mov     [transfer + gnttab_transfer.mfn], rbx
        hypercall __HYPERVISOR_update_va_mapping, gift, 0, UVMF_INVLPG
        hypercall __HYPERVISOR_grant_table_op, GNTTABOP_transfer, transfer, 1
        cmp     word [transfer + gnttab_transfer.status], GNTST_okay
        je      .gone
        print   "The transfer is refused.", 10
        ret
.gone:
        print   "It is another domain's now. Mapping it again gives "
        shl     rbx, 12
        or      rbx, 3                          ; present, writable
        hypercall __HYPERVISOR_update_va_mapping, gift, rbx, UVMF_INVLPG
        print_decimal rax
        print   ".", 10
        ret

section .rodata
message:
        db      "A text from domain 1.", 10
message_length equ $ - message

section .data
align 8
channel:
istruc evtchn_bind_interdomain
        at evtchn_bind_interdomain.remote_dom,  dw TAKER
        at evtchn_bind_interdomain.remote_port, dd TAKER_PORT
        at evtchn_bind_interdomain.local_port,  dd 0
iend
transfer:
istruc gnttab_transfer
        at gnttab_transfer.mfn,    dq 0
        at gnttab_transfer.domid,  dw TAKER
        at gnttab_transfer.ref,    dd GIFT_REFERENCE
        at gnttab_transfer.status, dw 0
iend

section .bss
alignb 4096
gift:
        resb    PAGE_SIZE
