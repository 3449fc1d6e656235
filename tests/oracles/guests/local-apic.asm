; local-apic.asm - the local APIC of a PVH vCPU: IA32_APIC_BASE and x2APIC mode, registers and what they
; refuse, priorities, IPIs to itself, the timer, and upcalls by HVMOP_set_evtchn_upcall_vector.
;
; Interrupts are written down by their handlers and printed afterwards; no times are printed.

%include "boot.inc"
%include "console.inc"
%include "interrupts.inc"

%define IA32_APIC_BASE  0x1b
%define X2APIC          0x800
%define APIC_ID         (X2APIC + 0x02)
%define APIC_VERSION    (X2APIC + 0x03)
%define APIC_TPR        (X2APIC + 0x08)
%define APIC_PPR        (X2APIC + 0x0a)
%define APIC_EOI        (X2APIC + 0x0b)
%define APIC_LDR        (X2APIC + 0x0d)
%define APIC_SVR        (X2APIC + 0x0f)
%define APIC_ISR1       (X2APIC + 0x11)
%define APIC_TMR1       (X2APIC + 0x19)
%define APIC_IRR1       (X2APIC + 0x21)
%define APIC_IRR2       (X2APIC + 0x22)
%define APIC_ICR        (X2APIC + 0x30)
%define APIC_LVT_TIMER  (X2APIC + 0x32)
%define APIC_LVT_ERROR  (X2APIC + 0x37)
%define APIC_INITIAL    (X2APIC + 0x38)
%define APIC_CURRENT    (X2APIC + 0x39)
%define APIC_DIVIDE     (X2APIC + 0x3e)
%define APIC_SELF_IPI   (X2APIC + 0x3f)

%define LOW             0x21
%define HIGH            0x31
%define HIGHER          0x45
%define TIMER           0x41
%define UPCALL          0x40
%define PERIODIC        (1 << 17)
%define MASKED          (1 << 16)
%define EVTCHNOP_bind_ipi 7
%define EVTCHNOP_send   4
%define SELF            (1 << 18)
%define VCPU0           (shared_info + SHARED_INFO_vcpu_info)

; read_msr TEXT, MSR: prints what RDMSR gives, or #GP.
%macro read_msr 2
        print   %1, ": "
        mov     ecx, %2
        call    read_and_print
%endmacro

; write_msr TEXT, MSR, EAX[, EDX]: prints what becomes of WRMSR.
%macro write_msr 3-4 0
        print   %1, ": "
        mov     ecx, %2
        mov     eax, %3
        mov     edx, %4
        call    write_and_print
%endmacro

; set MSR, EAX: without a word. Changes RAX, RCX and RDX.
%macro set 2
        mov     ecx, %1
        mov     eax, %2
        xor     edx, edx
        wrmsr
%endmacro

%macro told 1+
        print   %1, ":"
        call    print_seen
%endmacro

; handler NAME, VECTOR: writes its vector down, then ends the interrupt.
%macro handler 2
%1:
        push    rax
        push    rcx
        push    rdx
        mov     eax, %2
        call    note
        set     APIC_EOI, 0
        pop     rdx
        pop     rcx
        pop     rax
        iretq
%endmacro

main:
        load_idt
        set_gate VECTOR_GP, general_protection
        set_gate LOW, on_low
        set_gate HIGH, on_high
        set_gate HIGHER, on_higher
        set_gate TIMER, on_timer
        set_gate UPCALL, on_upcall
        call    identification
        call    modes
        call    registers
        call    refusals
        call    self_ipis
        call    priorities
        call    one_shot
        call    periodic
        call    masked
        call    upcalls
        ret

; ---- CPUID ------------------------------------------------------------------------------------
identification:
        mov     eax, 1
        cpuid
        mov     esi, ecx
        mov     edi, edx
        print   "CPUID tells of the APIC: "
        shr     edi, 9
        and     edi, 1
        print_decimal rdi
        print   10, "and of x2APIC mode: "
        shr     esi, 21
        and     esi, 1
        print_decimal rsi
        print   10, "and of the upcall vector: "
        mov     eax, XEN_CPUID_HYPERCALL_LEAF + 2
        xor     ecx, ecx
        cpuid
        shr     eax, 6
        and     eax, 1
        print_decimal rax
        print   10
        ret

