; grant-results.asm - grants pages to itself, maps, copies and gives them away, with good and with bad
; arguments, and prints what each operation returns, its status and what is left in the table. The real
; Xen is the judge.

%include "boot.inc"
%include "console.inc"

%define BAD             0x50000000              ; beyond what boot.inc maps
%define NO_DOMAIN       0x1234
%define LEAF_HVM        0x40000004

%define __HYPERVISOR_grant_table_op 20
%define map_grant_ref   0
%define unmap_grant_ref 1
%define setup_table     2
%define dump_table      3
%define transfer        4
%define copy            5
%define query_size      6
%define unmap_and_replace 7
%define set_version     8
%define get_status_frames 9
%define get_version     10
%define swap_grant_ref  11
%define cache_flush     12

%define permit_access   1
%define accept_transfer 2
%define readonly        4
%define sub_page        0x100

; report TEXT: prints RAX behind it.
%macro report 1
        print   %1, ": "
        print_decimal rax
        print   10
%endmacro

; op TEXT, COMMAND, POINTER, COUNT
%macro op 4
        hypercall __HYPERVISOR_grant_table_op, %2, %3, %4
        report  %1
%endmacro

; status TEXT, ADDRESS: a 16-bit status.
%macro status 2
        movsx   rax, word [%2]
        report  %1
%endmacro

%macro show32 2
        mov     eax, [%2]
        report  %1
%endmacro

; grant REFERENCE, FLAGS, DOMAIN, ADDRESS OF THE PAGE
%macro grant 4
        mov     eax, %4
        shr     eax, 12
        mov     [table + 8 * %1 + 4], eax
        mov     ax, %3
        mov     [table + 8 * %1 + 2], ax
        mov     word [table + 8 * %1], %2
%endmacro

; map TEXT, DOMAIN, REFERENCE, FLAGS, ADDRESS
%macro map 5
        mov     qword [operation], %5
        mov     dword [operation + 8], %4
        mov     dword [operation + 12], %3
        mov     ax, %2
        mov     [operation + 16], ax
        mov     word [operation + 18], 0x7777
        mov     dword [operation + 20], 0x777
        hypercall __HYPERVISOR_grant_table_op, map_grant_ref, operation, 1
        test    rax, rax
        jz      %%done
        report  %1
%%done: status  %1, operation + 18
%endmacro

; unmap TEXT, HANDLE, ADDRESS
%macro unmap 3
        mov     eax, %2
        mov     qword [operation], %3
        mov     qword [operation + 8], 0
        mov     [operation + 16], eax
        mov     word [operation + 20], 0x7777
        hypercall __HYPERVISOR_grant_table_op, unmap_grant_ref, operation, 1
        status  %1, operation + 20
%endmacro

; ends A B: SOURCE, DOMAIN, OFFSET; DESTINATION, DOMAIN, OFFSET; LENGTH, FLAGS of a copy
%macro try_copy 9
        mov     eax, %2
        mov     [operation], rax
        mov     ax, %3
        mov     [operation + 8], ax
        mov     word [operation + 10], %4
        mov     eax, %5
        mov     [operation + 16], rax
        mov     ax, %6
        mov     [operation + 24], ax
        mov     word [operation + 26], %7
        mov     word [operation + 32], %8
        mov     word [operation + 34], %9
        mov     word [operation + 36], 0x7777
        hypercall __HYPERVISOR_grant_table_op, copy, operation, 1
        status  %1, operation + 36
%endmacro

; give TEXT, FRAME, DOMAIN, REFERENCE
%macro give 4
        mov     rax, %2
        mov     [operation], rax
        mov     ax, %3
        mov     [operation + 8], ax
        mov     dword [operation + 12], %4
        mov     word [operation + 16], 0x7777
        hypercall __HYPERVISOR_grant_table_op, transfer, operation, 1
        status  %1, operation + 16
%endmacro

