; hypercall-results.asm - calls the hypercalls and sub-operations that the simulated hypervisor has,
; with good and with bad arguments, and prints what each returns. The real Xen is the judge.

%include "boot.inc"
%include "console.inc"

%define BAD             0x50000000              ; beyond what boot.inc maps
%define NO_DOMAIN       0x1234
%define NO_PORT         4095
%define NO_VCPU         5

; report TEXT: prints RAX behind it.
%macro report 1
        print   %1, ": "
        print_decimal rax
        print   10
%endmacro

; try TEXT, NUMBER, ARGUMENT...
%macro try 2+
        hypercall %2
        report  %1
%endmacro

; show TEXT, VALUE: something that a hypercall has written.
%macro show 2
        mov     rax, %2
        report  %1
%endmacro

; Same, of 32 bits.
%macro show32 2
        mov     eax, %2
        report  %1
%endmacro

main:
        call    version_calls
        call    console_calls
        call    memory_calls
        call    channel_calls
        call    vcpu_calls
        call    parameter_calls
        call    other_calls
        ret

; ---- xen_version ------------------------------------------------------------------------------
version_calls:
        try     "xen_version version", __HYPERVISOR_xen_version, 0, 0
        try     "xen_version extraversion", __HYPERVISOR_xen_version, 1, scratch
        try     "xen_version extraversion, bad pointer", __HYPERVISOR_xen_version, 1, BAD
        try     "xen_version capabilities", __HYPERVISOR_xen_version, 3, scratch
        try     "xen_version capabilities, bad pointer", __HYPERVISOR_xen_version, 3, BAD
        try     "xen_version changeset", __HYPERVISOR_xen_version, 4, scratch
        try     "xen_version changeset, bad pointer", __HYPERVISOR_xen_version, 4, BAD
        try     "xen_version get_features 0", __HYPERVISOR_xen_version, 6, features
        mov     eax, [features + 4]
        and     eax, ~(1 << 11)                 ; XENFEAT_dom0
        report  "features, without that of a dom0"
        mov     dword [features], 1
        mov     dword [features + 4], -1
        try     "xen_version get_features 1", __HYPERVISOR_xen_version, 6, features
        show32  "features", [features + 4]
        mov     dword [features], 77
        try     "xen_version get_features 77", __HYPERVISOR_xen_version, 6, features
        try     "xen_version get_features, bad pointer", __HYPERVISOR_xen_version, 6, BAD
        try     "xen_version pagesize", __HYPERVISOR_xen_version, 7, 0
        try     "xen_version 77", __HYPERVISOR_xen_version, 77, scratch
        ret

; ---- console_io -------------------------------------------------------------------------------
console_calls:
        try     "console_io write of nothing", __HYPERVISOR_console_io, 0, 0, 0
        try     "console_io write, bad pointer", __HYPERVISOR_console_io, 0, 4, BAD
        try     "console_io read of nothing", __HYPERVISOR_console_io, 1, 0, scratch
        try     "console_io read", __HYPERVISOR_console_io, 1, 16, scratch
        try     "console_io 77", __HYPERVISOR_console_io, 77, 4, scratch
        ret

