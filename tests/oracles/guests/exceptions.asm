; exceptions.asm - does what a processor refuses, one instruction at a time, and prints the exception:
; its vector, its error code, how far RIP is behind the start of the instruction, CR2 of a #PF. Some of
; it the processor decides, some the hypervisor, which owns CR0, CR4 and most MSRs.
;
; Judge: Bochs. The processor that QEMU simulates lets much of this pass.

%include "boot.inc"
%include "console.inc"

%define CODE            0x08
%define DATA            0x10
%define DATA_ABSENT     0x18
%define CODE_ABSENT     0x20
%define DATA_READ_ONLY  0x28
%define DATA_LEVEL_3    0x30
%define TASK            0x38                    ; two slots
%define TASK_ABSENT     0x48                    ; two slots
%define CODE_LONG_BIG   0x58
%define LDT             0x60                    ; two slots
%define BEYOND          0x100

%define BAD             0x50000000              ; not mapped
%define READ_ONLY       0x2400000               ; pages of 2 MiB that main changes
%define RESERVED        0x2600000
%define NO_EXECUTE      0x2800000
%define NON_CANONICAL   0x0000800000000000
%define NO_ERROR        0x7fff

; probe TEXT, INSTRUCTION: runs it and prints what became of it. It may use RAX, RCX, RDX and RBX.
%macro probe 2+
        mov     qword [seen_vector], -1
        mov     qword [recovery], %%back
        mov     qword [start], %%start
        mov     [saved_rsp], rsp
%%start:
        %2
%%back:
        mov     rsp, [saved_rsp]
        push    qword 2
        popfq
        print   %1, ": "
        call    print_seen
%endmacro

main:
        call    set_up
        call    plain_faults
        call    page_faults
        call    control_registers
        call    model_specific_registers
        call    segments
        call    returns
        call    gates
        call    debugging
        ret

; ---- Instructions -----------------------------------------------------------------------------
plain_faults:
        probe   "ud2", ud2
        probe   "int3", int3
        xor     edx, edx
        xor     ecx, ecx
        probe   "division by 0", div ecx
        mov     edx, 5
        mov     ecx, 5
        probe   "a quotient that is too large", div ecx
        probe   "lock before a register form", db 0xf0, 0x01, 0xc0
        probe   "16 bytes of an instruction", db 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x90
        probe   "push es", db 0x06
        probe   "vmclear", vmclear [scratch]
        probe   "vmptrld", vmptrld [scratch]
        probe   "vmlaunch", vmlaunch
        probe   "vmxoff", vmxoff
        xor     ecx, ecx
        xor     eax, eax
        xor     edx, edx
        probe   "xsetbv", xsetbv
        probe   "xgetbv", xgetbv
        probe   "getsec", db 0x0f, 0x37
        probe   "rsm", rsm
        probe   "rdfsbase", rdfsbase rax
        mov     rax, NON_CANONICAL
        probe   "a read that is not canonical", mov rbx, [rax]
        probe   "a write that is not canonical", mov [rax], rbx
        probe   "a jump that is not canonical", jmp rax
        probe   "a call that is not canonical", call rax
        xor     ebp, ebp
        probe   "a write by RBP that is not canonical", mov [rbp + rax], rbx
        probe   "a push that is not canonical", call push_wildly
        probe   "a return that is not canonical", call return_wildly
        ret

push_wildly:
        mov     rsp, rax
        push    rbx

return_wildly:
        push    rax
        ret

; ---- Paging -----------------------------------------------------------------------------------
page_faults:
        mov     ebx, BAD
        probe   "a read of nothing", mov al, [rbx]
        probe   "a write to nothing", mov [rbx], al
        probe   "a jump to nothing", jmp rbx
        mov     ebx, READ_ONLY + 0x1ffffe
        probe   "a write to a read-only page", mov [rbx - 8], al
        probe   "a read and write of it", add [rbx - 8], eax
        mov     ebx, READ_ONLY - 4
        probe   "a write that ends on it", mov [rbx], rax
        mov     ebx, RESERVED
        probe   "a read with a reserved bit", mov al, [rbx]
        probe   "a write with a reserved bit", mov [rbx + 1], al
        mov     ebx, NO_EXECUTE
        mov     byte [rbx], 0xc3
        probe   "a call of a page without execution", call rbx
        mov     rax, cr0
        and     eax, ~(1 << 16)
        mov     cr0, rax
        mov     ebx, READ_ONLY
        probe   "a write to a read-only page without CR0.WP", mov [rbx], al
        mov     rax, cr0
        or      eax, 1 << 16
        mov     cr0, rax
        ret