; ---- IA32_APIC_BASE ---------------------------------------------------------------------------
modes:
        read_msr  "IA32_APIC_BASE at the start", IA32_APIC_BASE
        read_msr  "the ID by MSR in xAPIC mode", APIC_ID
        write_msr "the TPR by MSR in xAPIC mode", APIC_TPR, 0
        write_msr "IA32_APIC_BASE, a reserved bit", IA32_APIC_BASE, 0xfee00901
        write_msr "x2APIC mode without enable", IA32_APIC_BASE, 0xfee00500
        write_msr "disable", IA32_APIC_BASE, 0xfee00100
        mov     eax, 1
        cpuid
        mov     edi, edx
        print   "CPUID tells of the APIC: "
        shr     edi, 9
        and     edi, 1
        print_decimal rdi
        print   10
        write_msr "x2APIC mode from there", IA32_APIC_BASE, 0xfee00d00
        write_msr "enable", IA32_APIC_BASE, 0xfee00900
        write_msr "x2APIC mode", IA32_APIC_BASE, 0xfee00d00
        write_msr "back to xAPIC mode", IA32_APIC_BASE, 0xfee00900
        read_msr  "IA32_APIC_BASE", IA32_APIC_BASE
        ret

; ---- Registers --------------------------------------------------------------------------------
registers:
        read_msr  "ID", APIC_ID
        read_msr  "version", APIC_VERSION
        read_msr  "LDR", APIC_LDR
        read_msr  "SVR", APIC_SVR
        read_msr  "TPR", APIC_TPR
        read_msr  "PPR", APIC_PPR
        read_msr  "LVT timer", APIC_LVT_TIMER
        read_msr  "LVT error", APIC_LVT_ERROR
        read_msr  "initial count", APIC_INITIAL
        read_msr  "current count", APIC_CURRENT
        read_msr  "divide configuration", APIC_DIVIDE
        write_msr "LVT timer while disabled", APIC_LVT_TIMER, TIMER
        read_msr  "it is masked", APIC_LVT_TIMER
        write_msr "SVR", APIC_SVR, 0x1ff
        read_msr  "SVR now", APIC_SVR
        write_msr "TPR", APIC_TPR, 0x37
        mov     rax, cr8
        print   "CR8: "
        print_decimal rax
        print   10
        read_msr  "PPR with TPR 0x37", APIC_PPR
        set     APIC_TPR, 0x30                  ; on AMD-V Xen keeps TPR 3:0 over MOV to CR8
        mov     eax, 5
        mov     cr8, rax
        read_msr  "TPR by CR8", APIC_TPR
        write_msr "TPR 0", APIC_TPR, 0
        ret

refusals:
        read_msr  "EOI, read", APIC_EOI
        read_msr  "DFR, read", X2APIC + 0x0e
        read_msr  "ICR high, read", X2APIC + 0x31
        read_msr  "self IPI, read", APIC_SELF_IPI
        read_msr  "register 0, read", X2APIC
        read_msr  "register 0x40, read", X2APIC + 0x40
        write_msr "ID", APIC_ID, 0
        write_msr "version", APIC_VERSION, 0
        write_msr "PPR", APIC_PPR, 0
        write_msr "LDR", APIC_LDR, 1
        write_msr "ISR", APIC_ISR1, 0
        write_msr "current count", APIC_CURRENT, 0
        write_msr "TPR of 9 bits", APIC_TPR, 0x100
        write_msr "TPR of 33 bits", APIC_TPR, 0, 1
        write_msr "EOI of 1", APIC_EOI, 1
        write_msr "ESR of 1", X2APIC + 0x28, 1
        write_msr "SVR bit 10", APIC_SVR, 0x5ff
        write_msr "LVT timer bit 19", APIC_LVT_TIMER, 1 << 19
        write_msr "LVT error bit 8", APIC_LVT_ERROR, 1 << 8
        write_msr "divide configuration bit 2", APIC_DIVIDE, 4
        write_msr "self IPI bit 8", APIC_SELF_IPI, 0x100
        write_msr "ICR bit 20", APIC_ICR, 1 << 20
        write_msr "EOI without an interrupt", APIC_EOI, 0
        ret

