/** Accesses to guest-physical memory that is not there, on both engines. */
import { readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { expect, test } from 'vitest';
import { assemble } from '../../assembler/index.ts';
import { createMachine } from '../../emulator/index.ts';

const samples = join(dirname(dirname(dirname(fileURLToPath(import.meta.url)))), 'samples');
const readFile = (path: string) => {
  const place = join(samples, 'include', path);
  return { path: place, bytes: readFileSync(place) };
};

/** RBX is an address in a hole that the guest's tables map; RAM ends at 0x1000000. */
const guest = (body: string, macros: string) => `
%include "boot.inc"
%include "interrupts.inc"
%define RAM_END 0x1000000
${macros}
main:   mov ebx, 0x30000000
        load_idt
start:
${body}
finish: nop
        hlt
section .bss
alignb 4096
buffer: resb 16 * 4096
section .text
`;

const engines = ['interpreter', 'reference'] as const;
type Engine = (typeof engines)[number];

const boot = (engine: Engine, body: string, macros = '') => {
  const { bytes, symbols, diagnostics } = assemble(guest(body, macros), {
    path: join(samples, 'guest.asm'),
    readFile,
  });
  expect(diagnostics).toEqual([]);
  const machine = createMachine({
    engine,
    domains: [{ name: 'guest', program: bytes, memoryBytes: 16 << 20 }],
  });
  const rip = symbols.find(({ name }) => name === 'finish')?.address ?? 0n;
  const [domain] = machine.domains;
  if (domain === undefined) throw new Error('The machine has no domain.');
  const map = domain.p2m();
  return {
    machine,
    map: () => ({ before: map, after: domain.p2m() }),
    /** Runs to the end of the body. */
    finish: () => machine.stepTo(1, 0, { rip, rsp: 0n }, 500_000),
    register: (name: string) => domain.vcpus[0]?.register(name),
    violations: () => domain.exitCounts.get('EPT_VIOLATION') ?? 0,
  };
};

test.each(engines)('%s: a read gives ones, a write is lost, and each is a VM exit', (engine) => {
  const { finish, register, violations, map } = boot(
    engine,
    `
        mov rax, [rbx]
        mov dword [rbx], 5
        mov ecx, [rbx]
        mov edx, 3
        xadd [rbx + 8], dl
        mov esi, 1
        add [rbx], esi
        setc sil
`,
  );
  expect(finish().why).toBe('step');

  expect(register('rax')).toBe(0xffff_ffff_ffff_ffffn);
  expect(register('rcx')).toBe(0xffff_ffffn);
  expect(register('rdx')).toBe(0xffn);
  expect(register('rsi')).toBe(1n);
  expect(violations()).toBe(5);
  expect(map().after).toEqual(map().before);
});

test.each(engines)('%s: what one instruction writes into holes it does not read back', (engine) => {
  const { finish, register } = boot(
    engine,
    `
        lea rbp, [rbx + 0x5000]
        mov esp, ebx
        enter 16, 3
        mov rax, [rbp]
        lea rdi, [rbx + 0x800]
        mov ecx, 9 * 4096
        xor eax, eax
        rep stosb
        mov esi, ebx
        mov edi, buffer
        mov ecx, 9 * 4096
        rep movsb
        mov edi, buffer
        mov ecx, 9 * 4096
        mov al, 0xff
        repe scasb
        sete dl
`,
  );
  expect(finish().why).toBe('step');

  expect(register('rcx')).toBe(0n);
  expect((register('rdx') ?? 0n) & 0xffn).toBe(1n);
});

test.each(engines)('%s: an access may begin in RAM and end in a hole', (engine) => {
  const { finish, register, violations } = boot(
    engine,
    `
        mov ebx, RAM_END
        mov rax, 0x1122334455667788
        mov [rbx - 4], rax
        mov rcx, [rbx - 4]
        mov edx, [rbx - 4]
`,
  );
  expect(finish().why).toBe('step');

  expect(register('rcx')).toBe(0xffff_ffff_5566_7788n);
  expect(register('rdx')).toBe(0x5566_7788n);
  expect(violations()).toBe(2);
});

test.each(engines)('%s: an exception whose frame is lost is delivered once', (engine) => {
  const { finish, register } = boot(
    engine,
    `
        set_gate 6, handler
        xor ecx, ecx
        mov esp, ebx
        ud2
handler:
        inc ecx
        pop rax
`,
  );
  expect(finish().why).toBe('step');

  expect(register('rcx')).toBe(1n);
  expect(register('rax')).toBe(0xffff_ffff_ffff_ffffn);
});

test.each(engines)('%s: a paging entry in a hole is not present', (engine) => {
  const { finish, register } = boot(
    engine,
    `
        set_gate 14, handler
        lea rax, [rbx + 3]
        mov [page_directory_pointers + 8], rax
        mov edx, 0x40000000
        mov eax, [rdx]
handler:
        pop rax
        mov rcx, cr2
`,
  );
  expect(finish().why).toBe('step');

  expect(register('rax')).toBe(0n);
  expect(register('rcx')).toBe(0x4000_0000n);
});

test.each(engines)('%s: an instruction at a hole may make another VM exit', (engine) => {
  // IRETQ takes ones for a code segment; that fault can not be delivered, nor the next.
  const { machine } = boot(
    engine,
    `
        mov esp, ebx
        iretq
`,
  );
  expect(machine.run(500_000)).toMatchObject({ why: 'end', reason: 'triple-fault' });
});

test.each(engines)('%s: a frame that is given back is forgotten, whatever led to it', (engine) => {
  const { finish, register } = boot(
    engine,
    `
        set_gate 13, after_call
        set_gate 14, after_walk
        lea r8, [buffer]                        ; data, by two addresses
        take    r8                              ; refused: it has a frame
        lea rax, [buffer + 3 * 4096 + 3]
        mov [page_directory_pointers + 16], rax
        mov qword [buffer + 3 * 4096 + 8], 0xe3
        mov r9d, 0x80200000
        add r9, r8
        mov eax, [r9 + 4096]                    ; makes the walk for [r9] short
        mov eax, [r8]
        mov dword [r8], 7
        mov eax, [r9]
        mov dword [r9], 8
        give    r8
        mov r10d, [r8]
        mov r11d, [r9]
        take    r8
        mov r12d, [r9]
        mov dword [r8], 9
        add r12d, [r9]

        lea r8, [buffer + 4096]                 ; code
        mov byte [r8], 0xc3
        call r8
        give    r8
        call r8
after_call:
        mov r13, [rsp + 8]
        mov esp, stack_top

        lea r8, [buffer + 2 * 4096]             ; a page directory
        lea rax, [r8 + 3]
        mov [page_directory_pointers + 8], rax
        mov qword [r8], 0x83
        mov r9d, 0x40000000
        mov eax, [r9 + 0x100000]
        give    r8
        mov eax, [r9 + 0x100000]
after_walk:
        pop r14
        mov r15, cr2
`,
    `
%macro reserve 2
        mov rax, %2
        shr rax, 12
        mov [gfn], rax
        hypercall __HYPERVISOR_memory_op, %1, reservation
%endmacro
%define give reserve XENMEM_decrease_reservation,
%define take reserve XENMEM_populate_physmap,
section .data
gfn:    dq 0
reservation:
        dq gfn, 1, 0
        dw DOMID_SELF
section .text
`,
  );
  expect(finish().why).toBe('step');

  expect(register('r10')).toBe(0xffff_ffffn);
  expect(register('r11')).toBe(0xffff_ffffn);
  expect(register('r12')).toBe(9n);
  expect(register('r13')).toBe((register('r8') ?? 0n) - 4096n);
  expect(register('r14')).toBe(0n);
  expect(register('r15')).toBe(0x4010_0000n);
});

test('the end of memory is no code: what runs there ends in a triple fault', () => {
  const { machine, register } = boot(
    'interpreter',
    `
        mov eax, RAM_END
        jmp rax
`,
  );
  expect(machine.run(500_000)).toMatchObject({ why: 'end', reason: 'triple-fault' });
  expect(register('rip')).toBe(0x100_0000n);
});