; ---- memory_op --------------------------------------------------------------------------------
memory_calls:
        try     "decrease_reservation, bad pointer", __HYPERVISOR_memory_op, 1, BAD
        try     "populate_physmap, bad pointer", __HYPERVISOR_memory_op, 6, BAD
        call    one_page
        mov     word [reservation.domid], NO_DOMAIN
        try     "decrease_reservation, no such domain", __HYPERVISOR_memory_op, 1, reservation
        try     "populate_physmap, no such domain", __HYPERVISOR_memory_op, 6, reservation
        call    one_page
        try     "populate_physmap where there is RAM", __HYPERVISOR_memory_op, 6, reservation
        try     "decrease_reservation", __HYPERVISOR_memory_op, 1, reservation
        try     "decrease_reservation again", __HYPERVISOR_memory_op, 1, reservation
        try     "populate_physmap", __HYPERVISOR_memory_op, 6, reservation
        mov     qword [reservation.extents], 0
        try     "decrease_reservation of nothing", __HYPERVISOR_memory_op, 1, reservation
        call    one_page
        mov     qword [reservation.extents], 3
        mov     qword [frames + 8], 0x2001
        mov     qword [frames + 16], 0x7ffff
        try     "decrease_reservation, the third is a hole", __HYPERVISOR_memory_op, 1, reservation
        mov     qword [reservation.extents], 2
        try     "populate_physmap of both", __HYPERVISOR_memory_op, 6, reservation
        mov     qword [reservation.list], BAD
        try     "decrease_reservation, bad list", __HYPERVISOR_memory_op, 1, reservation
        try     "populate_physmap, bad list", __HYPERVISOR_memory_op, 6, reservation
        call    one_page
        mov     dword [reservation.order], 40
        try     "decrease_reservation, order 40", __HYPERVISOR_memory_op, 1, reservation
        try     "populate_physmap, order 40", __HYPERVISOR_memory_op, 6, reservation
        call    one_page
        try     "decrease_reservation, continued behind the end", __HYPERVISOR_memory_op, 1 | 5 << 6, reservation
        mov     word [domain], DOMID_SELF
        try     "current_reservation, bad pointer", __HYPERVISOR_memory_op, 3, BAD
        try     "maximum_reservation, bad pointer", __HYPERVISOR_memory_op, 4, BAD
        mov     word [domain], NO_DOMAIN
        try     "current_reservation, no such domain", __HYPERVISOR_memory_op, 3, domain
        try     "maximum_reservation, no such domain", __HYPERVISOR_memory_op, 4, domain
        try     "add_to_physmap, bad pointer", __HYPERVISOR_memory_op, 7, BAD
        mov     word [physmap.domid], NO_DOMAIN
        try     "add_to_physmap, no such domain", __HYPERVISOR_memory_op, 7, physmap
        mov     word [physmap.domid], DOMID_SELF
        mov     dword [physmap.space], 77
        try     "add_to_physmap, space 77", __HYPERVISOR_memory_op, 7, physmap
        mov     dword [physmap.space], 0
        mov     qword [physmap.index], 1
        try     "add_to_physmap, shared_info 1", __HYPERVISOR_memory_op, 7, physmap
        mov     qword [physmap.index], 0
        try     "add_to_physmap, shared_info", __HYPERVISOR_memory_op, 7, physmap
        try     "add_to_physmap, shared_info again", __HYPERVISOR_memory_op, 7, physmap
        mov     qword [physmap.frame], 0x2011
        try     "add_to_physmap, shared_info elsewhere", __HYPERVISOR_memory_op, 7, physmap
        call    old_frame_is_hole
        try     "memory_map, bad pointer", __HYPERVISOR_memory_op, 9, BAD
        mov     qword [map.buffer], BAD
        mov     dword [map.entries], 16
        try     "memory_map, bad buffer", __HYPERVISOR_memory_op, 9, map
        mov     qword [map.buffer], scratch
        mov     dword [map.entries], 1
        try     "memory_map, room for one", __HYPERVISOR_memory_op, 9, map
        show32  "entries", [map.entries]
        mov     dword [map.entries], 0
        try     "memory_map, no room", __HYPERVISOR_memory_op, 9, map
        show32  "entries", [map.entries]
        try     "memory_op 62", __HYPERVISOR_memory_op, 62, scratch
        ret

one_page:
        mov     qword [frames], 0x2000
        mov     qword [reservation.list], frames
        mov     qword [reservation.extents], 1
        mov     dword [reservation.order], 0
        mov     dword [reservation.flags], 0
        mov     word [reservation.domid], DOMID_SELF
        ret

; The first frame of shared_info has to be populated to be RAM again.
old_frame_is_hole:
        call    one_page
        mov     qword [frames], 0x2010
        try     "decrease_reservation where shared_info was", __HYPERVISOR_memory_op, 1, reservation
        try     "populate_physmap where shared_info was", __HYPERVISOR_memory_op, 6, reservation
        mov     qword [frames], 0x2011
        try     "decrease_reservation of shared_info", __HYPERVISOR_memory_op, 1, reservation
        ret

; ---- event_channel_op -------------------------------------------------------------------------
channel_calls:
%assign command 0
%rep 10
  %if command != 2
        mov     eax, command
        print   "event_channel_op "
        print_decimal rax
        try     ", bad pointer", __HYPERVISOR_event_channel_op, command, BAD
  %endif
  %assign command command + 1
