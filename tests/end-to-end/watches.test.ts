/** Data breakpoints: what is watched, on both engines, whatever way memory is accessed. */
import { readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { expect, test } from 'vitest';
import { assemble } from '../../assembler/index.ts';
import { createMachine, type DataBreakpoint, type MachineEvent } from '../../emulator/index.ts';

type Access = Extract<MachineEvent, { kind: 'memory-access' }>;

const samples = join(dirname(dirname(dirname(fileURLToPath(import.meta.url)))), 'samples');
const readFile = (path: string) => {
  const place = join(samples, 'include', path);
  return { path: place, bytes: readFileSync(place) };
};

/** RBX is 0xa00000, free memory that is mapped one to one. */
const guest = (body: string) => `
%include "boot.inc"
main:   mov ebx, 0xa00000
        mov rbp, rsp
start:
${body}
        mov rsp, rbp
        ret
section .data
align 4096
table:  times 512 dq 0
upper:  times 512 dq 0
`;

const bootOn = (engine: 'interpreter' | 'reference', body: string) => {
  const { bytes, symbols, diagnostics } = assemble(guest(body), {
    path: join(samples, 'guest.asm'),
    readFile,
  });
  expect(diagnostics).toEqual([]);
  const machine = createMachine({
    engine,
    domains: [{ name: 'guest', program: bytes, memoryBytes: 16 << 20 }],
  });
  const symbol = (name: string) => symbols.find((one) => one.name === name)?.address ?? 0n;
  const start = symbol('start');
  machine.stepTo(1, 0, { rip: start, rsp: 0n }, 10_000);
  expect(machine.domains[0]?.vcpus[0]?.rip).toBe(start);
  return { machine, start, symbol };
};

const watch = (
  engine: 'interpreter' | 'reference',
  body: string,
  place: Omit<DataBreakpoint, 'kind'>,
) => {
  const { machine, start } = bootOn(engine, body);
  const seen: Access[] = [];
  const { problem } = machine.breakpoints.add(
    { kind: 'data', ...place },
    { log: ({ event }) => event?.kind === 'memory-access' && seen.push(event) },
  );
  expect(problem).toBeUndefined();
  expect(machine.run(100_000)).toMatchObject({ why: 'end', reason: 'poweroff' });
  return seen.map(({ rip, write, by, lengthBytes, value, oldValue, gva }) => ({
    at: Number(rip - start),
    write,
    by,
    lengthBytes,
    value,
    oldValue,
    gva,
  }));
};

const engines = ['interpreter', 'reference'] as const;
const SPACES = ['gva', 'gpa'] as const;

const BODY = `
        mov dword [rbx], 0x11
        mov eax, [rbx]
        add word [rbx + 2], 0x22
        mov qword [rbx - 4], -1
        mov al, [rbx - 1]
        mov byte [rbx + 4], 7
        push qword [rbx]
        mov ecx, 3
        mov edi, 0x9ffffc
        mov esi, 0xa10000
        rep movsd
`;
const OFFSETS = { first: 0, load: 6, rmw: 8, crossing: 13, push: 28, rep: 45 };

test.each(engines.flatMap((engine) => SPACES.map((space) => [engine, space] as const)))(
  '%s: reads and writes of a %s range, with their values',
  (engine, space) => {
    const seen = watch(engine, BODY, {
      space,
      address: 0xa0_0000n,
      lengthBytes: 4,
      access: 'readWrite',
      domain: 1,
    });
    const common = { by: 'instruction' };
    expect(seen).toEqual([
      {
        ...common,
        at: OFFSETS.first,
        write: true,
        lengthBytes: 4,
        value: 0x11n,
        oldValue: 0n,
        gva: 0xa0_0000n,
      },
      {
        ...common,
        at: OFFSETS.load,
        write: false,
        lengthBytes: 4,
        value: 0x11n,
        oldValue: undefined,
        gva: 0xa0_0000n,
      },
      {
        ...common,
        at: OFFSETS.rmw,
        write: true,
        lengthBytes: 2,
        value: 0x22n,
        oldValue: 0n,
        gva: 0xa0_0002n,
      },
      {
        ...common,
        at: OFFSETS.crossing,
        write: true,
        lengthBytes: 8,
        value: 0xffff_ffff_ffff_ffffn,
        oldValue: 0x0022_0011_0000_0000n,
        gva: 0x9f_fffcn,
      },
      {
        ...common,
        at: OFFSETS.push,
        write: false,
        lengthBytes: 8,
        value: 0x7_ffff_ffffn,
        oldValue: undefined,
        gva: 0xa0_0000n,
      },
      {
        ...common,
        at: OFFSETS.rep,
        write: true,
        lengthBytes: 4,
        value: 0n,
        oldValue: 0xffff_ffffn,
        gva: 0xa0_0000n,
      },
    ]);
  },
);

test.each(engines)('%s: only writes, or only reads', (engine) => {
  const place = { space: 'gva', address: 0xa0_0000n, lengthBytes: 4, domain: 1 } as const;
  const writes = watch(engine, BODY, { ...place, access: 'write' });
  const reads = watch(engine, BODY, { ...place, access: 'read' });

  expect(writes.map(({ at }) => at)).toEqual([
    OFFSETS.first,
    OFFSETS.rmw,
    OFFSETS.crossing,
    OFFSETS.rep,
  ]);
  expect(reads.map(({ at }) => at)).toEqual([OFFSETS.load, OFFSETS.rmw, OFFSETS.push]);
  expect(reads.every(({ write }) => !write)).toBe(true);
});

test.each(engines)(
  '%s: a machine address sees aliases, and the processor setting A and D',
  (engine) => {
    // Maps the page of RBX at 0x40000000, too, and writes there.
    const body = `
        lea rax, [upper + 3]
        mov [page_directory_pointers + 8], rax
        lea rax, [table + 3]
        mov [upper], rax
        lea rax, [rbx + 3]
        mov [table], rax
        mov edx, 0x40000000
        mov dword [rdx], 5
        mov dword [rdx + 4], 6
  `;
    const { machine, symbol } = bootOn(engine, body);
    const table = symbol('table');
    const seen: Access[] = [];
    for (const address of [0xa0_0000n, table]) {
      machine.breakpoints.add(
        {
          kind: 'data',
          space: 'maddr',
          address: BigInt(machine.walk(1, 0, address).maddr ?? 0),
          lengthBytes: 8,
          access: 'write',
        },
        { log: ({ event }) => event?.kind === 'memory-access' && seen.push(event) },
      );
    }
    machine.run(100_000);

    const entry = 0xa0_0003n;
    expect(seen.map(({ by, gva, value, oldValue }) => [by, gva, value, oldValue])).toEqual([
      ['instruction', table, entry, 0n],
      ['page walk', 0x4000_0000n, undefined, entry],
      ['instruction', 0x4000_0000n, 5n, 0n],
      ['instruction', 0x4000_0004n, 6n, 0n],
    ]);
  },
);

test.each(engines)('%s: the hypervisor writes into guest memory, too', (engine) => {
  const XENVER_EXTRAVERSION = 1;
  const body = `hypercall __HYPERVISOR_xen_version, ${XENVER_EXTRAVERSION}, rbx`;
  const seen = watch(engine, body, {
    space: 'gpa',
    address: 0xa0_0000n,
    lengthBytes: 1,
    access: 'write',
    domain: 1,
  });

  expect(seen).toMatchObject([{ by: 'hypervisor', write: true, lengthBytes: 16, gva: undefined }]);
});

test.each(engines)(
  '%s: a stop comes after the instruction, and the run goes on behind it',
  (engine) => {
    const { machine, start } = bootOn(engine, BODY);
    const { id } = machine.breakpoints.add({
      kind: 'data',
      space: 'gva',
      address: 0xa0_0000n,
      lengthBytes: 1,
      access: 'write',
      domain: 1,
    });
    const stops = [0, 1, 2, 3].map(() => machine.run(100_000));

    expect(stops.map((stop) => stop.why)).toEqual(['event', 'event', 'event', 'end']);
    expect(stops[0]).toMatchObject({ ids: [id], event: { kind: 'memory-access', rip: start } });
  },
);

test('a watched instruction that faults has not accessed', () => {
  // The second operand of the comparison is not mapped; the fault has no handler.
  const body = `
        mov esi, 0xa00000
        mov edi, 0x80000000
        cmpsd
  `;
  for (const engine of engines) {
    const { machine } = bootOn(engine, body);
    const seen: MachineEvent[] = [];
    machine.breakpoints.add(
      {
        kind: 'data',
        space: 'gva',
        address: 0xa0_0000n,
        lengthBytes: 4,
        access: 'read',
        domain: 1,
      },
      { log: ({ event }) => event !== undefined && seen.push(event) },
    );
    expect(machine.run(100_000)).toMatchObject({ why: 'end', reason: 'triple-fault' });
    expect(seen).toEqual([]);
  }
});

test.each([
  [{ space: 'maddr', address: 1n << 40n, lengthBytes: 1 }, /Machine memory ends/],
  [{ space: 'gva', address: 1n << 60n, lengthBytes: 1 }, /not canonical/],
  [{ space: 'gpa', address: 0n, lengthBytes: 1 }, /Name a domain/],
  [{ space: 'gpa', address: 0n, lengthBytes: 1, domain: 7 }, /no domain 7/],
  [{ space: 'gva', address: 0n, lengthBytes: 0 }, /at least one byte/],
] as const)('%o can not bind', (place, problem) => {
  const { machine } = bootOn('reference', '');

  expect(machine.breakpoints.add({ kind: 'data', access: 'write', ...place }).problem).toMatch(
    problem,
  );
});
