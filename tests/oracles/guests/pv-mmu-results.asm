; pv-mmu-results.asm - a PV guest that changes its page tables in every way there is, with entries
; that it may have and with those that it may not, and prints what it gets. The real Xen is the judge.
;
; No frame number is printed: they are Xen's to choose. Of entries, the bits beside are.

%include "pv-boot.inc"
%include "console.inc"

%define M2P             0xffff800000000000
%define BAD             0x500000000000          ; not mapped, and no table for it
%define KERNEL_CS       0xe033
%define FRAME           0x000ffffffffff000

%define P               1
%define RW              2
%define US              4
%define PSE             0x80
%define G               0x100

%define UVMF_TLB_FLUSH  1
%define UVMF_INVLPG     2
%define UVMF_ALL        4

%define MMU_NORMAL      0
%define MMU_MACHPHYS    1
%define MMU_PRESERVE_AD 2
%define MMU_NO_TRANSLATE 3

%define PIN_L1          0
%define PIN_L2          1
%define PIN_L3          2
%define PIN_L4          3
%define UNPIN           4
%define NEW_BASEPTR     5
%define NEW_USER_BASEPTR 15

%define START_INFO_pt_base  0x58
%define START_INFO_mfn_list 0x68

; report TEXT: prints RAX behind it.
%macro report 1
        print   %1, ": "
        print_decimal rax
        print   10
%endmacro

; bits TEXT: the bits of the entry in RAX, without its frame.
%macro bits_of 1
        push    rbx
        mov     rbx, ~FRAME
        and     rax, rbx
        pop     rbx
        print   %1, ": "
        print_hex rax
        print   10
%endmacro

; frame LINEAR: RAX = the machine frame there, as an entry without bits.
%macro frame 1
        mov     rdi, %1
        call    frame_of
%endmacro

; va TEXT, LINEAR, ENTRY IN RAX, FLAGS
%macro va 3
        mov     rsi, rax
        hypercall __HYPERVISOR_update_va_mapping, %2, rsi, %3
        report  %1
%endmacro

; update TEXT, KIND: mmu_update of the machine address in RBX to the value in RAX.
%macro update 2
        mov     [request + 8], rax
        lea     rax, [rbx + %2]
        mov     [request], rax
        mov     dword [done], 77
        hypercall __HYPERVISOR_mmu_update, request, 1, done, DOMID_SELF
        report  %1
%endmacro

; extended TEXT, COMMAND, ARGUMENT IN RAX: mmuext_op
%macro extended 2
        mov     [operation + 8], rax
        mov     dword [operation], %2
        hypercall __HYPERVISOR_mmuext_op, operation, 1, done, DOMID_SELF
        report  %1
%endmacro

; pin TEXT, COMMAND, LINEAR: of the frame there
%macro pin 3
        frame   %3
        shr     rax, 12
        extended %1, %2
%endmacro

; attempt TEXT, INSTRUCTION: prints whether it is a page fault.
%macro attempt 2+
        mov     qword [resume], %%next
        mov     qword [fault], -1
        %2
  %%next:
        mov     rax, [fault]
        report  %1
%endmacro

main:
        hypercall __HYPERVISOR_set_trap_table, traps
        call    entries
        call    va_mappings
        call    updates
        call    lists
        call    pins
        call    linear_tables
        call    descriptors
        call    other_operations
        call    written_tables
        call    reservations
        call    exchanges
        call    queries
        ret

; ---- What Xen has made of the builder's entries -------------------------------------------------
entries:
        mov     byte [page_a], 1
        mov     rdi, page_a
        call    entry_at
        mov     rax, [rsi]
        bits_of "L1 entry of data"
        mov     rax, [start_info]
        mov     rdi, [rax + START_INFO_pt_base]
        call    entry_at
        mov     rax, [rsi]
        and     rax, ~0x60
        bits_of "L1 entry of a table"
        mov     rdi, page_a
        call    tables_of
        mov     rax, [r8]
        bits_of "L4 entry"
        mov     rax, [r9]
        and     rax, ~0x60
        bits_of "L3 entry"
        mov     rax, [r10]
        and     rax, ~0x60
        bits_of "L2 entry"
        mov     rbx, [start_info]
        mov     rbx, [rbx + START_INFO_pt_base]
        mov     rax, [rbx + 256 * 8]
        and     rax, ~0x60
        bits_of "L4 slot 256"
        mov     rax, [rbx + 258 * 8]
        bits_of "L4 slot 258"
        mov     rax, [rbx + 260 * 8]
        bits_of "L4 slot 260"
        frame   page_a
        shr     rax, 12
        mov     rbx, M2P
        mov     rax, [rbx + rax * 8]
        shl     rax, 12
        sub     rax, page_a
        report  "M2P of a page"
        attempt "write to the M2P", mov [rbx], rax
        attempt "write to a table", mov [r10], rax
        ret

