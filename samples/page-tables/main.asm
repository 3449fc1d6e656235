; page-tables - a guest that builds page tables, takes page faults and handles them.
;
; The walk for WINDOW goes through tables of this program's own. The last entry is empty at first, so
; the first access faults; the handler fills the entry, and the instruction is tried again. All of
; this is between the guest and the processor: no page fault here leaves the guest.

%include "boot.inc"
%include "console.inc"
%include "interrupts.inc"

%define WINDOW          0x400000000000          ; entry 128 of the PML4, entry 0 of each lower table

%define PTE_PRESENT     (1 << 0)
%define PTE_WRITABLE    (1 << 1)
%define PTE_ACCESSED    5                       ; bit numbers: the processor sets these two
%define PTE_DIRTY       6

main:
        load_idt
        set_gate VECTOR_PF, page_fault

        ; Three tables: PML4 -> PDPT -> page directory -> page table. The page table stays empty.
        lea     rax, [window_pdpt + PTE_PRESENT + PTE_WRITABLE]
        mov     [page_map_level_4 + 8 * 128], rax
        lea     rax, [window_directory + PTE_PRESENT + PTE_WRITABLE]
        mov     [window_pdpt], rax
        lea     rax, [window_table + PTE_PRESENT + PTE_WRITABLE]
        mov     [window_directory], rax

        mov     rbx, WINDOW
        print   "1. a write where nothing is mapped", 10
        mov     qword [rbx + 0x18], 0x1234      ; #PF: not present
        call    print_entry_bits

        print   "2. the same memory by another address: "
        print_hex qword [frame + 0x18]
        print   10

        print   "3. a read of a read-only page", 10
        call    protect
        mov     rax, [rbx + 0x18]
        call    print_entry_bits

        print   "4. a write to a read-only page", 10
        mov     qword [rbx + 0x18], 0x5678      ; #PF: protection, because CR0.WP is set
        call    print_entry_bits
        print   "5. now in memory: "
        print_hex qword [frame + 0x18]
        print   10
        ret

; protect: makes the window's page read-only, with A and D clear.
protect:
        lea     rax, [frame + PTE_PRESENT]
        mov     [window_table], rax
        invlpg  [rbx]                           ; or the TLB would keep the old entry
        ret

; print_entry_bits: what the processor wrote into the entry. Changes RAX.
print_entry_bits:
        mov     rax, [window_table]
        shr     eax, PTE_ACCESSED
        and     eax, 1
        print   "   accessed "
        print_decimal rax
        mov     rax, [window_table]
        shr     eax, PTE_DIRTY
        and     eax, 1
        print   ", dirty "
        print_decimal rax
        print   10
        ret

; page_fault: #PF. CR2 has the address; the error code is on the stack, above it the frame for IRETQ.
page_fault:
        push    rax
        mov     rax, cr2
        print   "   #PF at "
        print_hex rax
        mov     rax, [rsp + 8]
        print   ", error code "
        print_decimal rax                       ; bit 0: protection, not absence; bit 1: a write
        print   10

        lea     rax, [frame + PTE_PRESENT + PTE_WRITABLE]
        mov     [window_table], rax
        mov     rax, cr2
        invlpg  [rax]
        pop     rax
        add     rsp, 8                          ; the error code
        iretq                                   ; to the instruction that faulted

section .bss
alignb 4096
window_pdpt:            resb PAGE_SIZE
window_directory:       resb PAGE_SIZE
window_table:           resb PAGE_SIZE
frame:                  resb PAGE_SIZE