%endrep
        mov     word [unbound], NO_DOMAIN
        mov     word [unbound + 2], DOMID_SELF
        try     "alloc_unbound, no such domain", __HYPERVISOR_event_channel_op, 6, unbound
        mov     word [unbound], DOMID_SELF
        try     "alloc_unbound for itself", __HYPERVISOR_event_channel_op, 6, unbound
        mov     eax, [unbound + 4]
        mov     [first_port], eax
        try     "send to an unbound port", __HYPERVISOR_event_channel_op, 4, first_port
        call    status_of_first
        mov     eax, [first_port]
        mov     [interdomain + 4], eax
        mov     word [interdomain], NO_DOMAIN
        try     "bind_interdomain, no such domain", __HYPERVISOR_event_channel_op, 0, interdomain
        mov     word [interdomain], DOMID_SELF
        mov     dword [interdomain + 4], NO_PORT
        try     "bind_interdomain, no such port", __HYPERVISOR_event_channel_op, 0, interdomain
        mov     eax, [first_port]
        mov     [interdomain + 4], eax
        try     "bind_interdomain to itself", __HYPERVISOR_event_channel_op, 0, interdomain
        mov     eax, [interdomain + 8]
        sub     eax, [first_port]
        report  "the new port is behind the old one by"
        call    status_of_first
        try     "bind_interdomain again", __HYPERVISOR_event_channel_op, 0, interdomain
        try     "send to a bound port", __HYPERVISOR_event_channel_op, 4, first_port
        mov     eax, [interdomain + 8]
        mov     [port], eax
        try     "close the far end", __HYPERVISOR_event_channel_op, 3, port
        call    status_of_first
        try     "close", __HYPERVISOR_event_channel_op, 3, first_port
        try     "close again", __HYPERVISOR_event_channel_op, 3, first_port
        try     "send to a closed port", __HYPERVISOR_event_channel_op, 4, first_port
        try     "unmask a closed port", __HYPERVISOR_event_channel_op, 9, first_port
        call    status_of_first
        mov     dword [port], NO_PORT
        try     "send, no such port", __HYPERVISOR_event_channel_op, 4, port
        try     "close, no such port", __HYPERVISOR_event_channel_op, 3, port
        try     "unmask, no such port", __HYPERVISOR_event_channel_op, 9, port
        mov     dword [port], 0
        try     "send to port 0", __HYPERVISOR_event_channel_op, 4, port
        try     "close port 0", __HYPERVISOR_event_channel_op, 3, port
        try     "unmask port 0", __HYPERVISOR_event_channel_op, 9, port
        mov     word [status], DOMID_SELF
        mov     dword [status + 4], 0
        try     "status of port 0", __HYPERVISOR_event_channel_op, 5, status
        show32  "its status", [status + 8]
        mov     dword [status + 4], 200000
        try     "status, no such port", __HYPERVISOR_event_channel_op, 5, status
        mov     word [status], NO_DOMAIN
        try     "status, no such domain", __HYPERVISOR_event_channel_op, 5, status

        call    clear_virq
        mov     dword [virq], 24
        try     "bind_virq 24", __HYPERVISOR_event_channel_op, 1, virq
        call    clear_virq
        mov     dword [virq + 4], NO_VCPU
        try     "bind_virq timer, no such vCPU", __HYPERVISOR_event_channel_op, 1, virq
        mov     dword [virq], 3
        try     "bind_virq 3, not vCPU 0", __HYPERVISOR_event_channel_op, 1, virq
        call    clear_virq
        try     "bind_virq timer", __HYPERVISOR_event_channel_op, 1, virq
        mov     eax, [virq + 8]
        mov     [first_port], eax
        call    status_of_first
        try     "bind_virq timer again", __HYPERVISOR_event_channel_op, 1, virq
        try     "send to the port of a VIRQ", __HYPERVISOR_event_channel_op, 4, first_port
        mov     eax, [first_port]
        mov     [bind_vcpu], eax
        mov     dword [bind_vcpu + 4], 0
        try     "bind_vcpu of a VIRQ of its own", __HYPERVISOR_event_channel_op, 8, bind_vcpu
        try     "unmask", __HYPERVISOR_event_channel_op, 9, first_port
        mov     dword [virq], 2
        try     "bind_virq console", __HYPERVISOR_event_channel_op, 1, virq
        try     "bind_virq console again", __HYPERVISOR_event_channel_op, 1, virq
        mov     eax, [virq + 8]
        mov     [bind_vcpu], eax
        try     "bind_vcpu of a global VIRQ", __HYPERVISOR_event_channel_op, 8, bind_vcpu
        mov     dword [bind_vcpu + 4], NO_VCPU
        try     "bind_vcpu, no such vCPU", __HYPERVISOR_event_channel_op, 8, bind_vcpu
        mov     dword [bind_vcpu + 4], 0
        mov     dword [bind_vcpu], NO_PORT
        try     "bind_vcpu, no such port", __HYPERVISOR_event_channel_op, 8, bind_vcpu
        mov     dword [ipi], NO_VCPU
        try     "bind_ipi, no such vCPU", __HYPERVISOR_event_channel_op, 7, ipi
        mov     dword [ipi], 0
        try     "bind_ipi", __HYPERVISOR_event_channel_op, 7, ipi
        mov     eax, [ipi + 4]
        mov     [first_port], eax
        mov     [bind_vcpu], eax
        call    status_of_first
        try     "send to the port of an IPI", __HYPERVISOR_event_channel_op, 4, first_port
        try     "bind_vcpu of an IPI", __HYPERVISOR_event_channel_op, 8, bind_vcpu
        try     "close the port of an IPI", __HYPERVISOR_event_channel_op, 3, first_port
        try     "event_channel_op 77", __HYPERVISOR_event_channel_op, 77, scratch
        ret