; ---- CR0, CR3, CR4, CR8 -----------------------------------------------------------------------
control_registers:
        mov     rax, cr0
        mov     rbx, rax
        and     eax, ~1
        probe   "CR0.PG without PE", mov cr0, rax
        mov     eax, ebx
        and     eax, 0x7fffffff
        probe   "CR0.PG off in 64-bit mode", mov cr0, rax
        mov     rax, rbx
        bts     rax, 32
        probe   "CR0 bit 32", mov cr0, rax
        mov     rax, cr4
        mov     rbx, rax
        and     eax, ~(1 << 5)
        probe   "CR4.PAE off in IA-32e mode", mov cr4, rax
        mov     rax, rbx
        bts     rax, 63
        probe   "CR4 bit 63", mov cr4, rax
        mov     rax, rbx
        bts     rax, 15
        probe   "CR4 bit 15", mov cr4, rax
        mov     rax, rbx
        bts     rax, 13
        probe   "CR4.VMXE", mov cr4, rax
        mov     rax, rbx
        or      eax, 1 << 4
        probe   "CR4.PSE", mov cr4, rax
        mov     rax, cr4
        sub     rax, rbx
        print   "CR4 has risen by "
        print_decimal rax
        print   10
        mov     cr4, rbx
        mov     eax, 16
        probe   "CR8 of 16", mov cr8, rax
        probe   "CR1", db 0x0f, 0x20, 0xc8
        probe   "CR9", db 0x44, 0x0f, 0x20, 0xc8
        mov     eax, 1 << 3
        probe   "lmsw with TS", lmsw ax
        mov     rax, cr0
        and     eax, 9
        print   "CR0.PE and TS: "
        print_decimal rax
        print   10
        probe   "clts", clts
        mov     rax, cr0
        and     eax, 9
        print   "CR0.PE and TS: "
        print_decimal rax
        print   10
        ret

; ---- MSRs -------------------------------------------------------------------------------------
%macro probe_msr 4
        mov     ecx, %2
        mov     edx, %3
        mov     eax, %4
        probe   %1, wrmsr
%endmacro

model_specific_registers:
        mov     ecx, 0xc0000080
        rdmsr
        mov     ebx, eax
        or      eax, 1 << 1
        probe   "EFER bit 1", wrmsr
        mov     ecx, 0xc0000080
        xor     edx, edx
        mov     eax, ebx
        and     eax, ~(1 << 8)
        probe   "EFER.LME off with paging", wrmsr
        probe_msr "IA32_PAT with type 2", 0x277, 0, 2
        probe_msr "IA32_PAT with 8 in byte 7", 0x277, 0x08000000, 0
        probe_msr "IA32_PAT", 0x277, 0x00070406, 0x00070406
        probe_msr "IA32_LSTAR that is not canonical", 0xc0000082, 0x8000, 0
        probe_msr "IA32_CSTAR that is not canonical", 0xc0000083, 0x8000, 0
        probe_msr "IA32_KERNEL_GS_BASE that is not canonical", 0xc0000102, 0x8000, 0
        probe_msr "IA32_SYSENTER_EIP that is not canonical", 0x176, 0x8000, 0
        mov     ecx, 0x12345
        probe   "a read of MSR 0x12345", rdmsr
        probe_msr "a write of MSR 0x12345", 0x12345, 0, 0
        mov     ecx, 0xc0000080
        rdmsr
        mov     ebx, eax
        and     eax, ~1
        wrmsr
        probe   "syscall without EFER.SCE", syscall
        probe   "sysret without EFER.SCE", o64 sysret
        mov     ecx, 0xc0000080
        xor     edx, edx
        mov     eax, ebx
        or      eax, 1
        wrmsr
        mov     rcx, NON_CANONICAL
        probe   "sysret to what is not canonical", o64 sysret
        mov     ecx, 0x174
        xor     eax, eax
        xor     edx, edx
        wrmsr
        probe   "sysenter without a selector", sysenter
        probe   "sysexit without a selector", sysexit
        ret

; ---- Segments ---------------------------------------------------------------------------------
%macro probe_load 3
        mov     eax, %3
        probe   %1, mov %2, ax
%endmacro