; ---- update_va_mapping ---------------------------------------------------------------------------
va_mappings:
        frame   page_b
        or      rax, P | RW
        va      "va: data elsewhere", page_a, UVMF_INVLPG
        mov     qword [page_b], 0x1234
        mov     rax, [page_a]
        report  "it is read there"
        frame   page_a
        or      rax, P | RW
        va      "va: back", page_a, UVMF_INVLPG | UVMF_ALL
        frame   page_a
        or      rax, P
        va      "va: read-only", page_a, UVMF_TLB_FLUSH
        attempt "write to it", mov byte [page_a], 1
        frame   page_a
        or      rax, P | US
        va      "va: for users", page_a, 0
        mov     rdi, page_a
        call    entry_at
        mov     rax, [rsi]
        and     rax, ~0x60
        bits_of "its entry"
        xor     eax, eax
        va      "va: nothing", page_a, UVMF_INVLPG
        attempt "read of it", mov al, [page_a]
        frame   page_a
        or      rax, P | RW
        va      "va: writable again", page_a, 0
        mov     rax, [start_info]
        mov     rdi, [rax + START_INFO_pt_base]
        call    frame_of
        or      rax, P | RW
        va      "va: the L4 writable", page_a, 0
        mov     rbx, [start_info]
        mov     rbx, [rbx + START_INFO_pt_base]
        mov     rax, [rbx + 256 * 8]
        mov     rsi, FRAME
        and     rax, rsi
        or      rax, P
        va      "va: a frame of Xen's", page_a, 0
        mov     rax, FRAME | P
        va      "va: the last frame there could be", page_a, 0
        mov     rax, 0x7fffff000 | P
        va      "va: a frame that is no memory", page_a, 0
        frame   page_a
        or      rax, P | RW
        mov     [page_b], rax
        va      "va: back again", page_a, 0
        xor     eax, eax
        va      "va: no table", BAD, 0
        xor     eax, eax
        mov     rbx, M2P
        va      "va: in Xen", rbx, 0
        xor     eax, eax
        mov     rbx, 1 << 47
        va      "va: not canonical", rbx, 0
        mov     rax, [page_b]
        mov     rbx, BAD | UVMF_TLB_FLUSH
        va      "va: bad set of vCPUs", page_a, rbx
        mov     rax, [page_b]
        mov     rbx, vcpus
        or      rbx, UVMF_INVLPG
        va      "va: a set of vCPUs", page_a, rbx
        mov     rax, [page_b]
        hypercall __HYPERVISOR_update_va_mapping_otherdomain, page_a, rax, 0, DOMID_SELF
        report  "va of other: self"
        mov     rax, [page_b]
        hypercall __HYPERVISOR_update_va_mapping_otherdomain, page_a, rax, 0, 999
        report  "va of other: none"
        ret