clear_virq:
        mov     qword [virq], 0
        mov     dword [virq + 8], 0
        ret

status_of_first:
        mov     word [status], DOMID_SELF
        mov     eax, [first_port]
        mov     [status + 4], eax
        try     "status", __HYPERVISOR_event_channel_op, 5, status
        show32  "its status", [status + 8]
        show32  "its vCPU", [status + 12]
        ret

; ---- vcpu_op ----------------------------------------------------------------------------------
vcpu_calls:
        try     "is_up", __HYPERVISOR_vcpu_op, 3, 0, 0
        try     "is_up, no such vCPU", __HYPERVISOR_vcpu_op, 3, NO_VCPU, 0
        try     "stop_periodic_timer", __HYPERVISOR_vcpu_op, 7, 0, 0
        try     "stop_periodic_timer, no such vCPU", __HYPERVISOR_vcpu_op, 7, NO_VCPU, 0
        try     "set_singleshot_timer, bad pointer", __HYPERVISOR_vcpu_op, 8, 0, BAD
        try     "set_singleshot_timer, no such vCPU", __HYPERVISOR_vcpu_op, 8, NO_VCPU, timer
        mov     qword [timer], 1
        mov     dword [timer + 8], 1
        try     "set_singleshot_timer, past, future only", __HYPERVISOR_vcpu_op, 8, 0, timer
        mov     dword [timer + 8], 0
        try     "set_singleshot_timer, past", __HYPERVISOR_vcpu_op, 8, 0, timer
        mov     rax, 1 << 60
        mov     [timer], rax
        try     "set_singleshot_timer", __HYPERVISOR_vcpu_op, 8, 0, timer
        try     "stop_singleshot_timer", __HYPERVISOR_vcpu_op, 9, 0, 0
        try     "stop_singleshot_timer, no such vCPU", __HYPERVISOR_vcpu_op, 9, NO_VCPU, 0
        try     "register_vcpu_info, bad pointer", __HYPERVISOR_vcpu_op, 10, 0, BAD
        try     "register_vcpu_info, no such vCPU", __HYPERVISOR_vcpu_op, 10, NO_VCPU, info
        mov     qword [info], 0x2020
        mov     dword [info + 8], 4033
        try     "register_vcpu_info across pages", __HYPERVISOR_vcpu_op, 10, 0, info
        mov     dword [info + 8], 4
        try     "register_vcpu_info, not aligned", __HYPERVISOR_vcpu_op, 10, 0, info
        mov     dword [info + 8], 64
        mov     qword [info], 0x7ffff
        try     "register_vcpu_info in a hole", __HYPERVISOR_vcpu_op, 10, 0, info
        mov     qword [info], 0x2020
        try     "register_vcpu_info", __HYPERVISOR_vcpu_op, 10, 0, info
        movzx   eax, byte [0x2020040]
        report  "evtchn_upcall_pending"
        show    "evtchn_pending_sel", [0x2020048]
        try     "register_vcpu_info again", __HYPERVISOR_vcpu_op, 10, 0, info
        try     "vcpu_op 77", __HYPERVISOR_vcpu_op, 77, 0, scratch
        ret

