; pin - an L1 table with 512 entries of a PV guest is pinned and unpinned, again and again.
%define ROUNDS 4000
%include "pv-tables.inc"

prepare:
        xor     ecx, ecx
.next:
        mov     edi, ecx
        and     edi, WINDOW_PAGES - 1
        shl     rdi, 12
        add     rdi, window
        call    frame_of
        or      rax, P | RW
        mov     [table + rcx * 8], rax
        inc     ecx
        cmp     ecx, 512
        jb      .next
        mov     rdi, table
        call    frame_of
        mov     rbx, rax
        shr     rax, 12
        mov     [operations + 8], rax
        mov     [operations + 32], rax
        or      rbx, P
        hypercall __HYPERVISOR_update_va_mapping, table, rbx, 2
        ret

workload:
        mov     ebx, ecx
.round:
        hypercall __HYPERVISOR_mmuext_op, operations, 2, 0, DOMID_SELF
        dec     ebx
        jnz     .round
        ret

section .data
align 8
operations:                                     ; struct mmuext_op: MMUEXT_PIN_L1_TABLE, MMUEXT_UNPIN_TABLE
        dq      0, 0, 0
        dq      4, 0, 0
section .text