main:
        mov     eax, LEAF_HVM
        xor     ecx, ecx
        cpuid
        mov     [self], cx
        call    table_calls
        call    mapping_calls
        call    copy_calls
        call    transfer_calls
        call    version_2_calls
        call    other_calls
        ret

; ---- the table itself -------------------------------------------------------------------------
table_calls:
        mov     word [operation], DOMID_SELF
        op      "query_size", query_size, operation, 1
        status  "its status", operation + 12
        show32  "frames", operation + 4
        show32  "frames at most", operation + 8
        op      "query_size of two", query_size, operation, 2
        op      "query_size of none", query_size, operation, 0
        op      "query_size of minus one", query_size, operation, -1
        op      "query_size, bad pointer", query_size, BAD, 1
        mov     word [operation], NO_DOMAIN
        op      "query_size of no domain", query_size, operation, 1
        status  "its status", operation + 12

        mov     word [place], DOMID_SELF
        mov     dword [place + 4], 1            ; the grant table
        mov     qword [place + 8], 0
        mov     eax, table
        shr     eax, 12
        mov     [place + 16], rax
        hypercall __HYPERVISOR_memory_op, 7, place
        report  "add_to_physmap of the table"
        mov     qword [place + 8], 64
        hypercall __HYPERVISOR_memory_op, 7, place
        report  "add_to_physmap of frame 64"

        mov     word [operation], DOMID_SELF
        mov     dword [operation + 4], 1
        mov     qword [operation + 16], gfns
        op      "setup_table", setup_table, operation, 1
        status  "its status", operation + 8
        mov     rax, [gfns]
        mov     ecx, table
        shr     ecx, 12
        sub     rax, rcx
        report  "its frame, from where it was put"
        mov     dword [operation + 4], 65
        op      "setup_table of 65", setup_table, operation, 1
        status  "its status", operation + 8
        mov     dword [operation + 4], 1
        mov     qword [operation + 16], BAD
        op      "setup_table, bad list", setup_table, operation, 1
        status  "its status", operation + 8
        mov     word [operation], NO_DOMAIN
        op      "setup_table of no domain", setup_table, operation, 1
        status  "its status", operation + 8
        op      "setup_table of two", setup_table, operation, 2

        mov     word [operation], DOMID_SELF
        op      "get_version", get_version, operation, 1
        show32  "version", operation + 4
        mov     word [operation], NO_DOMAIN
        op      "get_version of no domain", get_version, operation, 1
        mov     dword [operation], 3
        op      "set_version 3", set_version, operation, 1
        show32  "version", operation
        op      "set_version, bad pointer", set_version, BAD, 1
        ret