segments:
        probe_load "null into DS", ds, 0
        probe_load "null into SS at level 0", ss, 0
        probe_load "null with RPL 3 into SS at level 0", ss, 3
        probe_load "data of level 3 into SS", ss, DATA_LEVEL_3
        probe_load "code into SS", ss, CODE
        probe_load "read-only data into SS", ss, DATA_READ_ONLY
        probe_load "read-only data into DS", ds, DATA_READ_ONLY
        probe_load "absent data into SS", ss, DATA_ABSENT
        probe_load "absent data into DS", ds, DATA_ABSENT
        probe_load "a selector beyond the GDT", es, BEYOND
        probe_load "a selector of no LDT", es, 4
        probe_load "a TSS into DS", ds, TASK
        mov     eax, DATA
        mov     ds, eax
        mov     es, eax
        mov     ss, eax
        probe   "MOV to CS", db 0x8e, 0xc8
        xor     eax, eax
        probe   "ltr of null", ltr ax
        mov     eax, DATA
        probe   "ltr of data", ltr ax
        mov     eax, TASK_ABSENT
        probe   "ltr of an absent TSS", ltr ax
        mov     eax, BEYOND
        probe   "ltr beyond the GDT", ltr ax
        mov     eax, TASK
        probe   "ltr of a busy TSS", ltr ax
        xor     eax, eax
        probe   "lldt of null", lldt ax
        mov     eax, TASK
        probe   "lldt of a TSS", lldt ax
        mov     eax, LDT
        probe   "lldt", lldt ax
        mov     eax, DATA
        lsl     rbx, rax
        print   "LSL of data: "
        print_hex rbx
        print   10
        lar     ebx, eax
        and     ebx, ~0xf0100                   ; the accessed bit, and four that are undefined
        print   "LAR of data: "
        print_hex rbx
        print   10
        probe   "lgdt of a base that is not canonical", lgdt [bad_table]
        lgdt    [table]
        probe   "a far jump to data", jmp far dword [to_data]
        probe   "a far jump to null", jmp far dword [to_null]
        probe   "a far jump to absent code", jmp far dword [to_absent]
        probe   "a far jump to code with L and D", jmp far dword [to_long_big]
        probe   "a far jump to a TSS", jmp far dword [to_task]
        probe   "a far call beyond the GDT", call far dword [to_beyond]
        movzx   eax, byte [own_gdt + CODE + 5]
        print   "access byte of the code segment before a far jump: "
        print_hex rax
        print   10
        jmp     far dword [to_code]
segments_end:
        movzx   eax, byte [own_gdt + CODE + 5]
        print   "and after it: "
        print_hex rax
        print   10
        ret

; ---- IRET -------------------------------------------------------------------------------------
; probe_iret TEXT, RIP, CS, RFLAGS, RSP, SS
%macro probe_iret 6
        mov     rax, %2
        mov     [frame], rax
        mov     qword [frame + 8], %3
        mov     qword [frame + 16], %4
        mov     qword [frame + 24], %5
        mov     qword [frame + 32], %6
        probe   %1, call return_by_frame
%endmacro

return_by_frame:
        mov     rsp, frame
        iretq

arrived:
        mov     rsp, [saved_rsp]
        jmp     [recovery]

return_far:
        mov     rsp, frame
        o64 retf

returns:
        probe_iret "iretq to a null CS", arrived, 0, 2, 0, DATA
        probe_iret "iretq to data", arrived, DATA, 2, 0, DATA
        probe_iret "iretq to an absent CS", arrived, CODE_ABSENT, 2, 0, DATA
        probe_iret "iretq beyond the GDT", arrived, BEYOND, 2, 0, DATA
        probe_iret "iretq to L and D", arrived, CODE_LONG_BIG, 2, 0, DATA
        probe_iret "iretq to RPL 3 of level 0", arrived, CODE + 3, 2, 0, DATA
        probe_iret "iretq to what is not canonical", NON_CANONICAL, CODE, 2, 0, DATA
        probe_iret "iretq with an SS of level 3", arrived, CODE, 2, 0, DATA_LEVEL_3
        probe_iret "iretq with an absent SS", arrived, CODE, 2, 0, DATA_ABSENT
        probe_iret "iretq with an SS of RPL 3", arrived, CODE, 2, 0, 3
        push    qword 0x4002
        popfq
        probe   "iretq with NT", call return_by_frame
        mov     qword [frame + 8], CODE_ABSENT
        probe   "retf to an absent CS", call return_far
        mov     qword [frame + 8], DATA
        probe   "retf to data", call return_far
        ret