; ---- mmu_update, one entry -----------------------------------------------------------------------
updates:
        mov     byte [page_a], 1
        mov     rdi, page_a
        call    entry_at
        mov     rbx, rax
        frame   page_a
        or      rax, P | RW
        update  "update: preserving use", MMU_PRESERVE_AD
        mov     rdi, page_a
        call    entry_at
        mov     rax, [rsi]
        bits_of "its entry"
        frame   page_a
        or      rax, P | RW
        update  "update: not preserving", MMU_NORMAL
        mov     rdi, page_a
        call    entry_at
        mov     rax, [rsi]
        bits_of "its entry"
        frame   page_a
        or      rax, P | RW
        update  "update: not translated", MMU_NO_TRANSLATE
        frame   page_a
        or      rax, P | RW
        update  "update: kind 4", 4
        frame   page_a
        or      rax, P | RW
        update  "update: kind 7", 7
        mov     rdi, page_a
        call    tables_of
        frame   r11                             ; the L1 table
        or      rax, P | RW
        update  "update: writable mapping of its own table", MMU_NORMAL

        frame   page_b
        mov     rbx, rax
        mov     eax, 0x5678
        update  "update: of a plain page", MMU_NORMAL
        mov     rax, [page_b]
        report  "it is there"
        mov     rbx, 0x7fffff000
        update  "update: of no memory", MMU_NORMAL
        mov     rbx, [start_info]
        mov     rbx, [rbx + START_INFO_pt_base]
        mov     rbx, [rbx + 256 * 8]
        mov     rax, FRAME
        and     rbx, rax
        xor     eax, eax
        update  "update: of a frame of Xen's", MMU_NORMAL

        frame   page_b
        mov     rbx, rax
        mov     eax, 0x9999
        update  "M2P: another number", MMU_MACHPHYS
        mov     rax, rbx
        shr     rax, 12
        mov     rsi, M2P
        mov     rax, [rsi + rax * 8]
        report  "it says"
        mov     rax, page_b
        shr     rax, 12
        update  "M2P: the old number", MMU_MACHPHYS
        mov     rbx, [start_info]
        mov     rbx, [rbx + START_INFO_pt_base]
        mov     rbx, [rbx + 256 * 8]
        mov     rax, FRAME
        and     rbx, rax
        xor     eax, eax
        update  "M2P: of a frame of Xen's", MMU_MACHPHYS

        mov     rdi, BAD
        call    tables_of                       ; R8: its slot of the L4, which is empty
        mov     rbx, [start_info]
        frame   [rbx + START_INFO_pt_base]
        mov     r12, rax
        lea     rbx, [r12 + 300 * 8]
        frame   page_b
        or      rax, P | RW | US
        update  "L4: data as an L3", MMU_NORMAL
        mov     rax, 0x7fffff000 | P | US
        update  "L4: no memory", MMU_NORMAL
        frame   page_b
        or      rax, P | PSE
        update  "L4: large", MMU_NORMAL
        xor     eax, eax
        update  "L4: nothing", MMU_NORMAL
        lea     rbx, [r12 + 256 * 8]
        xor     eax, eax
        update  "L4: slot 256", MMU_NORMAL
        lea     rbx, [r12 + 271 * 8]
        update  "L4: slot 271", MMU_NORMAL
        lea     rbx, [r12 + 272 * 8]
        update  "L4: slot 272", MMU_NORMAL
        mov     rdi, page_a
        call    tables_of
        and     r9, ~0xfff
        frame   r9
        lea     rbx, [rax + 100 * 8]
        frame   page_b
        or      rax, P | RW | G
        update  "L3: global", MMU_NORMAL
        mov     rdi, page_a
        call    tables_of
        and     r10, ~0xfff
        mov     r13, r10                        ; hypercalls change R10
        frame   r13
        lea     rbx, [rax + 100 * 8]
        mov     rax, P | RW | US | PSE
        update  "L2: large", MMU_NORMAL
        frame   page_b
        or      rax, P | RW | US
        update  "L2: a writable page as an L1", MMU_NORMAL
        frame   r13
        or      rax, P | RW | US
        update  "L2: itself as an L1", MMU_NORMAL
        frame   r13
        or      rax, P | US
        update  "L2: itself as an L1, read-only", MMU_NORMAL

        frame   page_b
        or      rax, P
        va      "va: a page read-only", page_b, UVMF_INVLPG
        frame   page_b
        or      rax, P | RW | US
        update  "L2: it as an L1", MMU_NORMAL
        mov     r12, rbx
        frame   page_b
        or      rax, P | RW
        va      "va: that writable", page_b, UVMF_INVLPG
        mov     rbx, r12
        xor     eax, eax
        update  "L2: nothing", MMU_NORMAL
        frame   page_b
        or      rax, P | RW
        va      "va: and now", page_b, UVMF_INVLPG
        ret

; ---- mmu_update, lists ---------------------------------------------------------------------------
lists:
        frame   page_b
        mov     [list], rax
        mov     qword [list + 8], 1
        mov     [list + 16], rax
        mov     qword [list + 24], 2
        add     qword [list + 16], 8
        mov     rax, 0x7fffff000
        mov     [list + 32], rax
        hypercall __HYPERVISOR_mmu_update, list, 3, done, DOMID_SELF
        report  "list: the third is bad"
        mov     eax, [done]
        report  "done"
        hypercall __HYPERVISOR_mmu_update, list, 2, 0, DOMID_SELF
        report  "list: nowhere to tell"
        mov     rbx, BAD
        hypercall __HYPERVISOR_mmu_update, list, 2, rbx, DOMID_SELF
        report  "list: bad place to tell"
        mov     rbx, BAD
        hypercall __HYPERVISOR_mmu_update, rbx, 1, done, DOMID_SELF
        report  "list: not mapped"
        mov     eax, [done]
        report  "done"
        mov     rbx, M2P
        hypercall __HYPERVISOR_mmu_update, rbx, 1, done, DOMID_SELF
        report  "list: in Xen"
        hypercall __HYPERVISOR_mmu_update, rbx, 0, done, DOMID_SELF
        report  "list: in Xen, empty"
        hypercall __HYPERVISOR_mmu_update, 0, 0, done, DOMID_SELF
        report  "list: empty"
        hypercall __HYPERVISOR_mmu_update, list, 2, done, 999
        report  "list: no such domain"
        hypercall __HYPERVISOR_mmu_update, list, 2, done, (1000 << 16) | DOMID_SELF
        report  "list: no such domain's tables"
        hypercall __HYPERVISOR_mmu_update, 0, 0x80000000, 0, 77
        report  "list: the end of a continuation"
        hypercall __HYPERVISOR_mmuext_op, 0, 0x80000000, 0, -5
        report  "operations: the end of a continuation"
        ret

