; grant-transfer - the giver: a page of this domain becomes one of domain 2.
;
; Domain 2 (taker.asm) has said in its grant table that it accepts a page of domain 1, and where. The
; transfer takes the page out of the giver's P2M and puts its machine frame into the taker's: nothing is
; copied. Run grant-transfer.hyperstep.json, which has both; alone, the giver finds nobody. It asks
; xenstore first: a page that the other side does not take is lost all the same.
;
; Only as a domU: the real Xen gives a dom0 no page for xenstore.

%include "boot.inc"
%include "console.inc"
%include "grants.inc"
%include "xenstore.inc"

%define PATIENCE        200

main:
        mov     edi, GIFT_FRAME << 12
        mov     esi, message
        mov     ecx, message_length
        rep     movsb
        print   "The page has a text in it.", 10

        call    xenstore_open
        mov     ebx, PATIENCE
.try:
        xenstore XS_READ, 0, "/local/domain/2/data/accepts", 0
        cmp     ecx, XS_READ
        je      .ready
        hypercall __HYPERVISOR_sched_op, SCHEDOP_yield
        dec     ebx
        jnz     .try
        print   "Nobody takes it.", 10
        ret
.ready:
        hypercall __HYPERVISOR_grant_table_op, GNTTABOP_transfer, transfer, 1
        cmp     word [transfer + gnttab_transfer.status], GNTST_okay
        je      .gone
        print   "The transfer is refused.", 10
        ret
.gone:
        print   "It is another domain's now. Reading where it was gives "
        mov     edi, GIFT_FRAME << 12
        mov     eax, [rdi]
        print_hex rax
        print   ".", 10
        ret

section .rodata
message:
        db      "A text from domain 1.", 10
message_length equ $ - message

section .data
align 8
transfer:
istruc gnttab_transfer
        at gnttab_transfer.mfn,    dq GIFT_FRAME
        at gnttab_transfer.domid,  dw TAKER
        at gnttab_transfer.ref,    dd GIFT_REFERENCE
        at gnttab_transfer.status, dw 0
iend