; ---- Interrupts -------------------------------------------------------------------------------
self_ipis:
        cli
        set     APIC_SELF_IPI, LOW
        set     APIC_SELF_IPI, LOW
        read_msr  "IRR with one that waits", APIC_IRR1
        read_msr  "TMR", APIC_TMR1
        read_msr  "ISR", APIC_ISR1
        call    let_in
        told    "IPIs to oneself, two of one vector"
        set     APIC_ICR, SELF | HIGH
        set     APIC_SELF_IPI, LOW
        set     APIC_SELF_IPI, HIGHER
        call    let_in
        told    "three vectors at once"
        read_msr  "IRR afterwards", APIC_IRR1
        read_msr  "ISR afterwards", APIC_ISR1
        set     APIC_ICR, HIGH                  ; destination 0: our ID
        call    let_in
        told    "an IPI to ID 0"
        set     APIC_ICR, 1 << 19 | HIGH        ; all including self
        call    let_in
        told    "an IPI to all"
        set     APIC_ICR, 3 << 18 | HIGH        ; all others: there is none
        call    let_in
        told    "an IPI to all others"
        mov     ecx, APIC_ICR                   ; logical destination: cluster 0, bit 0
        mov     eax, 1 << 11 | HIGH
        mov     edx, 1
        wrmsr
        call    let_in
        told    "an IPI to a logical ID"
        read_msr  "ICR", APIC_ICR
        ret

priorities:
        ; No vector of class 3: QEMU's AMD-V takes one of the very class of the TPR for one above it.
        set     APIC_TPR, 0x30
        set     APIC_SELF_IPI, LOW
        set     APIC_SELF_IPI, HIGHER
        call    let_in
        told    "with TPR 0x30"
        ; Not by CR8: QEMU ends on an assertion if that lets an interrupt in.
        set     APIC_TPR, 0
        call    let_in
        told    "with TPR 0"
        ; A handler that lets others in: only those of a higher class come.
        mov     byte [is_nested], 1
        set     APIC_SELF_IPI, HIGH
        call    let_in
        mov     byte [is_nested], 0
        told    "within a handler of 0x31"
        set     APIC_SVR, 0xff
        set     APIC_SELF_IPI, LOW
        call    let_in
        told    "with the APIC disabled by software"
        set     APIC_SVR, 0x1ff
        call    let_in
        told    "and enabled"
        ret

; ---- The timer --------------------------------------------------------------------------------
one_shot:
        set     APIC_DIVIDE, 0xb                ; by 1
        set     APIC_LVT_TIMER, TIMER
        read_msr  "LVT timer", APIC_LVT_TIMER
        set     APIC_INITIAL, 20000
        mov     ebx, 1
        call    wait_for_ticks
        told    "one shot"
        read_msr  "current count afterwards", APIC_CURRENT
        read_msr  "initial count afterwards", APIC_INITIAL
        set     APIC_INITIAL, 20000000
        mov     ecx, APIC_CURRENT
        rdmsr
        mov     edi, eax
        rdmsr
        cmp     eax, edi
        jbe     .down
        print   "the count goes up", 10
.down:
        test    eax, eax
        jnz     .runs
        print   "the count is 0", 10
.runs:
        set     APIC_INITIAL, 0
        read_msr  "current count, stopped", APIC_CURRENT
        ret

periodic:
        mov     dword [ticks], 0
        set     APIC_DIVIDE, 1                  ; by 4
        set     APIC_LVT_TIMER, PERIODIC | TIMER
        set     APIC_INITIAL, 50000
        mov     ebx, 5
        call    wait_for_ticks
        set     APIC_INITIAL, 0
        call    let_in
        mov     dword [seen_count], 5           ; real Xen may have had time for more
        told    "periodic"
        ret

masked:
        set     APIC_DIVIDE, 0xb
        set     APIC_LVT_TIMER, MASKED | TIMER
        set     APIC_INITIAL, 1000
.count:
        mov     ecx, APIC_CURRENT
        rdmsr
        test    eax, eax
        jnz     .count
        read_msr  "IRR after a masked timer", APIC_IRR2
        set     APIC_LVT_TIMER, TIMER
        call    let_in
        told    "and unmasked"
        ret

; ---- Upcalls ----------------------------------------------------------------------------------
upcalls:
        mov     eax, shared_info
        shr     eax, 12
        mov     [mapping + xen_add_to_physmap.gpfn], rax
        hypercall __HYPERVISOR_memory_op, XENMEM_add_to_physmap, mapping
        hypercall __HYPERVISOR_event_channel_op, EVTCHNOP_bind_ipi, ipi
        print   "IPI channel bound: "
        print_decimal rax
        print   10
        mov     eax, [ipi + 4]
        lock btr [shared_info + SHARED_INFO_evtchn_mask], rax
        hypercall __HYPERVISOR_hvm_op, 23, upcall_vector
        print   "upcall vector set: "
        print_decimal rax
        print   10
        call    let_in
        told    "without an event"
        call    send_event
        call    let_in
        told    "an event"
        ; The next handler leaves its interrupt in service: no other upcall comes before EOI.
        mov     byte [has_no_eoi], 1
        call    send_event
        call    let_in
        mov     byte [has_no_eoi], 0
        told    "an event whose interrupt is not ended"
        call    send_event
        call    let_in
        told    "one more"
        set     APIC_EOI, 0
        call    let_in
        told    "after EOI"
        ret