; ---- Gates, double faults, interrupt stacks ---------------------------------------------------
gates:
        probe   "int 0x50, a gate that is no gate", int 0x50
        probe   "int 0x51, an absent gate", int 0x51
        probe   "int 0x52, a gate to data", int 0x52
        probe   "int 0x53, a gate to absent code", int 0x53
        probe   "int 0x54, a null selector", int 0x54
        probe   "int 0x55, a 32-bit gate", int 0x55
        probe   "int 0x57, beyond the IDT", int 0x57
        mov     eax, [idt + 13 * 16 + 4]        ; #GP has no gate now: #NP, so a double fault
        and     eax, ~0x8000
        mov     [idt + 13 * 16 + 4], eax
        mov     eax, BEYOND
        probe   "#GP with its gate absent", mov ds, ax
        or      dword [idt + 13 * 16 + 4], 0x8000
        mov     rax, [seen_stack]
        sub     rax, fault_stack
        print   "the frame is this far up the stack of IST 1: "
        print_decimal rax
        print   10
        mov     dword [idt + 14 * 16 + 4], 0    ; #PF has no gate: #GP after a #PF is a double fault
        mov     ebx, BAD
        probe   "#PF without a gate", mov al, [rbx]
        mov     eax, [gate_high]
        mov     [idt + 14 * 16 + 4], eax
        mov     dword [idt + 6 * 16 + 4], 0     ; #UD is benign
        probe   "#UD without a gate", ud2
        mov     eax, [gate_high]
        mov     [idt + 6 * 16 + 4], eax
        ret

; ---- Debug exceptions -------------------------------------------------------------------------
; probe_step TEXT, INSTRUCTION: with TF set.
%macro probe_step 2+
        mov     qword [seen_vector], -1
        mov     qword [recovery], %%back
        mov     [saved_rsp], rsp
        mov     qword [start], %%start
        push    qword 0x102
        popfq
%%start:
        %2
        nop
        nop
%%back:
        mov     rsp, [saved_rsp]
        push    qword 2
        popfq
        print   %1, ": "
        call    print_seen
        call    print_status
%endmacro

debugging:
        xor     eax, eax
        mov     dr6, rax
        probe_step "a step over nop", nop
        mov     eax, 0
        probe_step "a step over cpuid", cpuid
        mov     eax, DATA
        probe_step "a step over mov ss", mov ss, ax
        xor     ecx, ecx
        probe_step "a step over rep stosb of nothing", rep stosb
        mov     ecx, 3
        mov     edi, scratch
        probe_step "a step into rep stosb", rep stosb
        probe_step "a step over int3", int3
        mov     ecx, 0xc0000080
        probe_step "a step over rdmsr", rdmsr
        probe_step "a step over pushfq", pushfq
        mov     eax, 0x400
        bts     rax, 32
        probe   "DR7 bit 32", mov dr7, rax
        probe   "DR6 bit 32", mov dr6, rax
        mov     rax, cr4
        or      eax, 1 << 3
        mov     cr4, rax
        probe   "DR4 with CR4.DE", mov rbx, dr4
        probe   "DR5 with CR4.DE", mov dr5, rbx
        mov     rax, cr4
        and     eax, ~(1 << 3)
        mov     cr4, rax
        probe   "DR4 without CR4.DE", mov rbx, dr4
        xor     eax, eax
        mov     dr6, rax
        mov     eax, 0x2400
        mov     dr7, rax
        probe   "MOV DR with general detect", mov rbx, dr0
        call    print_status
        mov     rax, dr7
        print   "DR7: "
        print_hex rax
        print   10
        mov     eax, 0xffffffff
        mov     dr6, rax
        mov     rax, dr6
        print   "DR6 of all ones: "
        print_hex rax
        print   10
        ret

print_status:
        mov     rax, dr6
        print   "  DR6: "
        print_hex rax
        print   10
        xor     eax, eax
        mov     dr6, rax
        ret

; ---- Handlers ---------------------------------------------------------------------------------
set_up:
        mov     rax, task_state
        mov     [own_gdt + TASK + 2], ax
        shr     eax, 16
        mov     [own_gdt + TASK + 4], al
        mov     [own_gdt + TASK + 7], ah
        lgdt    [table]
        mov     eax, TASK
        ltr     ax
        mov     qword [task_state + 0x24], fault_stack_top
        xor     ebx, ebx
