; xenstore-and-event-channels - how domains tell each other things.
;
; xenstore is a tree of texts that domain 0 keeps: a guest asks it by a ring in a shared page, and an
; event channel says that there is something in the ring.
;
; Only as a domU: the real Xen gives a dom0 no such page.

%include "boot.inc"
%include "console.inc"
%include "xenstore.inc"

%define SHARED_INFO_FRAME       0x400           ; a page of the domain at 4 MiB that nothing is in

main:
        call    xenstore_open

        xenstore XS_READ, 0, "domid", 0         ; 1. Read; a relative path begins at the domain's own
        print   "domid is "
        print_answer
        print   10
        xenstore XS_READ, 0, "nothing", 0       ;    what is not there is an error, in words
        print   "nothing is "
        call    print_kind
        print_answer
        print   10

        xenstore XS_WRITE, 0, "data/greeting", 0, "hello"       ; 2. Write; read it back
        xenstore XS_READ, 0, "data/greeting", 0
        print   "data/greeting is "
        print_answer
        print   10
        xenstore XS_WRITE, 0, "/local/domain/0/name", 0, "mine" ;    where others may not write
        print   "The name of domain 0: "
        call    print_kind
        print_answer
        print   10

        xenstore XS_TRANSACTION_START, 0, 0     ; 3. A transaction: nobody sees it before its end
        call    xenstore_number
        mov     ebx, eax
        xenstore XS_WRITE, ebx, "data/greeting", 0, "good bye"
        xenstore XS_READ, 0, "data/greeting", 0
        print   "Outside of the transaction: "
        print_answer
        print   10
        xenstore XS_TRANSACTION_END, ebx, "T", 0
        xenstore XS_READ, 0, "data/greeting", 0
        print   "After its end: "
        print_answer
        print   10

        xenstore XS_WATCH, 0, "data/greeting", 0, "my token", 0 ; 4. A watch fires once at once ...
        call    xenstore_receive
        call    print_event
        xenstore XS_WRITE, 0, "data/greeting", 0, "again"       ;    ... and with every change
        cmp     ecx, XS_WATCH_EVENT             ;    which may come before the answer
        je      .event
        call    xenstore_receive
.event:
        call    print_event

        hypercall __HYPERVISOR_memory_op, XENMEM_add_to_physmap, mapping
        hypercall __HYPERVISOR_event_channel_op, EVTCHNOP_alloc_unbound, first
        mov     eax, [first + evtchn_alloc_unbound.port]        ; 5. A channel from the domain to itself
        mov     [second + evtchn_bind_interdomain.remote_port], eax
        hypercall __HYPERVISOR_event_channel_op, EVTCHNOP_bind_interdomain, second
        print   "Bound: "
        print_decimal rax
        print   10
        mov     eax, [second + evtchn_bind_interdomain.local_port]
        mov     [far_end], eax
        call    pending
        hypercall __HYPERVISOR_event_channel_op, EVTCHNOP_send, far_end
        call    pending
        ret

; Whether the first end of the channel is pending: a bit in the shared info page.
pending:
        mov     eax, [first + evtchn_alloc_unbound.port]
        mov     edx, shared_info + SHARED_INFO_evtchn_pending
        bt      [rdx], eax
        jc      .yes
        print   "The other end is not pending.", 10
        ret
.yes:
        print   "The other end is pending.", 10
        ret

; "an error, " if the answer is one.
print_kind:
        cmp     ecx, XS_ERROR
        jne     .none
        print   "an error, "
.none:
        ret

; A watch's event: the path, a zero, the token, a zero.
print_event:
        print   "The watch fires: "
        mov     esi, xenstore_answer
        call    .text
        print   ", "
        call    .text
        print   10
        ret
.text:
        xor     ecx, ecx
.next:
        cmp     byte [rsi + rcx], 0
        je      .end
        inc     ecx
        jmp     .next
.end:
        lea     rdx, [rsi + rcx + 1]
        call    console_append
        mov     rsi, rdx
        ret

section .data
align 8
mapping:
istruc xen_add_to_physmap
        at xen_add_to_physmap.domid, dw DOMID_SELF
        at xen_add_to_physmap.space, dd XENMAPSPACE_shared_info
        at xen_add_to_physmap.idx,   dq 0
        at xen_add_to_physmap.gpfn,  dq SHARED_INFO_FRAME
iend
first:
istruc evtchn_alloc_unbound
        at evtchn_alloc_unbound.dom,        dw DOMID_SELF
        at evtchn_alloc_unbound.remote_dom, dw DOMID_SELF
        at evtchn_alloc_unbound.port,       dd 0
iend
second:
istruc evtchn_bind_interdomain
        at evtchn_bind_interdomain.remote_dom,  dw DOMID_SELF
        at evtchn_bind_interdomain.remote_port, dd 0
        at evtchn_bind_interdomain.local_port,  dd 0
iend
far_end:
        dd      0

shared_info     equ SHARED_INFO_FRAME << 12
