; hypercalls - the guest's system calls to Xen, and their answers.
;
; The number goes to EAX, arguments to RDI, RSI, RDX, R10 and R8. RAX comes back with zero or more,
; or with a negated error number. Structures are passed by address.

%include "boot.inc"
%include "console.inc"

%define NOT_MAPPED 0x7fff00000000

; show "text", REGISTER: a line that ends with the register's value.
%macro show 2
        print   %1, ": "
        print_decimal %2
        print   10
%endmacro

main:
        ; ---- Asking ------------------------------------------------------------------------------
        hypercall __HYPERVISOR_xen_version, XENVER_version, 0
        shr     eax, 16                         ; major << 16 | minor
        show    "xen_version, major", rax

        hypercall __HYPERVISOR_xen_version, XENVER_get_features, features
        show    "get_features", rax
        mov     eax, [features + xen_feature_info.submap]
        shr     eax, XENFEAT_auto_translated_physmap
        and     eax, 1
        show    "  auto_translated_physmap", rax
        mov     eax, [features + xen_feature_info.submap]
        shr     eax, XENFEAT_hvm_callback_vector
        and     eax, 1
        show    "  hvm_callback_vector", rax

        ; ---- Giving the processor away, and getting it back ---------------------------------------
        hypercall __HYPERVISOR_sched_op, SCHEDOP_yield, 0
        show    "yield", rax

        ; ---- An event channel: allocate a port, send into it, close it ------------------------------
        hypercall __HYPERVISOR_event_channel_op, EVTCHNOP_alloc_unbound, channel
        show    "alloc_unbound", rax

        mov     ebx, [channel + evtchn_alloc_unbound.port]
        mov     [port], ebx
        hypercall __HYPERVISOR_event_channel_op, EVTCHNOP_send, port
        show    "send to a channel nobody bound", rax

        hypercall __HYPERVISOR_event_channel_op, EVTCHNOP_close, port
        show    "close", rax

        ; ---- What is refused ---------------------------------------------------------------------
        hypercall __HYPERVISOR_event_channel_op, EVTCHNOP_close, port
        show    "close again, EINVAL", rax

        hypercall __HYPERVISOR_event_channel_op, 99, port
        show    "event channel operation 99, ENOSYS", rax

        hypercall __HYPERVISOR_xen_version, XENVER_get_features, NOT_MAPPED
        show    "get_features to an unmapped address, EFAULT", rax

        hypercall 63
        show    "hypercall 63, ENOSYS", rax
        ret

section .data
align 4
features:
istruc xen_feature_info
        at xen_feature_info.submap_idx, dd 0
        at xen_feature_info.submap,     dd 0
iend

channel:
istruc evtchn_alloc_unbound
        at evtchn_alloc_unbound.dom,        dw DOMID_SELF
        at evtchn_alloc_unbound.remote_dom, dw DOMID_SELF
        at evtchn_alloc_unbound.port,       dd 0
iend

port:
        dd      0                               ; struct evtchn_send, struct evtchn_close
