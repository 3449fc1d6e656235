; pv-results.asm - a PV guest that takes traps, goes to user mode and back, and calls the hypercalls
; of PV guests with good and with bad arguments; it prints what it finds in its frames and what
; each call returns. The real Xen is the judge.
;
; INT n other than INT 80h is not here: where a gate refuses it, QEMU pushes a wrong error code.

%include "pv-boot.inc"
%include "console.inc"

%define XEN_AREA        0xffff800000000000      ; the first address of the hypervisor's
%define BAD             0x500000000000          ; not mapped
%define KERNEL_CS       0xe033
%define KERNEL_SS       0xe02b
%define FLAGS           0x27700                 ; QEMU does not set RF in the frames of faults
%define NOTHING         0x7fffffff

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

; raises TEXT, INSTRUCTION: what is to trap; the handler prints and goes on behind it.
%macro raises 2+
        print   %1, ": "
        mov     qword [resume], %%next
        %2
        print   "no trap", 10
  %%next:
%endmacro

main:
        call    trap_table_calls
        call    kernel_traps
        call    privileged
        call    segment_calls
        call    descriptor_calls
        call    callback_calls
        call    processor_calls
        call    other_calls
        call    user_mode
        ret

; ---- Traps of the kernel ----------------------------------------------------------------------
trap_table_calls:
        try     "set_trap_table", __HYPERVISOR_set_trap_table, traps
        try     "set_trap_table, bad pointer", __HYPERVISOR_set_trap_table, BAD
        mov     rax, XEN_AREA
        mov     [bad_trap + 8], rax
        try     "set_trap_table, handler in Xen", __HYPERVISOR_set_trap_table, bad_trap
        ret

kernel_traps:
        raises  "div by zero", div byte [zero]
        raises  "int3", int3
        raises  "int 80h", int 0x80
        raises  "ud2", ud2
        mov     rbx, BAD
        raises  "read of nothing", mov rax, [rbx]
        raises  "write of nothing", mov [rbx], rax
        raises  "fetch of nothing", jmp rbx
        mov     rbx, 1 << 48
        raises  "not canonical", mov rax, [rbx]
        mov     rbx, XEN_AREA
        raises  "write to the M2P", mov [rbx], rax
        mov     rbx, 0xffff820000000000
        raises  "read of the GDT", mov rax, [rbx]
        mov     eax, 0x1230
        raises  "mov ds, beyond the GDT", mov ds, ax
        mov     eax, 0xe008
        raises  "mov ds, Xen's code", mov ds, ax
        raises  "hlt", hlt
        raises  "lgdt", lgdt [zero]
        raises  "invlpg", invlpg [zero]
        raises  "swapgs", swapgs
        mov     ecx, 0x1234567
        raises  "rdmsr of nothing", rdmsr
        raises  "in al, dx, IOPL 0", in al, dx
        raises  "cli, IOPL 0", cli
        ret

; ---- What Xen emulates -------------------------------------------------------------------------
privileged:
        mov     rax, cr0
        and     eax, 0x80010001
        report  "cr0"
        mov     rax, cr2                        ; of the last page fault
        mov     [scratch], rax
        mov     eax, [scratch]
        report  "cr2"
        mov     rax, 0x123456
        mov     cr2, rax
        mov     rax, cr2
        report  "cr2, set"
        try     "fpu_taskswitch 1", __HYPERVISOR_fpu_taskswitch, 1
        mov     rax, cr0
        and     eax, 8
        report  "cr0.ts"
        clts
        mov     rax, cr0
        and     eax, 8
        report  "cr0.ts after clts"
        mov     ecx, 0xc0000100                 ; FS_BASE
        mov     eax, 0x1000
        xor     edx, edx
        wrmsr
        rdmsr
        report  "fs base"
        mov     ecx, 0xc0000102
        rdmsr
        report  "kernel gs base"
        mov     edx, 0x80000000
        xor     eax, eax
        raises  "wrmsr, not canonical", wrmsr
        mov     ecx, 0xc0000080
        rdmsr
        and     eax, 0x501
        report  "efer"
        wbinvd
        mov     rax, dr7
        report  "dr7"
        mov     eax, 0x400
        mov     dr7, rax
        mov     rax, dr6
        report  "dr6"
        ret

; ---- Hypercalls --------------------------------------------------------------------------------
segment_calls:
        try     "set_segment_base FS", __HYPERVISOR_set_segment_base, 0, scratch
        mov     rax, [fs:0]
        sub     rax, [scratch]
        report  "fs:0"
        mov     rax, 1 << 47
        try     "set_segment_base FS, not canonical", __HYPERVISOR_set_segment_base, 0, rax
        try     "set_segment_base GS user", __HYPERVISOR_set_segment_base, 1, 0x2000
        try     "set_segment_base GS kernel", __HYPERVISOR_set_segment_base, 2, scratch
        mov     rax, [gs:0]
        sub     rax, [scratch]
        report  "gs:0"
        try     "set_segment_base GS selector", __HYPERVISOR_set_segment_base, 3, 0
        try     "set_segment_base GS selector, bad", __HYPERVISOR_set_segment_base, 3, 0x1233
        try     "set_segment_base 4", __HYPERVISOR_set_segment_base, 4, 0
        ret