.next_gate:
        mov     rax, stubs
        mov     edx, ebx
        shl     edx, 4                          ; a stub has 16 bytes, and so has a gate
        add     rax, rdx
        mov     [idt + rdx], ax
        mov     word [idt + rdx + 2], CODE
        mov     word [idt + rdx + 4], 0x8e00
        shr     eax, 16
        mov     [idt + rdx + 6], ax
        inc     ebx
        cmp     ebx, 32
        jb      .next_gate
        mov     eax, [idt + 14 * 16 + 4]
        mov     [gate_high], eax
        mov     byte [idt + 8 * 16 + 4], 1      ; IST 1
        mov     dword [idt + 0x51 * 16], CODE << 16
        mov     dword [idt + 0x51 * 16 + 4], 0x0e00
        mov     dword [idt + 0x52 * 16], DATA << 16
        mov     dword [idt + 0x52 * 16 + 4], 0x8e00
        mov     dword [idt + 0x53 * 16], CODE_ABSENT << 16
        mov     dword [idt + 0x53 * 16 + 4], 0x8e00
        mov     dword [idt + 0x54 * 16 + 4], 0x8e00
        mov     dword [idt + 0x55 * 16], CODE << 16
        mov     dword [idt + 0x55 * 16 + 4], 0x8600
        lidt    [interrupt_table]
        mov     ecx, 0xc0000080                 ; EFER.NXE
        rdmsr
        or      eax, 1 << 11
        wrmsr
        mov     dword [page_directory + (READ_ONLY >> 21) * 8], READ_ONLY + 0x81
        mov     dword [page_directory + (RESERVED >> 21) * 8], RESERVED + 0x2083
        mov     dword [page_directory + (NO_EXECUTE >> 21) * 8 + 4], 0x80000000
        mov     rax, cr3
        mov     cr3, rax
        ret

align 16
stubs:
%assign vector 0
%rep 32
  align 16
  %if (0x00227d00 >> vector) & 1                ; those that have an error code
        push    qword vector
        jmp     handle
  %else
        push    qword NO_ERROR
        push    qword vector
        jmp     handle
  %endif
  %assign vector vector + 1
%endrep

align 16
handle:
        mov     [seen_stack], rsp
        pop     qword [seen_vector]
        pop     qword [seen_error]
        mov     [saved_rax], rax
        mov     rax, [rsp]
        sub     rax, [start]
        mov     [seen_offset], rax
        mov     rax, cr2
        mov     [seen_address], rax
        mov     eax, DATA
        mov     ds, eax
        mov     es, eax
        mov     ss, eax
        mov     rsp, [saved_rsp]
        mov     rax, [saved_rax]
        jmp     [recovery]

print_seen:
        push    rax
        cmp     qword [seen_vector], -1
        je      .nothing
        print   "exception "
        print_decimal [seen_vector]
        cmp     qword [seen_error], NO_ERROR
        je      .no_error
        print   ", error code "
        print_hex [seen_error]
.no_error:
        mov     rax, [seen_offset]
        add     rax, 64
        cmp     rax, 128
        jae     .elsewhere
        print   ", at "
        print_decimal [seen_offset]
.address:
        cmp     qword [seen_vector], 14
        jne     .end
        print   ", address "
        print_hex [seen_address]
        jmp     .end
.elsewhere:
        print   ", elsewhere"
        jmp     .address
.nothing:
        print   "none"
.end:
        print   10
        pop     rax
        ret

section .data
align 8
own_gdt:
        dq      0
        dq      0x00af9a000000ffff              ; CODE, not accessed
        dq      0x00cf93000000ffff              ; DATA
        dq      0x00cf13000000ffff              ; DATA_ABSENT
        dq      0x00af1b000000ffff              ; CODE_ABSENT
        dq      0x00cf91000000ffff              ; DATA_READ_ONLY
        dq      0x00cff3000000ffff              ; DATA_LEVEL_3
        dq      0x0000890000000067, 0           ; TASK
        dq      0x0000090000000067, 0           ; TASK_ABSENT
        dq      0x00ef9b000000ffff              ; CODE_LONG_BIG
        dq      0x000082000000000f, 0           ; LDT
own_gdt_end:
table:
        dw      own_gdt_end - own_gdt - 1
        dq      own_gdt
bad_table:
        dw      own_gdt_end - own_gdt - 1
        dq      NON_CANONICAL
interrupt_table:
        dw      0x56 * 16 - 1
        dq      idt
align 8
to_data:        dd      segments_end
                dw      DATA
to_null:        dd      segments_end
                dw      0
to_absent:      dd      segments_end
                dw      CODE_ABSENT
to_long_big:    dd      segments_end
                dw      CODE_LONG_BIG
to_task:        dd      0
                dw      TASK
to_beyond:      dd      segments_end
                dw      BEYOND
to_code:        dd      segments_end
                dw      CODE

section .bss
alignb 16
idt:            resb    0x58 * 16
task_state:     resb    0x70
fault_stack:    resb    0x1000
fault_stack_top:
scratch:        resb    64
gate_high:      resq    1
frame:          resq    5
saved_rsp:      resq    1
saved_rax:      resq    1
recovery:       resq    1
start:          resq    1
seen_vector:    resq    1
seen_error:     resq    1
seen_offset:    resq    1
seen_address:   resq    1
seen_stack:     resq    1