; ---- Pins ----------------------------------------------------------------------------------------
pins:
        mov     rdi, page_b
        xor     eax, eax
        mov     ecx, 512
        rep stosq
        frame   page_a
        or      rax, P | RW
        mov     [page_b], rax
        frame   page_b
        or      rax, P | RW
        mov     [page_b + 511 * 8], rax
        pin     "pin L1 of a writable page", PIN_L1, page_b
        frame   page_b
        or      rax, P
        va      "va: read-only", page_b, UVMF_INVLPG
        pin     "pin L1 with bad contents", PIN_L1, page_b
        pin     "unpin what is not pinned", UNPIN, page_b
        frame   page_b
        or      rax, P | RW
        va      "va: writable", page_b, UVMF_INVLPG
        mov     rdi, page_b
        xor     eax, eax
        mov     ecx, 512
        rep stosq
        frame   page_b
        or      rax, P
        va      "va: read-only", page_b, UVMF_INVLPG
        pin     "pin L1", PIN_L1, page_b
        pin     "pin L1 again", PIN_L1, page_b
        pin     "pin L2, which is an L1", PIN_L2, page_b
        frame   page_b
        or      rax, P | RW
        va      "va: writable", page_b, UVMF_INVLPG
        frame   page_b
        mov     rbx, rax
        frame   page_a
        or      rax, P | RW
        update  "an entry of it", MMU_NORMAL
        mov     rax, [page_b]
        bits_of "it is"
        frame   page_a
        or      rax, P | RW
        or      rax, G
        update  "the same, global", MMU_NORMAL
        mov     rax, [page_b]
        bits_of "it is"
        pin     "unpin", UNPIN, page_b
        pin     "unpin again", UNPIN, page_b
        frame   page_b
        or      rax, P | RW
        va      "va: writable", page_b, UVMF_INVLPG
        mov     rax, [page_b]
        bits_of "what is left"
        mov     qword [page_b], 0
        frame   page_b
        or      rax, P
        va      "va: read-only", page_b, UVMF_INVLPG
        pin     "pin L4", PIN_L4, page_b
        mov     rax, [page_b + 256 * 8]
        bits_of "slot 256 of it"
        mov     rax, [page_b + 258 * 8]
        bits_of "slot 258 of it"
        frame   page_b
        shr     rax, 12
        extended "run user mode on it", NEW_USER_BASEPTR
        mov     rax, [page_b + 256 * 8]
        bits_of "slot 256 of it"
        xor     eax, eax
        extended "run user mode on nothing", NEW_USER_BASEPTR
        frame   page_a
        shr     rax, 12
        extended "run on data", NEW_BASEPTR
        mov     rax, 0x7fffff
        extended "run on no memory", NEW_BASEPTR
        mov     rax, -1
        extended "run on frame -1", NEW_USER_BASEPTR
        mov     rbx, [start_info]
        frame   [rbx + START_INFO_pt_base]
        shr     rax, 12
        extended "run on what it runs on", NEW_BASEPTR
        pin     "unpin L4", UNPIN, page_b
        frame   page_b
        or      rax, P | RW
        va      "va: writable", page_b, UVMF_INVLPG
        mov     rdi, page_b
        xor     eax, eax
        mov     ecx, 512
        rep stosq
        ret