; ---- mapping ----------------------------------------------------------------------------------
; A domain that maps its own page takes it from where it was: each page is mapped once.
mapping_calls:
        mov     qword [contents], 0x1234
        grant   9, permit_access, [self], contents
        map     "map", [self], 9, 2, window
        mov     eax, [operation + 20]
        mov     [handle], eax
        mov     rax, [window]
        report  "what is there"
        mov     qword [window], 0x5678
        mov     rax, [window]
        report  "what was written"
        mov     rax, [contents]
        report  "where the page was"
        movzx   eax, word [table + 72]
        report  "flags of the entry"
        map     "map again, for reading", [self], 9, 6, window + 4096
        mov     eax, [operation + 20]
        mov     [handle + 4], eax
        mov     rax, [window + 4096]
        report  "what is there"
        mov     dword [operation], 2
        op      "set_version 2 while mapped", set_version, operation, 1
        mov     dword [operation], 9
        mov     dword [operation + 4], 10
        op      "swap while mapped", swap_grant_ref, operation, 1
        status  "its status", operation + 8
        unmap   "unmap nowhere", [handle], 0
        unmap   "unmap the second", [handle + 4], window + 4096
        unmap   "unmap it again", [handle + 4], window + 4096
        unmap   "unmap at another address", [handle], window + 4096
        unmap   "unmap no handle", 77, window
        movzx   eax, word [table + 72]
        report  "flags of the entry"
        unmap   "unmap", [handle], window
        mov     rax, [window]
        report  "what is there"
        movzx   eax, word [table + 72]
        report  "flags of the entry"
        map     "map what is not in the P2M any more", [self], 9, 2, window
        grant   10, permit_access | readonly, [self], contents + 4096
        map     "map for writing what may be read", [self], 10, 2, window
        map     "map for reading", [self], 10, 6, window
        mov     eax, [operation + 20]
        mov     [handle], eax
        movzx   eax, word [table + 80]
        report  "flags of the entry"
        unmap   "unmap", [handle], window
        movzx   eax, word [table + 80]
        report  "flags of the entry"
        map     "map without flags", [self], 10, 0, window
        map     "map for devices", [self], 10, 1, window
        map     "map for the host and devices", [self], 10, 3, window
        map     "map by PTE", [self], 10, 0x12, window
        map     "map for a process", [self], 10, 0xa, window
        map     "map of no domain", NO_DOMAIN, 10, 6, window
        map     "map of DOMID_SELF", DOMID_SELF, 10, 6, window
        map     "map beyond the table", [self], 512, 6, window
        map     "map of nothing", [self], 11, 6, window
        grant   12, permit_access, NO_DOMAIN, contents + 8192
        map     "map of what another may", [self], 12, 6, window
        grant   13, permit_access, [self], 0x70000000
        map     "map of a page that is not there", [self], 13, 6, window
        grant   14, accept_transfer, [self], contents + 8192
        map     "map of a place for a page", [self], 14, 6, window
        grant   15, permit_access | sub_page, [self], contents + 8192
        map     "map of a part in version 1", [self], 15, 6, window
        mov     dword [operation], 9
        mov     dword [operation + 4], 600
        op      "swap beyond the table", swap_grant_ref, operation, 1
        status  "its status", operation + 8
        mov     dword [operation], 10
        mov     dword [operation + 4], 16
        op      "swap", swap_grant_ref, operation, 1
        status  "its status", operation + 8
        movzx   eax, word [table + 80]
        report  "flags of the first"
        movzx   eax, word [table + 128]
        report  "flags of the second"
        ret

; ---- copying ----------------------------------------------------------------------------------
copy_calls:
        mov     ebx, data
        shr     ebx, 12
        mov     ebp, other
        shr     ebp, 12
        mov     qword [other], 0
        mov     qword [data], 0x5678
        grant   20, permit_access, [self], data
        grant   21, permit_access | readonly, [self], data
        try_copy "copy from a grant", 20, [self], 0, ebp, DOMID_SELF, 0, 8, 1
        mov     rax, [other]
        report  "what was copied"
        movzx   eax, word [table + 160]
        report  "flags of the entry"
        try_copy "copy to a grant", ebp, DOMID_SELF, 0, 20, [self], 8, 8, 2
        try_copy "copy from a grant to a grant", 20, [self], 0, 20, [self], 16, 8, 3
        try_copy "copy to what may be read", ebp, DOMID_SELF, 0, 21, [self], 0, 8, 2
        try_copy "copy of nothing", 600, NO_DOMAIN, 0, ebp, DOMID_SELF, 0, 0, 1
        try_copy "copy beyond the page", 20, [self], 4090, ebp, DOMID_SELF, 0, 8, 1
        try_copy "copy to beyond the page", 20, [self], 0, ebp, DOMID_SELF, 4090, 8, 1
        try_copy "copy from a frame of another", ebx, [self], 0, ebp, DOMID_SELF, 0, 8, 0
        try_copy "copy from no domain", 20, NO_DOMAIN, 0, ebp, DOMID_SELF, 0, 8, 1
        try_copy "copy from a reference beyond the table", 600, [self], 0, ebp, DOMID_SELF, 0, 8, 1
        try_copy "copy from an empty entry", 11, [self], 0, ebp, DOMID_SELF, 0, 8, 1
        try_copy "copy from a frame that is not there", 0x70000, DOMID_SELF, 0, ebp, DOMID_SELF, 0, 8, 0
        try_copy "copy by DOMID_SELF from a grant", 20, DOMID_SELF, 0, ebp, DOMID_SELF, 0, 8, 1
        op      "copy, bad pointer", copy, BAD, 1
        op      "copy of none, bad pointer", copy, BAD, 0
        ret

