/** Shadow page tables beside EPT: 32-bit and PAE guests, log-dirty mode, and what a debugger sees. */
import { readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { expect, test } from 'vitest';
import { assemble } from '../../assembler/index.ts';
import {
  createMachine,
  FRAME_KINDS,
  type Machine,
  type MachineEvent,
} from '../../emulator/index.ts';

const samples = join(dirname(dirname(dirname(fileURLToPath(import.meta.url)))), 'samples');
const readFile = (path: string) => {
  const place = join(samples, 'include', path);
  return { path: place, bytes: readFileSync(place) };
};
const MEMORY = 16 << 20;

const build = (source: string) => {
  const path = join(samples, 'guest.asm');
  const { bytes, symbols, diagnostics } = assemble(source, { path, readFile });
  expect(diagnostics).toEqual([]);
  const symbol = (name: string) => symbols.find((one) => one.name === name)?.address ?? 0n;
  return { program: bytes, symbol };
};

const boot = (program: Uint8Array, hap: boolean): Machine =>
  createMachine({ domains: [{ name: 'guest', program, memoryBytes: MEMORY, hap }] });

const memoryOf = (machine: Machine): Uint8Array =>
  machine.peekMemory({ kind: 'gpa', domain: 1 }, 0n, MEMORY).bytes;

/** Entries and accesses of a 32-bit guest; each of the cases is one entry with six accesses. */
const guest32 = (usesPae: boolean): string => `
bits 32
section .note.Xen note alloc noexec nowrite align=4
        dd      4, 4, 18
        db      "Xen", 0
        dd      _start
section .text
global _start
_start: mov     esp, stack_top
        lgdt    [gdt_pointer]
        jmp     8:.flat
.flat:  lidt    [idt_pointer]
        mov     eax, fault
        mov     [idt + 14 * 8], ax
        mov     word [idt + 14 * 8 + 2], 8
        mov     word [idt + 14 * 8 + 4], 0x8e00
        shr     eax, 16
        mov     [idt + 14 * 8 + 6], ax
        mov     edi, log
%if ${usesPae ? 1 : 0}
  %define ENTRY 8
        mov     eax, cr4
        or      eax, 0x20                       ; PAE
        mov     cr4, eax
        mov     ecx, 0xc0000080                 ; EFER.NXE
        rdmsr
        or      eax, 0x800
        wrmsr
        mov     dword [pointers], directory + 1
        mov     dword [pointers + 8], directory + 1     ; the second GiB is the first once more
%else
  %define ENTRY 4
        mov     eax, cr4
        or      eax, 0x10                       ; PSE
        mov     cr4, eax
%endif
        mov     ecx, 16 / (ENTRY / 2)           ; large pages one to one
        xor     eax, eax
        mov     ebx, directory
.large: lea     edx, [eax + 0x83]
        mov     [ebx], edx
        add     eax, 1 << (24 - ENTRY / 4 * 1 - (ENTRY / 8))
        add     ebx, ENTRY
        loop    .large
        lea     eax, [table + 7]
        mov     [directory + ENTRY * 16], eax
%if ${usesPae ? 1 : 0}
        mov     eax, pointers
%else
        mov     eax, directory
%endif
        mov     cr3, eax
        mov     eax, cr0
        or      eax, 0x80000000
        mov     cr0, eax
        mov     ebp, cases
.next:  mov     eax, [ebp]
        mov     [table + ENTRY * 3], eax
        mov     eax, [ebp + 4]
%if ${usesPae ? 1 : 0}
        mov     [table + ENTRY * 3 + 4], eax
%endif
        mov     ebx, WINDOW + 3 * 4096
        invlpg  [ebx]
        mov     dword [resume], .a
        mov     eax, [ebx + 16]
        call    note
.a:     mov     dword [resume], .b
        mov     dword [ebx + 20], ebp
.b:     mov     dword [resume], .c
        add     dword [ebx + 24], 3
.c:     mov     eax, cr0
        xor     eax, 1 << 16                    ; CR0.WP
        mov     cr0, eax
        mov     dword [resume], .d
        mov     dword [ebx + 28], ebp
.d:     mov     dword [resume], .e
        mov     [esp - 512], esp
        push    dword [ebx + 16]
        pop     eax
        call    note
.e:     mov     dword [resume], .f
        mov     byte [frame + 100], 0xc3
        lea     eax, [ebx + 100]
        call    eax
.f:     mov     esp, stack_top
        mov     eax, [table + ENTRY * 3]        ; accessed and dirty bits
        call    note
        add     ebp, 8
        cmp     ebp, cases_end
        jb      .next
%if ${usesPae ? 1 : 0}
        mov     eax, [0x40000000 + cases]       ; the second pointer
        call    note
        mov     dword [pointers + 8], 0         ; it counts when CR3 is loaded
        mov     eax, [0x40000000 + cases]
        call    note
        mov     dword [resume], .g
        mov     eax, cr3
        mov     cr3, eax
        mov     eax, [0x40000000 + cases]
        call    note
.g:     mov     esp, stack_top
%endif
        mov     eax, cr0                        ; paging off, and on again
        and     eax, 0x7fffffff
        mov     cr0, eax
        mov     dword [frame + 200], 0x1234
        or      eax, 0x80000000
        mov     cr0, eax
        mov     eax, cr3
        call    note
        mov     eax, 29                         ; sched_op shutdown, poweroff
        mov     ebx, 2
        mov     ecx, reason
        vmcall
        hlt

note:   mov     [edi], eax
        add     edi, 4
        ret

fault:  pop     eax                             ; the error code
        call    note
        mov     eax, cr2
        call    note
        mov     eax, [esp + 8]                  ; EFLAGS
        call    note
        mov     esp, stack_top
        jmp     [resume]

section .data
align 8
gdt:    dq      0, 0x00cf9b000000ffff, 0x00cf93000000ffff
gdt_pointer: dw gdt_pointer - gdt - 1
        dd      gdt
idt_pointer: dw 15 * 8 - 1
        dd      idt
reason: dd      0
align 8
cases:
%assign flags 0
%rep 256
        dd      frame + (flags & 0x66) + 1 - (flags & 1)
        dd      (flags & 0x80) << 24            ; XD, under PAE paging
  %assign flags flags + 1
%endrep
        dd      0x30000067, 0                   ; a hole
        dd      0x30000067, 0
        dd      table + 0x67, 0                 ; the table itself
        dd      frame + 0x67, 0x00040000        ; a reserved bit of PAE paging
cases_end:
WINDOW equ 16 * (0x800000 / ENTRY)
section .bss
alignb 4096
table:  resb 4096
directory: resb 4096
frame:  resb 4096
        resb 4096
stack_top:
idt:    resb 16 * 8
pointers: resb 32
resume: resd 1
alignb 4096
log:    resb 0x8000
`;

test.each([false, true])('a 32-bit guest, PAE %s', (usesPae) => {
  const { program, symbol } = build(guest32(usesPae));
  const [ept, shadow] = [boot(program, true), boot(program, false)];

  expect(ept.run(200_000)).toMatchObject({ why: 'end', reason: 'poweroff' });
  expect(shadow.run(200_000)).toMatchObject({ why: 'end', reason: 'poweroff' });
  expect(shadow.retired).toBe(ept.retired);
  const [expected, found] = [memoryOf(ept), memoryOf(shadow)];
  const at = expected.findIndex((byte, index) => byte !== found[index]);
  expect(at).toBe(-1);
  const log = Number(symbol('log'));
  expect(expected.subarray(log, log + 0x4000).some((byte) => byte !== 0)).toBe(true);
});

const guest64 = (body: string): string => `
%include "boot.inc"
main:
${body}
        ret
section .bss
alignb 4096
pdpt:   resb PAGE_SIZE
pd:     resb PAGE_SIZE
pt:     resb PAGE_SIZE
section .text
`;

/** Maps 0x4000_0000_0000 with accessed bits clear. */
const WINDOW = `
        lea     rax, [pdpt + 7]
        mov     [page_map_level_4 + 8 * 128], rax
        lea     rax, [pd + 7]
        mov     [pdpt], rax
        lea     rax, [pt + 7]
        mov     [pd], rax
        mov     qword [pt], 0x500000 + 7
        mov     rbx, 0x400000000000
`;

test('log-dirty mode notes the writes of the guest, and of the processor to its tables', () => {
  const { program, symbol } = build(
    guest64(`${WINDOW}
start:  mov     rax, [rbx]                      ; sets accessed bits in the tables
        mov     [rbx + 8], rax
        mov     dword [0x600000], 1
        mov     qword [pt + 8], 0x700000 + 7
        mov     [rbx + 4096], rax
`),
  );
  const [ept = [], shadow = []] = [true, false].map((hap) => {
    const machine = boot(program, hap);
    expect(machine.stepTo(1, 0, { rip: symbol('start'), rsp: 0n }, 10_000)).toMatchObject({
      why: 'step',
    });
    expect(machine.xl('log-dirty 1 on').ok).toBe(true);
    expect(machine.run(10_000)).toMatchObject({ why: 'end', reason: 'poweroff' });
    return machine.xl('log-dirty 1').text.match(/0x[0-9a-f]+/g) ?? [];
  });
  const gfnOf = (name: string) => `0x${(symbol(name) >> 12n).toString(16)}`;

  expect(shadow).toEqual(expect.arrayContaining(['0x500', '0x600', '0x700']));
  expect(shadow).toEqual(expect.arrayContaining(['pt', 'pd', 'pdpt'].map(gfnOf)));
  // With accessed and dirty flags EPT takes each use of a table for a write (SDM Vol. 3C 28.3.5).
  expect(ept).toEqual(expect.arrayContaining(shadow));
});

test('a walk shows the shadow entries beside those of the guest, before and after they are filled', () => {
  const { program, symbol } = build(guest64(`${WINDOW}\nstart: mov [rbx], rax\nafter: nop`));
  const machine = boot(program, false);
  const faults: MachineEvent[] = [];
  machine.stepTo(1, 0, { rip: symbol('start'), rsp: 0n }, 10_000);
  const before = machine.walk(1, 0, 0x4000_0000_0000n);
  machine.events.subscribe(['shadow-fault', 'shadow-update'], (event) => {
    faults.push(event);
    return undefined;
  });
  machine.stepTo(1, 0, { rip: symbol('after'), rsp: 0n }, 10_000);
  const after = machine.walk(1, 0, 0x4000_0000_0000n);

  expect(before.levels.map(({ table }) => table)).toEqual([
    'PML4E',
    'shadow PML4E',
    'PDPTE',
    'PDE',
    'PTE',
  ]);
  expect(before.verdict).toContain('the next access faults and fills it');
  expect(after.levels.map(({ table }) => table)).toEqual(
    ['PML4E', 'PDPTE', 'PDE', 'PTE'].flatMap((table) => [table, `shadow ${table}`]),
  );
  expect(after.levels.at(-2)).toMatchObject({ entry: 0x50_0067n });
  expect(after.levels.at(-1)?.bits).toEqual(['P', 'R/W', 'U/S', 'A', 'D']);
  expect(after.maddr).toBe(Number((after.levels.at(-1)?.entry ?? 0n) & 0xf_ffff_f000n));
  expect(faults).toMatchObject([
    {
      kind: 'shadow-fault',
      cause: 'fill',
      gva: 0x4000_0000_0000n,
      gpa: 0x50_0000,
      access: 'write',
    },
    { kind: 'shadow-update', action: 'shadow', level: 3 },
    { kind: 'shadow-update', action: 'shadow', level: 2 },
    { kind: 'shadow-update', action: 'shadow', level: 1 },
  ]);
});

test('a write to a shadowed table is followed at once, and a table that is often written is given up', () => {
  const { program, symbol } = build(
    guest64(`${WINDOW}
        mov     [rbx], rax
start:  mov     qword [pt], 0x501000 + 0x67
        mov     rdx, [rbx]
        mov     qword [pt + 16], 0
        mov     qword [pt + 24], 0
        mov     qword [pt + 32], 0
        mov     qword [pt + 40], 0
`),
  );
  const machine = boot(program, false);
  machine.stepTo(1, 0, { rip: symbol('start'), rsp: 0n }, 10_000);
  const seen: string[] = [];
  machine.events.subscribe(['shadow-fault', 'shadow-update'], (event) => {
    if (event.kind === 'shadow-fault') seen.push(event.cause);
    if (event.kind === 'shadow-update') seen.push(`${event.action} ${event.level}`);
    return undefined;
  });
  machine.run(8);

  // Zeros in place of zeros change nothing; the last write is to a page like any other.
  expect(seen).toEqual(['sync', 'sync 1', 'sync', 'sync', 'unshadow 1', 'fill']);
});

test('a domain that is destroyed gives the frames of its shadow pages back', () => {
  const { program } = build(guest64('hlt'));
  const machine = boot(program, false);
  machine.run(10);
  const frames = (kind: string): number =>
    machine.memoryMap().kinds.filter((one) => FRAME_KINDS[one] === kind).length;
  expect(frames('shadow-table')).toBeGreaterThan(0);
  const free = frames('free');
  expect(machine.xl('destroy 1').ok).toBe(true);

  expect(frames('shadow-table')).toBe(0);
  expect(frames('free')).toBeGreaterThan(free + MEMORY / 4096 + 256);
});

test('the README of shadow-vs-ept has the VM exits that the sample makes', () => {
  const folder = join(samples, 'shadow-vs-ept');
  const { program } = build(readFileSync(join(folder, 'main.asm'), 'utf8'));
  const [ept, shadow] = [true, false].map((hap) => {
    const machine = boot(program, hap);
    machine.run(100_000);
    return machine.domains[0]?.exitCounts;
  });
  const readme = readFileSync(join(folder, 'README.md'), 'utf8');

  for (const name of ['EXCEPTION_OR_NMI', 'CR_ACCESS', 'INVLPG', 'VMCALL']) {
    const row = [name, ept?.get(name) ?? 0, shadow?.get(name) ?? 0].join(' *\\| ');
    expect(readme).toMatch(new RegExp(row));
  }
});

test('real mode, which needs an unrestricted guest, ends the domain with a reason', () => {
  const { program } = build(`
bits 32
section .note.Xen note alloc noexec nowrite align=4
        dd      4, 4, 18
        db      "Xen", 0
        dd      _start
section .text
global _start
_start: mov     eax, cr0
        and     al, 0xfe
        mov     cr0, eax
        hlt
`);
  expect(boot(program, false).run(100)).toMatchObject({
    why: 'end',
    reason: 'crash',
    explanation: expect.stringContaining('real mode'),
  });
});