; ---- Tables that lead to tables of their level ---------------------------------------------------
linear_tables:
        mov     rbx, [start_info]
        frame   [rbx + START_INFO_pt_base]
        mov     r12, rax
        lea     rbx, [r12 + 300 * 8]
        lea     rax, [r12 + (P | RW | US)]
        update  "linear: the L4 to itself, writable", MMU_NORMAL
        lea     rax, [r12 + (P | US)]
        update  "linear: the L4 to itself", MMU_NORMAL
        xor     eax, eax
        update  "linear: nothing", MMU_NORMAL
        frame   page_b
        or      rax, P
        va      "va: read-only", page_b, UVMF_INVLPG
        frame   page_b
        or      rax, P | US
        update  "linear: the L4 to another page", MMU_NORMAL
        mov     rsi, [start_info]
        xor     eax, eax
        update  "linear: nothing", MMU_NORMAL
        pin     "pin another L4", PIN_L4, page_b
        frame   page_b
        or      rax, P | US
        update  "linear: the L4 to another L4", MMU_NORMAL
        frame   page_b
        lea     rbx, [rax + 300 * 8]
        lea     rax, [r12 + (P | US)]
        update  "linear: and that one back", MMU_NORMAL
        frame   page_b
        lea     rbx, [rax + 300 * 8]
        frame   page_b
        or      rax, P | US
        update  "linear: and that one to itself", MMU_NORMAL
        frame   page_b
        lea     rbx, [rax + 300 * 8]
        xor     eax, eax
        update  "linear: nothing", MMU_NORMAL
        lea     rbx, [r12 + 300 * 8]
        xor     eax, eax
        update  "linear: nothing", MMU_NORMAL
        pin     "unpin the other L4", UNPIN, page_b
        frame   page_b
        or      rax, P | RW
        va      "va: writable", page_b, UVMF_INVLPG
        ret

; ---- Pages of descriptors ------------------------------------------------------------------------
descriptors:
        mov     rdi, page_b
        xor     eax, eax
        mov     ecx, 512
        rep stosq
        mov     rax, 0x00cff3000000ffff
        mov     [page_b + 8], rax
        frame   page_b
        shr     rax, 12
        mov     [frames], rax
        hypercall __HYPERVISOR_set_gdt, frames, 8
        report  "set_gdt of a writable page"
        frame   page_b
        or      rax, P
        va      "va: read-only", page_b, UVMF_INVLPG
        hypercall __HYPERVISOR_set_gdt, frames, 8
        report  "set_gdt"
        frame   page_b
        or      rax, P | RW
        va      "va: writable", page_b, UVMF_INVLPG
        frame   page_b
        mov     rbx, rax
        xor     eax, eax
        update  "update of it", MMU_NORMAL
        frame   page_b
        add     rax, 8
        mov     rbx, 0x00cf93000000ffff
        hypercall __HYPERVISOR_update_descriptor, rax, rbx
        report  "update_descriptor"
        mov     rax, [page_b + 8]
        print   "it is: "
        print_hex rax
        print   10
        frame   page_b
        add     rax, 16
        mov     rbx, 0x0000890000000067
        hypercall __HYPERVISOR_update_descriptor, rax, rbx
        report  "update_descriptor to a TSS"
        pin     "pin L1", PIN_L1, page_b
        hypercall __HYPERVISOR_set_gdt, frames, 0
        report  "set_gdt of nothing"
        frame   page_b
        or      rax, P | RW
        va      "va: writable", page_b, UVMF_INVLPG
        ret

; ---- The other operations of mmuext_op -----------------------------------------------------------
other_operations:
        xor     eax, eax
        extended "TLB_FLUSH_LOCAL", 6
        xor     eax, eax
        extended "INVLPG_LOCAL", 7
        mov     qword [operation + 16], vcpus
        extended "TLB_FLUSH_MULTI", 8
        extended "INVLPG_MULTI", 9
        mov     rax, BAD
        mov     [operation + 16], rax
        extended "TLB_FLUSH_MULTI, bad set", 8
        extended "INVLPG_MULTI, bad set", 9
        extended "TLB_FLUSH_ALL", 10
        extended "INVLPG_ALL", 11
        mov     qword [operation + 16], 16
        mov     rax, page_b
        extended "SET_LDT", 13
        mov     rax, page_b + 8
        extended "SET_LDT within a page", 13
        mov     rax, M2P
        extended "SET_LDT in Xen", 13
        mov     qword [operation + 16], 8193
        mov     rax, page_b
        extended "SET_LDT, too long", 13
        mov     qword [operation + 16], 0
        extended "SET_LDT, none", 13
        xor     eax, eax
        extended "command 14", 14
        extended "MARK_SUPER", 19
        extended "UNMARK_SUPER", 20
        extended "command 99", 99
        mov     qword [page_b], 7
        mov     qword [page_a], 8
        frame   page_a
        shr     rax, 12
        mov     [operation + 16], rax
        frame   page_b
        shr     rax, 12
        extended "COPY_PAGE", 17
        mov     rax, [page_b]
        report  "it is"
        frame   page_b
        shr     rax, 12
        extended "CLEAR_PAGE", 16
        mov     rax, [page_b]
        report  "it is"
        mov     rbx, [start_info]
        frame   [rbx + START_INFO_pt_base]
        shr     rax, 12
        extended "CLEAR_PAGE of a table", 16
        mov     rbx, [start_info]
        frame   [rbx + START_INFO_pt_base]
        shr     rax, 12
        extended "COPY_PAGE to a table", 17
        mov     eax, 0x7fffff
        extended "CLEAR_PAGE of no memory", 16
        mov     rbx, BAD
        hypercall __HYPERVISOR_mmuext_op, rbx, 1, done, DOMID_SELF
        report  "operations: not mapped"
        mov     rbx, M2P
        hypercall __HYPERVISOR_mmuext_op, rbx, 1, done, DOMID_SELF
        report  "operations: in Xen"
        hypercall __HYPERVISOR_mmuext_op, operation, 1, done, 999
        report  "operations: no such domain"
        ret

