; user-mode - a kernel and a program in ring 3: SYSCALL, and what the processor refuses.
;
; The user program has two pages of its own, mapped with the U bit: its code and its stack. It prints
; through a system call, tries a privileged instruction and the kernel's memory, and is stopped each
; time by an exception. No VM exit happens for any of that: rings are the guest's own affair.

%include "boot.inc"
%include "console.inc"
%include "interrupts.inc"

%define USER_CODE       0x400000000000
%define USER_STACK_TOP  (USER_CODE + 2 * PAGE_SIZE)

%define KERNEL_MEMORY   0x100000
%define TSS_SIZE        104

%define PTE_PRESENT     1
%define PTE_WRITABLE    2
%define PTE_USER        4

%define MSR_EFER        0xc0000080
%define MSR_STAR        0xc0000081
%define MSR_LSTAR       0xc0000082
%define MSR_FMASK       0xc0000084
%define RFLAGS_IF       (1 << 9)

; SYSRET takes SS from STAR[63:48] + 8 and CS from STAR[63:48] + 16, so user data comes first.
%define SELECTOR_USER_DATA (0x18 | 3)
%define SELECTOR_USER_CODE (0x20 | 3)
%define SELECTOR_TSS       0x28

%define CALL_WRITE      0                       ; RSI = text, RDX = length
%define CALL_EXIT       1                       ; RDI = status

main:
        mov     [kernel_stack], rsp
        call    load_user_descriptors
        load_idt
        set_gate VECTOR_GP, general_protection
        set_gate VECTOR_PF, page_fault
        call    enable_syscall
        call    map_user_pages

        print   "kernel: to ring 3", 10
        push    SELECTOR_USER_DATA              ; the frame that IRETQ takes: SS,
        mov     rax, USER_STACK_TOP
        push    rax                             ; RSP,
        push    2                               ; RFLAGS,
        push    SELECTOR_USER_CODE              ; CS,
        mov     rax, USER_CODE
        push    rax                             ; RIP
        iretq

; ---- The kernel's preparations -----------------------------------------------------------------
load_user_descriptors:
        mov     eax, tss                        ; The TSS has the stack for exceptions from ring 3.
        mov     [tss_descriptor + 2], ax
        shr     eax, 16
        mov     [tss_descriptor + 4], al
        mov     [tss_descriptor + 7], ah
        mov     rax, [kernel_stack]
        mov     [tss + 4], rax                  ; RSP0
        lgdt    [user_gdt_pointer]
        mov     eax, SELECTOR_TSS
        ltr     ax
        ret

enable_syscall:
        mov     ecx, MSR_EFER                   ; EFER.SCE
        rdmsr
        or      eax, 1
        wrmsr
        mov     ecx, MSR_STAR
        xor     eax, eax
        mov     edx, (SELECTOR_DATA | 3) << 16 | SELECTOR_CODE
        wrmsr
        mov     ecx, MSR_LSTAR                  ; where SYSCALL enters
        mov     eax, system_call
        xor     edx, edx
        wrmsr
        mov     ecx, MSR_FMASK                  ; flags that it clears
        mov     eax, RFLAGS_IF
        xor     edx, edx
        wrmsr
        ret

map_user_pages:                                 ; each level of the walk needs the U bit
        lea     rax, [user_pdpt + (PTE_PRESENT | PTE_WRITABLE | PTE_USER)]
        mov     [page_map_level_4 + 8 * 128], rax
        lea     rax, [user_directory + (PTE_PRESENT | PTE_WRITABLE | PTE_USER)]
        mov     [user_pdpt], rax
        lea     rax, [user_table + (PTE_PRESENT | PTE_WRITABLE | PTE_USER)]
        mov     [user_directory], rax
        lea     rax, [user_program + (PTE_PRESENT | PTE_USER)]
        mov     [user_table], rax
        lea     rax, [user_stack + (PTE_PRESENT | PTE_WRITABLE | PTE_USER)]
        mov     [user_table + 8], rax
        ret

; ---- The kernel's entries ----------------------------------------------------------------------
; system_call: from SYSCALL, with RCX = the user's RIP, R11 = its RFLAGS, and still the user's stack.
system_call:
        mov     [user_rsp], rsp
        mov     rsp, [kernel_stack]
        push    rcx
        push    r11
        cmp     eax, CALL_EXIT
        je      .exit
        print   "user:   "
        mov     ecx, edx
        call    console_append
        pop     r11
        pop     rcx
        mov     rsp, [user_rsp]
        o64 sysret

.exit:
        print   "kernel: user program ended with status "
        print_decimal rdi
        print   10
        jmp     power_off

; general_protection: #GP. The error code is on the stack, above it RIP and CS.
general_protection:
        pop     rbx
        mov     rax, [rsp + 8]
        and     eax, 3                          ; the CPL is in CS, bits 1:0
        print   "kernel: #GP from ring "
        print_decimal rax
        print   ", error code "
        print_decimal rbx
        print   10
        inc     qword [rsp]                     ; go on behind HLT, which is one byte
        iretq

; page_fault: #PF. Error code bit 0: protection; bit 1: a write; bit 2: from ring 3.
page_fault:
        pop     rbx
        mov     rax, cr2
        print   "kernel: #PF at "
        print_hex rax
        print   ", error code "
        print_decimal rbx
        print   10
        mov     rax, USER_CODE + (user_program.after_fault - user_program)
        mov     [rsp], rax
        iretq

; ---- The user program: runs at USER_CODE, in ring 3 -----------------------------------------------
align PAGE_SIZE
user_program:
        mov     eax, CALL_WRITE
        lea     rsi, [.greeting]
        mov     edx, .greeting_length
        syscall

        hlt                                     ; privileged: #GP
        mov     al, [abs KERNEL_MEMORY]         ; not for users: #PF

.after_fault:
        mov     eax, CALL_WRITE
        lea     rsi, [.farewell]
        mov     edx, .farewell_length
        syscall

        mov     eax, CALL_EXIT
        mov     edi, 7
        syscall

.greeting:
        db      "here is ring 3", 10
.greeting_length equ $ - .greeting
.farewell:
        db      "still running", 10
.farewell_length equ $ - .farewell
align PAGE_SIZE

section .data
align 16
user_gdt:
        dq      0
        dq      0x00af9b000000ffff              ; SELECTOR_CODE
        dq      0x00cf93000000ffff              ; SELECTOR_DATA
        dq      0x00cff3000000ffff              ; SELECTOR_USER_DATA: DPL 3
        dq      0x00affb000000ffff              ; SELECTOR_USER_CODE: DPL 3, 64-bit code
tss_descriptor:
        dq      0x0000890000000000 | TSS_SIZE - 1
        dq      0
user_gdt_end:
user_gdt_pointer:
        dw      user_gdt_end - user_gdt - 1
        dq      user_gdt

section .bss
alignb 4096
user_pdpt:              resb PAGE_SIZE
user_directory:         resb PAGE_SIZE
user_table:             resb PAGE_SIZE
user_stack:             resb PAGE_SIZE
tss:                    resb TSS_SIZE
kernel_stack:           resq 1
user_rsp:               resq 1