descriptor_calls:
        try     "set_gdt, no frames", __HYPERVISOR_set_gdt, 0, 0
        try     "set_gdt, too many entries", __HYPERVISOR_set_gdt, scratch, 7169
        try     "set_gdt, bad pointer", __HYPERVISOR_set_gdt, BAD, 1
        mov     qword [scratch], NOTHING
        try     "set_gdt, no such frame", __HYPERVISOR_set_gdt, scratch, 1
        mov     qword [scratch], 0
        try     "update_descriptor, no such frame", __HYPERVISOR_update_descriptor, NOTHING << 12, 0
        try     "update_descriptor, not aligned", __HYPERVISOR_update_descriptor, 4, 0
        ret

callback_calls:
        try     "callback_op register syscall", __HYPERVISOR_callback_op, 0, callback_syscall
        try     "callback_op register nothing", __HYPERVISOR_callback_op, 0, callback_none
        try     "callback_op register, in Xen", __HYPERVISOR_callback_op, 0, callback_bad
        try     "callback_op, bad pointer", __HYPERVISOR_callback_op, 0, BAD
        try     "callback_op unregister syscall", __HYPERVISOR_callback_op, 1, callback_syscall
        try     "callback_op unregister nothing", __HYPERVISOR_callback_op, 1, callback_none
        try     "callback_op 2", __HYPERVISOR_callback_op, 2, callback_syscall
        try     "set_callbacks", __HYPERVISOR_set_callbacks, on_event, on_event, on_syscall
        ret

processor_calls:
        try     "stack_switch", __HYPERVISOR_stack_switch, KERNEL_SS, kernel_stack_top
        try     "set_debugreg 0", __HYPERVISOR_set_debugreg, 0, scratch
        try     "get_debugreg 0", __HYPERVISOR_get_debugreg, 0
        mov     rax, XEN_AREA
        try     "set_debugreg 0, in Xen", __HYPERVISOR_set_debugreg, 0, rax
        try     "set_debugreg 6", __HYPERVISOR_set_debugreg, 6, 0
        try     "get_debugreg 6", __HYPERVISOR_get_debugreg, 6
        try     "set_debugreg 7", __HYPERVISOR_set_debugreg, 7, 0
        try     "get_debugreg 7", __HYPERVISOR_get_debugreg, 7
        try     "set_debugreg 8", __HYPERVISOR_set_debugreg, 8, 0
        try     "get_debugreg 8", __HYPERVISOR_get_debugreg, 8
        try     "fpu_taskswitch 0", __HYPERVISOR_fpu_taskswitch, 0
        try     "vm_assist enable 0", __HYPERVISOR_vm_assist, 0, 0
        try     "vm_assist disable 0", __HYPERVISOR_vm_assist, 1, 0
        try     "vm_assist enable 2", __HYPERVISOR_vm_assist, 0, 2
        try     "vm_assist enable 3", __HYPERVISOR_vm_assist, 0, 3
        try     "vm_assist enable 31", __HYPERVISOR_vm_assist, 0, 31
        try     "vm_assist enable 77", __HYPERVISOR_vm_assist, 0, 77
        try     "vm_assist 2", __HYPERVISOR_vm_assist, 2, 0
        ret

other_calls:
        try     "set_timer_op 0", __HYPERVISOR_set_timer_op, 0
        try     "multicall", __HYPERVISOR_multicall, calls, 2
        mov     rax, [calls + 8]
        report  "its first"
        mov     rax, [calls + 64 + 8]
        report  "its second"
        try     "multicall of none", __HYPERVISOR_multicall, 0, 0
        try     "multicall, bad pointer", __HYPERVISOR_multicall, BAD, 1
        try     "xen_version 0", __HYPERVISOR_xen_version, 0, 0
        mov     qword [scratch], DOMID_SELF
        try     "hvm_op get_param", __HYPERVISOR_hvm_op, 1, scratch
        try     "physdev_op set_iopl 1", __HYPERVISOR_physdev_op, 6, iopl
        mov     dword [iopl], 4
        try     "physdev_op set_iopl 4", __HYPERVISOR_physdev_op, 6, iopl
        try     "vcpu_op is_up 0", __HYPERVISOR_vcpu_op, 3, 0, 0
        try     "vcpu_op is_up 1", __HYPERVISOR_vcpu_op, 3, 1, 0
        try     "vcpu_op initialise 1", __HYPERVISOR_vcpu_op, 0, 1, scratch
        try     "vcpu_op initialise 0", __HYPERVISOR_vcpu_op, 0, 0, page
        try     "vcpu_op up 0", __HYPERVISOR_vcpu_op, 1, 0, 0
        try     "vcpu_op up 1", __HYPERVISOR_vcpu_op, 1, 1, 0
        try     "vcpu_op 77", __HYPERVISOR_vcpu_op, 77, 0, 0
        try     "hypercall 60", 60, 0
        ret