; ---- Tables that are written to (VMASST_TYPE_writable_pagetables) --------------------------------
written_tables:
        mov     qword [page_a], 0
        mov     rdi, page_c
        call    entry_at
        mov     r12, rsi                        ; the entry of page_c, where it is read
        mov     r13, [r12]
        attempt "write to an entry, not assisted", mov [r12], r13
        hypercall __HYPERVISOR_vm_assist, 0, 2
        report  "vm_assist"
        frame   page_b
        or      rax, P | RW
        mov     r14, rax
        attempt "write to an entry", mov [r12], r14
        mov     rax, [r12]
        bits_of "it is"
        mov     qword [page_b], 0x77
        mov     rax, [page_c]
        report  "what it maps"
        attempt "xchg", xchg [r12], r13
        mov     rax, r13
        and     rax, ~0x60
        bits_of "it was"
        attempt "and", and qword [r12], ~RW
        attempt "write to what it maps", mov byte [page_c], 1
        attempt "bts", bts qword [r12], 1
        attempt "write to what it maps", mov byte [page_c], 1
        attempt "write of a half", mov dword [r12 + 4], 0
        attempt "write of a byte", mov byte [r12 + 6], 0x10
        mov     rax, [r12]
        and     rax, ~0x60
        bits_of "it is"
        mov     r13, [r12]
        mov     rax, r13
        attempt "cmpxchg", lock cmpxchg [r12], r14
        mov     rax, r13
        attempt "cmpxchg that fails", lock cmpxchg [r12], r14
        setz    al
        movzx   eax, al
        report  "its zero flag"
        attempt "write across two entries", mov [r12 + 4], r14
        attempt "write within an entry, not aligned", mov dword [r12 + 2], eax
        frame   r12
        or      rax, P | RW
        attempt "write of a writable mapping of the table", mov [r12], rax
        mov     rdi, page_c
        call    tables_of
        mov     rax, [r10]
        attempt "write to an L2", mov [r10], rax
        mov     [page_a], r14
        mov     rdi, r12
        mov     rsi, page_a
        attempt "movsq", movsq
        mov     rax, rdi
        sub     rax, r12
        report  "RDI has moved"
        mov     rdi, r12
        mov     rax, r14
        attempt "stosq", stosq
        frame   page_c
        or      rax, P | RW
        attempt "write back", mov [r12], rax
        hypercall __HYPERVISOR_vm_assist, 1, 2
        ret

; ---- memory_op: frames come and go ---------------------------------------------------------------
%macro memory 2
        hypercall __HYPERVISOR_memory_op, %2, reservation
        report  %1
%endmacro

