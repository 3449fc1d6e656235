/**
 * The same guest with EPT and with shadow page tables: a program that changes page tables, control
 * registers and memory at random, in supervisor and user mode, and logs every exception. Memory, with
 * all accessed and dirty bits, registers and instruction counts end equal.
 */
import { readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { expect, test } from 'vitest';
import { assemble } from '../../assembler/index.ts';
import { createMachine, type Machine } from '../../emulator/index.ts';

const samples = join(dirname(dirname(dirname(fileURLToPath(import.meta.url)))), 'samples');
const readFile = (path: string) => {
  const place = join(samples, 'include', path);
  return { path: place, bytes: readFileSync(place) };
};
const guest = readFileSync(
  join(dirname(fileURLToPath(import.meta.url)), 'page-table-changes.asm'),
  'utf8',
);

const MEMORY = 16 << 20;
const TABLES = 0x80_0000;
const TABLE_COUNT = 10;
const DATA = 0x81_0000;
const DATA_COUNT = 6;
const ROOTS = 0x82_0000;
const SCRIPT = 0x40_0000;
const OPERATIONS = 24;
/**
 * The delivery of an interrupt onto tables that map the stack itself is not tried: whether its later
 * pushes go by the entries that its first has changed is up to the processor (SDM Vol. 3A 4.10.4.4
 * "Delayed Invalidation").
 */
const INTERRUPT_STACK = 22;

/** Numbers from a seed: xorshift. */
const randomOf = (seed: number) => {
  let state = (seed * 0x9e37_79b9) | 1;
  const next = (): number => {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    return state >>> 0;
  };
  const below = (limit: number): number => next() % limit;
  const pick = <T>(from: readonly T[]): T => from[below(from.length)] as T;
  return { next, below, pick };
};
type Random = ReturnType<typeof randomOf>;

const INDEXES = [0, 1, 511];
const addressOf = ({ below, pick }: Random): bigint => {
  const index = (shift: number): bigint => BigInt(pick(INDEXES)) << BigInt(shift);
  const top = BigInt(128 + below(2)) << 39n;
  const offset = below(4) === 0 ? pick([0xffc, 0xff9, 0xfff]) : below(512) * 8;
  const address = top | index(30) | index(21) | index(12) | BigInt(offset);
  return BigInt.asUintN(64, BigInt.asIntN(48, address));
};

/** Mostly sensible entries: present, with a table or a page; some with reserved bits, holes, no A. */
const entryOf = ({ below, pick }: Random): bigint => {
  const frame = pick([
    ...Array.from({ length: TABLE_COUNT }, (_, index) => TABLES + index * 4096),
    ...Array.from({ length: DATA_COUNT }, (_, index) => DATA + index * 4096),
    ...Array.from({ length: TABLE_COUNT }, (_, index) => TABLES + index * 4096),
    ROOTS,
    ROOTS,
    below(3) === 0 ? 0x3000_0000 : TABLES,
    0x80_0000,
  ]);
  let entry = BigInt(frame);
  for (const [bit, percent] of ENTRY_BITS) if (below(100) < percent) entry |= 1n << BigInt(bit);
  return entry;
};

/** How often bits are set, in percent: 51 and 12 are reserved, or the frame's. */
const ENTRY_BITS = [
  [0, 94],
  [1, 80],
  [2, 75],
  [5, 50],
  [6, 50],
  [7, 12],
  [8, 30],
  [12, 2],
  [51, 1],
  [63, 7],
] as const;

const scriptOf = (random: Random, count: number): Uint8Array => {
  const { below, pick } = random;
  const bytes = new Uint8Array((count + 1) * 32);
  const view = new DataView(bytes.buffer);
  for (let at = 0; at < count; at += 1) {
    // Entries are written often, by their physical addresses.
    const isRoot = at < 4;
    const operation = isRoot || below(5) === 0 ? 1 : 1 + below(OPERATIONS);
    const isEntry = operation === 1 || below(3) === 0;
    const index = pick(INDEXES);
    const place = isRoot
      ? ROOTS + (at & 1) * 4096 + (128 + (at >> 1)) * 8
      : below(8) === 0
        ? ROOTS + below(2) * 4096 + (128 + below(2)) * 8
        : TABLES + below(TABLE_COUNT) * 4096 + index * 8;
    const stack = pick([TABLES, TABLES, DATA, 0x3000_0000]) + below(6) * 4096 + below(512) * 8;
    const address =
      operation === 1
        ? BigInt(place)
        : operation === INTERRUPT_STACK
          ? BigInt(stack)
          : addressOf(random);
    view.setBigUint64(at * 32, BigInt(operation), true);
    view.setBigUint64(at * 32 + 8, address, true);
    view.setBigUint64(at * 32 + 16, isEntry ? entryOf(random) : BigInt(random.next()), true);
    view.setBigUint64(at * 32 + 24, BigInt(1 + below(40)), true);
  }
  return bytes;
};

const { bytes: program, diagnostics } = assemble(guest, {
  path: join(samples, 'page-table-changes.asm'),
  readFile,
});

const boot = (seed: number, hap: boolean, engine: 'interpreter' | 'reference', pages?: number) => {
  const machine = createMachine({
    engine,
    domains: [
      {
        name: 'guest',
        program,
        memoryBytes: MEMORY,
        hap,
        ...(pages === undefined ? {} : { shadowMemoryBytes: pages * 4096 }),
      },
    ],
  });
  const random = randomOf(seed);
  const poke = (address: number, bytes: Uint8Array) =>
    expect(machine.pokeMemory({ kind: 'gpa', domain: 1 }, BigInt(address), bytes)).toBeUndefined();
  poke(SCRIPT, scriptOf(random, 300));
  for (let table = 0; table < TABLE_COUNT; table += 1) {
    const entries = new BigUint64Array(512);
    for (const index of INDEXES) entries[index] = entryOf(random);
    poke(TABLES + table * 4096, new Uint8Array(entries.buffer));
  }
  for (let page = 0; page < DATA_COUNT; page += 1) {
    poke(DATA + page * 4096, new Uint8Array(4096).fill(page % 2 === 0 ? 0xc3 : page));
  }
  return machine;
};

const REGISTERS = ['rax', 'rcx', 'rdx', 'rbx', 'rsp', 'rbp', 'rsi', 'rdi', 'rip', 'rflags', 'cr2'];

const stateOf = (machine: Machine) => {
  const vcpu = machine.domains[0]?.vcpus[0];
  return {
    retired: machine.retired,
    registers: REGISTERS.map((name) => [name, vcpu?.register(name)]),
    cr3: vcpu?.register('cr3'),
    mode: vcpu?.mode,
    segments: vcpu?.segments(),
  };
};

const firstDifference = (a: Uint8Array, b: Uint8Array): string | undefined => {
  if (Buffer.compare(a, b) === 0) return undefined;
  const at = a.findIndex((byte, index) => byte !== b[index]);
  const quad = (bytes: Uint8Array) =>
    new DataView(bytes.buffer, bytes.byteOffset).getBigUint64(at & ~7, true).toString(16);
  return `gpa 0x${at.toString(16)}: with EPT ${quad(a)}, with shadow tables ${quad(b)}`;
};

const memoryOf = (machine: Machine): Uint8Array =>
  machine.peekMemory({ kind: 'gpa', domain: 1 }, 0n, MEMORY).bytes;

const compare = (seed: number, engine: 'interpreter' | 'reference', pages?: number): void => {
  expect(diagnostics).toEqual([]);
  const ept = boot(seed, true, engine);
  const shadow = boot(seed, false, engine, pages);
  for (const budget of [900, 1700, 40_000]) {
    const stop = ept.run(budget);
    const other = shadow.run(budget);
    const words = `seed ${seed} after ${ept.retired} instructions`;
    expect(other.why, words).toBe(stop.why);
    expect(stateOf(shadow), words).toEqual(stateOf(ept));
    expect(firstDifference(memoryOf(ept), memoryOf(shadow)), words).toBeUndefined();
    if (stop.why === 'end') return;
  }
};

/** More seeds than usual: SHADOW_SEED is the first, SHADOW_SEEDS their number. */
const FIRST = Number(process.env.SHADOW_SEED ?? 1);
const COUNT = Number(process.env.SHADOW_SEEDS ?? 8);
const seeds = Array.from({ length: COUNT }, (_, index) => FIRST + index);

test.each(seeds)('seed %i', (seed) => {
  compare(seed, 'interpreter');
});

test.each(seeds.slice(0, COUNT / 2).map((seed) => seed + 1000))(
  'seed %i, with few shadow pages',
  (seed) => {
    compare(seed, 'interpreter', 32);
  },
);

test.each(seeds.slice(0, COUNT / 4).map((seed) => seed + 2000))(
  'seed %i, on the reference',
  (seed) => {
    compare(seed, 'reference');
  },
);