; ---- hvm_op -----------------------------------------------------------------------------------
parameter_calls:
        try     "get_param, bad pointer", __HYPERVISOR_hvm_op, 1, BAD
        try     "set_param, bad pointer", __HYPERVISOR_hvm_op, 0, BAD
        mov     word [parameter], NO_DOMAIN
        mov     dword [parameter + 4], 0
        try     "get_param, no such domain", __HYPERVISOR_hvm_op, 1, parameter
        try     "set_param, no such domain", __HYPERVISOR_hvm_op, 0, parameter
        mov     word [parameter], DOMID_SELF
        xor     ebx, ebx
.next_parameter:
        mov     [parameter + 4], ebx
        mov     qword [parameter + 8], 0
        print   "get_param "
        print_decimal rbx
        try     "", __HYPERVISOR_hvm_op, 1, parameter
        cmp     ebx, 37                         ; VM86_TSS_SIZED: a size of 0 crashes the domain
        je      .set
        mov     qword [parameter + 8], 0
        print   "set_param "
        print_decimal rbx
        try     "", __HYPERVISOR_hvm_op, 0, parameter
.set:
        inc     ebx
        cmp     ebx, 42
        jb      .next_parameter
        mov     dword [upcall], NO_VCPU
        mov     byte [upcall + 4], 0x40
        try     "set_evtchn_upcall_vector, no such vCPU", __HYPERVISOR_hvm_op, 23, upcall
        mov     dword [upcall], 0
        mov     byte [upcall + 4], 0x0f
        try     "set_evtchn_upcall_vector 15", __HYPERVISOR_hvm_op, 23, upcall
        mov     byte [upcall + 4], 0x40
        try     "set_evtchn_upcall_vector", __HYPERVISOR_hvm_op, 23, upcall
        try     "set_evtchn_upcall_vector, bad pointer", __HYPERVISOR_hvm_op, 23, BAD
        try     "hvm_op 77", __HYPERVISOR_hvm_op, 77, scratch
        ret

; ---- sched_op, and what there is not ----------------------------------------------------------
other_calls:
        try     "sched_op yield", __HYPERVISOR_sched_op, 0, 0
        try     "sched_op shutdown, bad pointer", __HYPERVISOR_sched_op, 2, BAD
        try     "sched_op 77", __HYPERVISOR_sched_op, 77, scratch
        try     "set_trap_table", 0, scratch
        try     "set_callbacks", 4, scratch
        try     "hypercall 11", 11, scratch
        try     "hypercall 47", 47, scratch
        try     "hypercall 62", 62, scratch
        ret

section .data
align 8
features:       dd      0, 0
reservation:
.list:          dq      0
.extents:       dq      0
.order:         dd      0
.flags:         dd      0
.domid:         dw      0, 0, 0, 0
frames:         dq      0, 0, 0
domain:         dw      0, 0, 0, 0
physmap:
.domid:         dw      0
.size:          dw      0
.space:         dd      0
.index:         dq      0
.frame:         dq      0x2010
map:
.entries:       dd      0, 0
.buffer:        dq      0
unbound:        dw      0, 0
                dd      0
interdomain:    dd      0, 0, 0
status:         times 6 dd 0
virq:           dd      0, 0, 0
bind_vcpu:      dd      0, 0
ipi:            dd      0, 0
port:           dd      0
first_port:     dd      0
timer:          dq      0, 0
info:           dq      0, 0
parameter:      dq      0, 0
upcall:         dq      0

section .bss
alignb 8
scratch:        resb    4096