reservations:
        mov     qword [page_b], 0x55
        mov     word [reservation + xen_memory_reservation.domid], DOMID_SELF
        mov     qword [reservation + xen_memory_reservation.extent_start], frames
        mov     qword [reservation + xen_memory_reservation.nr_extents], 1
        hypercall __HYPERVISOR_memory_op, XENMEM_current_reservation, domid
        mov     r15, rax
        frame   page_b
        shr     rax, 12
        mov     [frames], rax
        memory  "decrease: a page that is mapped", XENMEM_decrease_reservation
        hypercall __HYPERVISOR_memory_op, XENMEM_current_reservation, domid
        sub     rax, r15
        report  "pages more"
        mov     rax, [page_b]
        report  "it is read"
        frame   page_b
        or      rax, P | RW
        va      "va: the same", page_b, UVMF_INVLPG
        memory  "decrease: again", XENMEM_decrease_reservation
        xor     eax, eax
        va      "va: nothing", page_b, UVMF_INVLPG
        hypercall __HYPERVISOR_memory_op, XENMEM_current_reservation, domid
        sub     rax, r15
        report  "pages more"
        memory  "decrease: a free page", XENMEM_decrease_reservation
        frame   page_b
        or      rax, P | RW
        va      "va: a free page", page_b, UVMF_INVLPG
        mov     rax, 0x7fffff
        mov     [frames], rax
        memory  "decrease: no memory", XENMEM_decrease_reservation
        mov     rbx, M2P
        mov     [reservation], rbx
        memory  "decrease: list in Xen", XENMEM_decrease_reservation
        mov     rbx, BAD
        mov     [reservation], rbx
        memory  "decrease: bad list", XENMEM_decrease_reservation
        memory  "populate: bad list", XENMEM_populate_physmap
        mov     qword [reservation], frames
        mov     dword [reservation + xen_memory_reservation.extent_order], 19
        memory  "populate: order 19", XENMEM_populate_physmap
        mov     dword [reservation + xen_memory_reservation.extent_order], 0
        mov     word [reservation + xen_memory_reservation.domid], 999
        memory  "populate: no such domain", XENMEM_populate_physmap
        mov     word [reservation + xen_memory_reservation.domid], DOMID_SELF
        mov     dword [reservation + xen_memory_reservation.mem_flags], 5
        memory  "populate: 5 address bits", XENMEM_populate_physmap
        mov     dword [reservation + xen_memory_reservation.mem_flags], 0
        mov     rbx, 1 << 27
        mov     [reservation + xen_memory_reservation.nr_extents], rbx
        memory  "populate: 2^27 extents", XENMEM_populate_physmap
        mov     qword [reservation + xen_memory_reservation.nr_extents], 0
        memory  "populate: none", XENMEM_populate_physmap
        mov     qword [reservation + xen_memory_reservation.nr_extents], 1
        mov     rax, page_b
        shr     rax, 12
        mov     [frames], rax
        memory  "populate", XENMEM_populate_physmap
        mov     rbx, [frames]
        mov     rsi, M2P
        mov     rax, [rsi + rbx * 8]
        shl     rax, 12
        sub     rax, page_b
        report  "its M2P"
        mov     rax, rbx
        shl     rax, 12
        or      rax, P | RW
        va      "va: it", page_b, UVMF_INVLPG
        mov     rax, page_b
        shr     rax, 12
        mov     rsi, [start_info]
        mov     rsi, [rsi + START_INFO_mfn_list]
        mov     [rsi + rax * 8], rbx
        hypercall __HYPERVISOR_memory_op, XENMEM_current_reservation, domid
        sub     rax, r15
        report  "pages more"
        mov     rbx, BAD
        hypercall __HYPERVISOR_memory_op, XENMEM_populate_physmap, rbx
        report  "populate: bad pointer"
        ret

; ---- XENMEM_exchange -----------------------------------------------------------------------------
%macro trade 1
        hypercall __HYPERVISOR_memory_op, 11, exchange
        report  %1
%endmacro

exchanges:
        frame   page_b
        shr     rax, 12
        mov     [frames], rax
        frame   page_c
        shr     rax, 12
        mov     [frames + 8], rax
        mov     rax, page_b
        shr     rax, 12
        mov     [frames_out], rax
        trade   "exchange: pages that are mapped"
        xor     eax, eax
        va      "va: nothing", page_b, UVMF_INVLPG
        xor     eax, eax
        va      "va: nothing", page_c, UVMF_INVLPG
        trade   "exchange: two for two in a row"
        mov     rax, [exchange + 64]
        report  "exchanged"
        mov     rbx, [frames_out]
        mov     rsi, M2P
        mov     rax, [rsi + rbx * 8 + 8]
        shl     rax, 12
        sub     rax, page_b
        report  "M2P of the second"
        mov     rax, rbx
        and     eax, 1
        report  "the first is odd"
        trade   "exchange: nothing left"
        mov     qword [exchange + 64], 9
        trade   "exchange: more than all"
        mov     qword [exchange + 64], 0
        mov     qword [exchange + 8], 3
        trade   "exchange: lists that do not match"
        mov     qword [exchange + 8], 2
        mov     dword [exchange + 32 + 16], 19
        trade   "exchange: order 19"
        mov     dword [exchange + 32 + 16], 1
        mov     word [exchange + 24], 999
        trade   "exchange: two domains"
        mov     word [exchange + 32 + 24], 999
        trade   "exchange: no such domain"
        mov     rbx, BAD
        hypercall __HYPERVISOR_memory_op, 11, rbx
        report  "exchange: bad pointer"
        ret