send_event:
        mov     eax, [ipi + 4]
        mov     [event], eax
        hypercall __HYPERVISOR_event_channel_op, EVTCHNOP_send, event
        ret

; ---- Handlers ---------------------------------------------------------------------------------
        handler on_low, LOW
        handler on_higher, HIGHER

on_high:
        push    rax
        push    rcx
        push    rdx
        mov     eax, HIGH
        call    note
        cmp     byte [is_nested], 0
        je      .end
        set     APIC_SELF_IPI, LOW
        set     APIC_SELF_IPI, HIGHER
        sti
        nop
        nop
        cli
        mov     eax, 0xee                       ; the end of the nested part
        call    note
.end:
        set     APIC_EOI, 0
        pop     rdx
        pop     rcx
        pop     rax
        iretq

on_timer:
        inc     dword [ticks]
        push    rax
        push    rcx
        push    rdx
        mov     eax, TIMER
        call    note
        set     APIC_EOI, 0
        pop     rdx
        pop     rcx
        pop     rax
        iretq

on_upcall:
        push    rax
        push    rcx
        push    rdx
        mov     eax, UPCALL
        call    note
        mov     byte [VCPU0 + vcpu_info.evtchn_upcall_pending], 0
        mov     qword [VCPU0 + vcpu_info.evtchn_pending_sel], 0
        mov     eax, [ipi + 4]
        lock btr [shared_info + SHARED_INFO_evtchn_pending], rax
        cmp     byte [has_no_eoi], 0
        jne     .end
        set     APIC_EOI, 0
.end:
        pop     rdx
        pop     rcx
        pop     rax
        iretq

general_protection:
        add     rsp, 8                          ; the error code
        mov     byte [has_faulted], 1
        add     qword [rsp], 2                  ; RDMSR and WRMSR have two bytes
        iretq

; note: writes AL down. Changes RCX.
note:
        mov     ecx, [seen_count]
        and     ecx, 31
        mov     [seen + rcx], al
        inc     ecx
        mov     [seen_count], ecx
        ret

; let_in: a moment with interrupts.
let_in:
        sti
        nop
        nop
        cli
        ret

; wait_for_ticks: sleeps until the timer has ticked EBX times.
wait_for_ticks:
        cli
        cmp     [ticks], ebx
        jae     .came
        sti
        hlt
        jmp     wait_for_ticks
.came:
        ret

; ---- Printing ---------------------------------------------------------------------------------
read_and_print:
        mov     byte [has_faulted], 0
        xor     eax, eax
        xor     edx, edx
        rdmsr
        cmp     byte [has_faulted], 0
        jne     write_and_print.fault
        shl     rdx, 32
        or      rax, rdx
        print_hex rax
        print   10
        ret

write_and_print:
        mov     byte [has_faulted], 0
        wrmsr
        cmp     byte [has_faulted], 0
        jne     .fault
        print   "taken", 10
        ret
.fault:
        print   "#GP", 10
        ret

; print_seen: the vectors that were written down, and forgets them.
print_seen:
        xor     ebx, ebx
.next:
        cmp     ebx, [seen_count]
        jae     .end
        print   " "
        movzx   eax, byte [seen + rbx]
        print_hex rax
        inc     ebx
        jmp     .next
.end:
        cmp     ebx, 0
        jne     .told
        print   " none"
.told:
        print   10
        mov     dword [seen_count], 0
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
align 8
ipi:                                            ; struct evtchn_bind_ipi: vcpu, port
        dd      0, 0
upcall_vector:                                  ; struct xen_hvm_evtchn_upcall_vector: vcpu, vector
        dd      0
        db      UPCALL, 0, 0, 0
event:                                          ; struct evtchn_send: port
        dd      0
ticks:
        dd      0
seen_count:
        dd      0
has_faulted:
        db      0
is_nested:
        db      0
has_no_eoi:
        db      0

section .bss
seen:
        resb    32
alignb 4096
shared_info:
        resb    PAGE_SIZE