; ---- transfer: a domain whose P2M is Xen's cannot give pages away -------------------------------
transfer_calls:
        mov     ebx, data
        shr     ebx, 12
        grant   30, accept_transfer, [self], other
        give    "transfer", rbx, [self], 30
        give    "transfer of a frame that is not there", 0x70000, [self], 30
        give    "transfer to no domain", rbx, NO_DOMAIN, 30
        movzx   eax, word [table + 240]
        report  "flags of the entry"
        op      "transfer, bad pointer", transfer, BAD, 1
        ret

; ---- version 2 --------------------------------------------------------------------------------
version_2_calls:
        mov     qword [operation], 0
        mov     dword [operation], 2
        op      "set_version 2", set_version, operation, 1
        show32  "version", operation
        cmp     dword [operation], 2
        jne     .end
        movzx   eax, word [table + 144]
        report  "flags of entry 9"
        mov     dword [operation], 1
        mov     word [operation + 4], DOMID_SELF
        mov     qword [operation + 8], gfns
        op      "get_status_frames", get_status_frames, operation, 1
        status  "its status", operation + 6
        mov     dword [operation], 2
        op      "get_status_frames of two", get_status_frames, operation, 1
        status  "its status", operation + 6

        ; A part of the page: 32 bytes from 16 on.
        mov     eax, data
        shr     eax, 12
        mov     [table + 144 + 8], rax
        mov     word [table + 144 + 4], 16
        mov     word [table + 144 + 6], 32
        mov     ax, [self]
        mov     [table + 144 + 2], ax
        mov     word [table + 144], permit_access | sub_page
        map     "map of a part", [self], 9, 6, window
        mov     ebp, other
        shr     ebp, 12
        try_copy "copy of a part", 9, [self], 16, ebp, DOMID_SELF, 0, 32, 1
        try_copy "copy of more than the part", 9, [self], 16, ebp, DOMID_SELF, 0, 33, 1
        try_copy "copy from before the part", 9, [self], 15, ebp, DOMID_SELF, 0, 8, 1
        mov     word [table + 160 + 4], 0
        mov     ax, [self]
        mov     [table + 160 + 4], ax
        mov     dword [table + 160 + 8], 9
        mov     [table + 160 + 2], ax
        mov     word [table + 160], 3           ; transitive, to the domain itself
        try_copy "copy of a grant of its own grant", 10, [self], 16, ebp, DOMID_SELF, 0, 8, 1
        map     "map of a grant of a grant", [self], 10, 6, window
        mov     dword [operation], 1
        op      "set_version 1", set_version, operation, 1
        show32  "version", operation
.end:
        ret

; ---- the rest ---------------------------------------------------------------------------------
other_calls:
        op      "unmap_and_replace of no handle", unmap_and_replace, replace, 1
        status  "its status", replace + 20
        op      "dump_table", dump_table, operation, 1
        op      "cache_flush", cache_flush, operation, 1
        op      "operation 99", 99, operation, 1
        op      "map_grant_ref, bad pointer", map_grant_ref, BAD, 1
        op      "map_grant_ref of none", map_grant_ref, BAD, 0
        op      "unmap_grant_ref, bad pointer", unmap_grant_ref, BAD, 1
        op      "swap_grant_ref, bad pointer", swap_grant_ref, BAD, 1
        ret

section .data
align 8
replace:
        dq      window, 0
        dd      77
        dw      0x7777, 0

section .bss
alignb 4096
table:  resb    4096
window: resb    2 * 4096
contents:
        resb    3 * 4096
data:   resb    4096
other:  resb    4096
operation:
        resb    64
place:  resb    32
gfns:   resq    64
handle: resd    2
self:   resw    1