; ---- Questions -----------------------------------------------------------------------------------
queries:
        hypercall __HYPERVISOR_memory_op, 12, answer
        report  "machphys_mapping"
        print   "from "
        print_hex [answer]
        print   " to "
        print_hex [answer + 8]
        print   10
        mov     rbx, BAD
        hypercall __HYPERVISOR_memory_op, 12, rbx
        report  "machphys_mapping: bad pointer"
        mov     dword [answer], 1
        mov     qword [answer + 8], frames
        hypercall __HYPERVISOR_memory_op, 5, answer
        report  "machphys_mfn_list"
        mov     eax, [answer + 16]
        report  "extents"
        hypercall __HYPERVISOR_memory_op, 5, rbx
        report  "machphys_mfn_list: bad pointer"
        hypercall __HYPERVISOR_memory_op, XENMEM_add_to_physmap, physmap
        report  "add_to_physmap"
        hypercall __HYPERVISOR_memory_op, 15, physmap
        report  "remove_from_physmap"
        mov     word [physmap], 999
        hypercall __HYPERVISOR_memory_op, XENMEM_add_to_physmap, physmap
        report  "add_to_physmap: no such domain"
        hypercall __HYPERVISOR_memory_op, XENMEM_current_reservation, physmap
        report  "current_reservation: no such domain"
        hypercall __HYPERVISOR_memory_op, XENMEM_current_reservation, rbx
        report  "current_reservation: bad pointer"
        ret

; ---- Where things are ----------------------------------------------------------------------------
; frame_of: RDI = a linear address. RAX = the machine address of its frame, by the P2M list.
frame_of:
        push    rsi
        mov     rax, rdi
        shr     rax, 12
        mov     rsi, [start_info]
        mov     rsi, [rsi + START_INFO_mfn_list]
        mov     rax, [rsi + rax * 8]
        shl     rax, 12
        pop     rsi
        ret

; entry_at: RDI = a linear address. RAX = the machine address of its L1 entry, RSI = where it is read.
entry_at:
        push    r8
        push    r9
        push    r10
        push    r11
        call    tables_of
        mov     rsi, r11
        and     rdi, ~0xfff
        push    rdi
        mov     rdi, r11
        call    frame_of
        pop     rdi
        mov     r8, r11
        and     r8, 0xfff
        or      rax, r8
        pop     r11
        pop     r10
        pop     r9
        pop     r8
        ret

; tables_of: RDI = a linear address. R8, R9, R10, R11 = where its entries of L4 to L1 are read, as far
; as they are there.
tables_of:
        push    rax
        push    rcx
        mov     rax, [start_info]
        mov     r8, [rax + START_INFO_pt_base]
        mov     rcx, rdi
        shr     rcx, 39
        and     ecx, 511
        lea     r8, [r8 + rcx * 8]
        mov     rax, [r8]
        call    below
        jz      .done
        mov     rcx, rdi
        shr     rcx, 30
        and     ecx, 511
        lea     r9, [rax + rcx * 8]
        mov     rax, [r9]
        call    below
        jz      .done
        mov     rcx, rdi
        shr     rcx, 21
        and     ecx, 511
        lea     r10, [rax + rcx * 8]
        mov     rax, [r10]
        call    below
        jz      .done
        mov     rcx, rdi
        shr     rcx, 12
        and     ecx, 511
        lea     r11, [rax + rcx * 8]
.done:
        pop     rcx
        pop     rax
        ret

; below: RAX = an entry. RAX = where its table is read, by the M2P; ZF if it is not present.
below:
        test    al, P
        jz      .none
        push    rcx
        mov     rcx, FRAME
        and     rax, rcx
        shr     rax, 12
        mov     rcx, M2P
        mov     rax, [rcx + rax * 8]
        shl     rax, 12
        pop     rcx
        test    rsp, rsp
.none:
        ret

; The handler of page faults: notes the error code, and goes on at [resume].
on_page_fault:
        pop     rcx
        pop     r11
        pop     qword [fault]
        push    rax
        mov     rax, [resume]
        mov     [rsp + 8], rax
        pop     rax
        push    0
        jmp     hypercall_page + 32 * __HYPERVISOR_iret

; ---- Data ----------------------------------------------------------------------------------------
section .data
align 8
traps:                                          ; struct trap_info
        db      14, 0
        dw      KERNEL_CS
        dd      0
        dq      on_page_fault
        dq      0, 0
vcpus:
        dq      1
domid:
        dq      DOMID_SELF
exchange:                                       ; struct xen_memory_exchange
        dq      frames, 2
        dd      0, 0
        dq      DOMID_SELF
        dq      frames_out, 1
        dd      1, 0
        dq      DOMID_SELF
        dq      0
physmap:                                        ; struct xen_add_to_physmap
        dq      DOMID_SELF, 0, 0

section .bss
alignb 4096
page_a:
        resb    PAGE_SIZE
page_b:
        resb    PAGE_SIZE
page_c:
        resb    PAGE_SIZE
request:
        resq    2
list:
        resq    6
operation:
        resq    3
reservation:
        resb    xen_memory_reservation_size
frames:
        resq    4
frames_out:
        resq    4
answer:
        resq    4
done:
        resq    1
resume:
        resq    1
fault:
        resq    1
section .text