; ---- User mode, in the page tables of the kernel ----------------------------------------------
user_mode:
        mov     rsi, [start_info]               ; the machine frame of the L4 table
        mov     rbx, [rsi + 0x58]               ; pt_base
        shr     rbx, 12
        mov     rdx, [rsi + 0x68]               ; mfn_list
        mov     rax, [rdx + rbx * 8]
        mov     [new_user_base + 8], rax
        try     "mmuext_op new_user_baseptr", __HYPERVISOR_mmuext_op, new_user_base, 1, 0, DOMID_SELF
        mov     [kernel_return], rsp
        push    KERNEL_SS                       ; SS, RSP, RFLAGS, CS with RPL 3, RIP
        push    user_stack_top
        push    0x200
        push    KERNEL_CS
        push    user
        push    0                               ; flags
        jmp     hypercall_page + 32 * __HYPERVISOR_iret
.back:
        ret

user:
        mov     qword [resume], .after_syscall
        mov     eax, 39
        syscall
.after_syscall:
        mov     qword [resume], .after_cli
        cli
.after_cli:
        mov     qword [resume], .after_int80
        int     0x80
.after_int80:
        mov     qword [resume], .after_fault
        mov     rbx, BAD
        mov     rax, [rbx]
.after_fault:
        mov     qword [resume], .after_hlt
        hlt
.after_hlt:
        mov     qword [leaves], 1
        mov     qword [resume], user_mode.back
        ud2

; ---- Handlers ----------------------------------------------------------------------------------
%macro handler 3                                ; name, vector, whether there is an error code
%1:
        pop     rcx
        pop     r11
  %if %3
        pop     qword [error_code]
  %else
        mov     qword [error_code], -1
  %endif
        mov     qword [vector], %2
        jmp     on_trap
%endmacro

        handler on_divide, 0, 0
        handler on_breakpoint, 3, 0
        handler on_invalid, 6, 0
        handler on_segment, 11, 1
        handler on_protection, 13, 1
        handler on_page_fault, 14, 1
        handler on_80, 0x80, 0

on_trap:                                        ; RIP, CS | mask << 32, RFLAGS, RSP, SS
        print   "vector "
        print_decimal [vector]
        print   " error "
        print_decimal [error_code]
        mov     r12, rsp
        print   " rip "
        print_hex [r12]
        print   " cs "
        print_hex [r12 + 8]
        print   " flags "
        mov     rax, [r12 + 16]
        and     eax, FLAGS
        print_hex rax
        print   " rsp "
        print_hex [r12 + 24]
        print   " ss "
        print_hex [r12 + 32]
        print   10
        cmp     qword [leaves], 0
        jne     leave_user
        mov     rax, [resume]
        mov     [rsp], rax
        push    0                               ; flags
        jmp     hypercall_page + 32 * __HYPERVISOR_iret

leave_user:
        mov     qword [leaves], 0
        mov     rsp, [kernel_return]
        jmp     user_mode.back

on_syscall:                                     ; RCX, R11, then as a trap
        pop     rcx
        pop     r11
        report  "system call"
        mov     rax, [rsp + 8]
        report  "its cs"
        mov     rax, [rsp + 16]
        and     eax, FLAGS
        report  "its flags"
        mov     rax, [resume]
        mov     [rsp], rax
        push    0
        jmp     hypercall_page + 32 * __HYPERVISOR_iret

on_event:
        pop     rcx
        pop     r11
        push    0
        jmp     hypercall_page + 32 * __HYPERVISOR_iret

; ---- Data --------------------------------------------------------------------------------------
section .data
; trap VECTOR, FLAGS, HANDLER: struct trap_info
%macro trap 3
        db      %1, %2
        dw      KERNEL_CS
        dd      0
        dq      %3
%endmacro
align 8
traps:
        trap    0, 0, on_divide
        trap    3, 3, on_breakpoint
        trap    6, 0, on_invalid
        trap    11, 0, on_segment
        trap    13, 0, on_protection
        trap    14, 4, on_page_fault
        trap    0x80, 3, on_80
        trap    0, 0, 0
bad_trap:
        trap    7, 0, 0
        trap    0, 0, 0

callback_syscall:                               ; struct callback_register: type, flags, address
        dw      2, 0
        dd      0
        dq      on_syscall
callback_none:
        dw      99, 0
        dd      0
        dq      on_syscall
callback_bad:
        dw      2, 0
        dd      0
        dq      XEN_AREA

calls:                                          ; struct multicall_entry: op, result, six arguments
        dq      __HYPERVISOR_xen_version, 77, 0, 0, 0, 0, 0, 0
        dq      60, 77, 0, 0, 0, 0, 0, 0

new_user_base:                                  ; struct mmuext_op: command, arg1, arg2
        dd      15, 0
        dq      0, 0
iopl:
        dd      1
zero:
        dq      0, 0

section .bss
align 4096
page:
        resb    PAGE_SIZE * 2
scratch:
        resq    8
resume:
        resq    1
leaves:
        resq    1
vector:
        resq    1
error_code:
        resq    1
kernel_return:
        resq    1
        resb    PAGE_SIZE
kernel_stack_top:
        resb    PAGE_SIZE
user_stack_top:
section .text
