; pv-smp.asm - a PV guest with a second vCPU: it is given a context, started, and stops itself.
; Needs two vCPUs.

%include "pv-boot.inc"
%include "console.inc"

%define CONTEXT_SIZE            5168            ; struct vcpu_guest_context of 64-bit guests
%define CONTEXT_flags           512
%define CONTEXT_rip             520 + 128
%define CONTEXT_cs              520 + 136
%define CONTEXT_rflags          520 + 144
%define CONTEXT_rsp             520 + 152
%define CONTEXT_ss              520 + 160
%define CONTEXT_rdi             520 + 14 * 8
%define CONTEXT_kernel_ss       4968
%define CONTEXT_kernel_sp       4976
%define CONTEXT_cr3             4984 + 3 * 8
%define CONTEXT_event           5112
%define CONTEXT_failsafe        5120
%define CONTEXT_syscall         5128
%define VGCF_in_kernel          4

%define VCPUOP_initialise       0
%define VCPUOP_up               1
%define VCPUOP_down             2
%define VCPUOP_is_up            3

%macro try 2+
        hypercall %2
        print   %1, ": "
        print_decimal rax
        print   10
%endmacro

main:
        try     "is_up 1", __HYPERVISOR_vcpu_op, VCPUOP_is_up, 1, 0
        try     "up 1, without a context", __HYPERVISOR_vcpu_op, VCPUOP_up, 1, 0
        mov     ebx, context
        mov     qword [rbx + CONTEXT_flags], VGCF_in_kernel
        mov     qword [rbx + CONTEXT_rip], second
        mov     qword [rbx + CONTEXT_cs], FLAT_KERNEL_CS
        mov     qword [rbx + CONTEXT_rsp], second_stack
        mov     qword [rbx + CONTEXT_ss], FLAT_KERNEL_SS
        mov     qword [rbx + CONTEXT_rdi], 42
        mov     qword [rbx + CONTEXT_kernel_ss], FLAT_KERNEL_SS
        mov     qword [rbx + CONTEXT_kernel_sp], second_stack
        mov     rax, [start_info]
        mov     rcx, [rax + start_info_pv.pt_base]
        shr     rcx, 12
        mov     rax, [rax + start_info_pv.mfn_list]
        mov     rax, [rax + rcx * 8]
        shl     rax, 12
        mov     [rbx + CONTEXT_cr3], rax
        try     "initialise 1", __HYPERVISOR_vcpu_op, VCPUOP_initialise, 1, context
        try     "initialise 1 again", __HYPERVISOR_vcpu_op, VCPUOP_initialise, 1, context
        try     "is_up 1", __HYPERVISOR_vcpu_op, VCPUOP_is_up, 1, 0
        try     "up 1", __HYPERVISOR_vcpu_op, VCPUOP_up, 1, 0
.wait:
        pause
        cmp     qword [told], 0
        je      .wait
        print   "The second vCPU has told "
        print_decimal [told]
        print   10
.down:
        hypercall __HYPERVISOR_sched_op, SCHEDOP_yield
        hypercall __HYPERVISOR_vcpu_op, VCPUOP_is_up, 1, 0
        test    eax, eax
        jnz     .down
        print   "It is down.", 10
        ret

second:
        lock add [told], rdi
        hypercall __HYPERVISOR_vcpu_op, VCPUOP_down, 1, 0
.stop:
        jmp     .stop

section .data
align 8
told:
        dq      0

section .bss
alignb PAGE_SIZE
context:
        resb    CONTEXT_SIZE
alignb PAGE_SIZE
        resb    PAGE_SIZE
second_stack:
section .text
