; interrupts - a timer, and the event channel by which it reaches the guest.
;
; A PVH guest needs no interrupt controller. Xen marks an event pending in the shared info page and
; injects one vector, the callback, at the next VM entry; the handler looks which port it was.

%include "boot.inc"
%include "console.inc"
%include "interrupts.inc"

%define CALLBACK_VECTOR 0x40
%define TICKS           5
%define TICK_NS         1000000                 ; a millisecond

%define VCPU0           (shared_info + SHARED_INFO_vcpu_info)

main:
        load_idt
        set_gate CALLBACK_VECTOR, callback

        ; The shared info page takes the place of a page of ours.
        mov     eax, shared_info
        shr     eax, 12
        mov     [mapping + xen_add_to_physmap.gpfn], rax
        hypercall __HYPERVISOR_memory_op, XENMEM_add_to_physmap, mapping
        print   "shared info mapped: "
        print_decimal rax
        print   10

        hypercall __HYPERVISOR_hvm_op, HVMOP_set_param, callback_parameter
        print   "callback vector set: "
        print_decimal rax
        print   10

        hypercall __HYPERVISOR_event_channel_op, EVTCHNOP_bind_virq, timer
        print   "VIRQ_TIMER bound: "
        print_decimal rax
        print   10
        mov     eax, [timer + evtchn_bind_virq.port]
        lock btr [shared_info + SHARED_INFO_evtchn_mask], rax

        call    system_time
        mov     r12, rax                        ; R12: when the timer is to fire next
        mov     ebx, 1                          ; EBX: the tick we wait for
.next_tick:
        add     r12, TICK_NS
        mov     [alarm + vcpu_set_singleshot_timer.timeout_abs_ns], r12
        hypercall __HYPERVISOR_vcpu_op, VCPUOP_set_singleshot_timer, 0, alarm
        call    wait_for_tick
        call    system_time
        print   "tick "
        print_decimal rbx
        cmp     rax, r12
        jb      .early
        print   ", on time or later", 10
        jmp     .told
.early:
        print   ", too early", 10
.told:
        inc     ebx
        cmp     ebx, TICKS
        jbe     .next_tick
        ret

; wait_for_tick: sleeps until the handler has counted to EBX.
wait_for_tick:
        cli                                     ; no tick may come between the test and HLT
        cmp     [ticks], ebx
        jae     .came
        sti                                     ; takes effect after the next instruction
        hlt                                     ; VM exit 12: Xen runs somebody else until the event
        jmp     wait_for_tick
.came:
        sti
        ret

; callback: the injected vector. There is nothing to acknowledge to a controller.
callback:
        push    rax
        mov     byte [VCPU0 + vcpu_info.evtchn_upcall_pending], 0
        mov     qword [VCPU0 + vcpu_info.evtchn_pending_sel], 0
        mov     eax, [timer + evtchn_bind_virq.port]
        lock btr [shared_info + SHARED_INFO_evtchn_pending], rax
        jnc     .other_port
        inc     dword [ticks]
.other_port:
        pop     rax
        iretq

; system_time: RAX = nanoseconds since Xen started, from the time-stamp counter and the scale that Xen
; keeps in vcpu_info. Changes RCX, RDX and RSI.
system_time:
        mov     esi, [VCPU0 + vcpu_info.time_version]
        rdtsc
        shl     rdx, 32
        or      rax, rdx
        sub     rax, [VCPU0 + vcpu_info.tsc_timestamp]
        mov     cl, [VCPU0 + vcpu_info.tsc_shift]
        test    cl, cl
        js      .shift_right
        shl     rax, cl
        jmp     .scale
.shift_right:
        neg     cl
        shr     rax, cl
.scale:
        mov     edx, [VCPU0 + vcpu_info.tsc_to_system_mul]
        mul     rdx
        shrd    rax, rdx, 32
        add     rax, [VCPU0 + vcpu_info.system_time]
        test    esi, 1                          ; odd, or another one now: Xen was writing; again
        jnz     system_time
        cmp     esi, [VCPU0 + vcpu_info.time_version]
        jne     system_time
        ret

section .data
align 8
mapping:
istruc xen_add_to_physmap
        at xen_add_to_physmap.domid, dw DOMID_SELF
        at xen_add_to_physmap.space, dd XENMAPSPACE_shared_info
        at xen_add_to_physmap.idx,   dq 0
        at xen_add_to_physmap.gpfn,  dq 0
iend

callback_parameter:
istruc xen_hvm_param
        at xen_hvm_param.domid, dw DOMID_SELF
        at xen_hvm_param.index, dd HVM_PARAM_CALLBACK_IRQ
        at xen_hvm_param.value, dq HVM_PARAM_CALLBACK_TYPE_VECTOR << 56 | CALLBACK_VECTOR
iend

timer:
istruc evtchn_bind_virq
        at evtchn_bind_virq.virq, dd VIRQ_TIMER
        at evtchn_bind_virq.vcpu, dd 0
        at evtchn_bind_virq.port, dd 0
iend

align 8
alarm:
istruc vcpu_set_singleshot_timer
        at vcpu_set_singleshot_timer.timeout_abs_ns, dq 0
        at vcpu_set_singleshot_timer.flags,          dd 0
iend

ticks:
        dd      0

section .bss
alignb 4096
shared_info:
        resb    PAGE_SIZE
