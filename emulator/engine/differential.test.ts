/**
 * Random programs on both engines: the interpreter with the precise engine behind it, and the
 * precise engine alone. After every random budget registers, flags and all of RAM are the same.
 *
 * A program is chunks of random instructions. A dispatcher resets the pointer registers and jumps to
 * the next chunk; faults come back to it. Code lies among the data, so that programs change
 * themselves; the page tables lie in reach of one pointer, so that they change their own mapping.
 */
import { describe, expect, test } from 'vitest';
import { type Cpu, quad, setQuad, setWord } from '../cpu/cpu.ts';
import { noSecondStage } from '../cpu/paging.ts';
import { readRflagsOf } from '../cpu/rflags.ts';
import * as state from '../cpu/state.ts';
import { createMachineMemory, type MachineMemory } from '../memory/machine-memory.ts';
import { createFastEngine, createReferenceEngine } from './engine.ts';

const RAM_BYTES = 0x2_0000;
const [PML4, PDPT, DIRECTORY, TABLE] = [0x1000, 0x2000, 0x3000, 0x4000];
const [GDT, IDT, STACK_TOP, DISPATCHER, CODE] = [0x5000, 0x5800, 0x8000, 0x9000, 0x9100];
const [POINTERS, DATA] = [0x7800, 0xb000];
const CHUNKS = 16;

/** Mulberry32. */
const createRandom = (seed: number) => {
  let a = seed;
  const next = (): number => {
    a = (a + 0x6d2b_79f5) | 0;
    let t = Math.imul(a ^ (a >>> 15), 1 | a);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return (t ^ (t >>> 14)) >>> 0;
  };
  const below = (limit: number): number => next() % limit;
  const pick = <T>(list: readonly T[]): T => list[below(list.length)] as T;
  return { below, pick, byte: () => below(256) };
};
type Random = ReturnType<typeof createRandom>;

const little = (value: number, bytes: number): number[] =>
  Array.from({ length: bytes }, (_, i) => Math.floor(value / 2 ** (8 * i)) & 0xff);

/** ModRM with an operand mostly in memory near RBX, RBP, RSI, RDI, or a register. */
const modRm = (random: Random, middle: number): number[] => {
  const reg = (middle & 7) << 3;
  const mode = random.below(4);
  if (mode === 3) return [0xc0 | reg | random.below(8)];
  const base = random.pick([3, 5, 6, 7]);
  if (mode === 0 && random.below(3) === 0) return [0x44 | reg, 0x20 | base, random.byte()];
  if (mode === 0) return [0x44 | reg, random.below(4) * 64 + 8 + base, random.byte()];
  return mode === 1
    ? [0x40 | reg | base, random.byte()]
    : [0x80 | reg | base, ...little(random.below(0x800), 4)];
};

type Make = (random: Random, wide: boolean) => number[];
const any: (first: number[], middle?: (random: Random) => number) => Make =
  (first, middle = (random) => random.below(8)) =>
  (random) => [...first, ...modRm(random, middle(random))];
const immediate: (first: number[], middles: readonly number[], bytes: number) => Make =
  (first, middles, bytes) => (random, wide) => [
    ...any(first, (r) => r.pick(middles))(random, wide),
    ...Array.from({ length: bytes }, random.byte),
  ];

const ALL = [0, 1, 2, 3, 4, 5, 6, 7];
const MAKERS: readonly Make[] = [
  (random) => [random.below(8) * 8 + random.below(4), ...modRm(random, random.below(8))],
  (random) => [random.below(8) * 8 + random.below(4), ...modRm(random, random.below(8))],
  immediate([0x80], ALL, 1),
  immediate([0x81], ALL, 4),
  immediate([0x83], ALL, 1),
  ...[0x84, 0x85, 0x86, 0x87, 0x88, 0x89, 0x8a, 0x8b, 0x8d, 0x63].map((code) => any([code])),
  immediate([0xc6], [0], 1),
  immediate([0xc7], [0], 4),
  any([0xfe], (random) => random.below(2)),
  any([0xff], (random) => random.pick([0, 1, 6])),
  any([0xf6], (random) => 2 + random.below(6)),
  any([0xf7], (random) => 2 + random.below(6)),
  immediate([0xc0], ALL, 1),
  immediate([0xc1], ALL, 1),
  ...[0xd0, 0xd1, 0xd2, 0xd3].map((code) => any([code])),
  immediate([0x69], ALL, 4),
  immediate([0x6b], ALL, 1),
  ...[0xaf, 0xb6, 0xb7, 0xbe, 0xbf, 0xa3, 0xab, 0xb3, 0xbb, 0xa5, 0xad, 0xbc, 0xbd, 0xb0, 0xb1].map(
    (code) => any([0x0f, code]),
  ),
  any([0x0f, 0xc1]),
  immediate([0x0f, 0xba], [4, 5, 6, 7], 1),
  immediate([0x0f, 0xa4], ALL, 1),
  immediate([0x0f, 0xac], ALL, 1),
  (random) => [0x0f, 0x40 + random.below(16), ...modRm(random, random.below(8))],
  (random) => [0x0f, 0x90 + random.below(16), ...modRm(random, 0)],
  (random) => [0x0f, 0xc8 + random.below(8)],
  (random) => [random.pick([0x50, 0x58]) + random.below(8)],
  (random) => [0x70 + random.below(16), random.below(12)],
  (random) => [random.pick([0xe0, 0xe1, 0xe2, 0xe3]), random.below(8)],
  (random) => [0xe8, random.below(6), 0, 0, 0],
  (random) => [random.pick([0xa4, 0xa5, 0xaa, 0xab, 0xac, 0xad, 0xa6, 0xa7, 0xae, 0xaf])],
  (random) => [random.pick([0x98, 0x99, 0x9c, 0x9d, 0x9e, 0x9f, 0xf5, 0xf8, 0xf9, 0xfc, 0xc9])],
  (random) => [0xb0 + random.below(8), random.byte()],
];

const instruction = (random: Random): number[] => {
  const repeats = random.below(40) === 0;
  if (repeats) {
    // A short count first.
    const string = random.pick([0xa4, 0xa5, 0xaa, 0xab, 0xac, 0xa6, 0xae]);
    return [0xb1, random.byte(), random.pick([0xf2, 0xf3]), string];
  }
  const prefixes: number[] = [];
  if (random.below(8) === 0) prefixes.push(0x66);
  if (random.below(25) === 0) prefixes.push(random.pick([0x64, 0x65]));
  const wide = prefixes[0] === 0x66 && prefixes.length === 1;
  if (random.below(2) === 0) prefixes.push(0x40 | (random.byte() & (wide ? 5 : 0xd)));
  return [...prefixes, ...random.pick(MAKERS)(random, wide)];
};

/** mov r64, imm32 */
const setRegister = (register: number, value: number): number[] => [
  0x48 | (register >> 3),
  0xc7,
  0xc0 | (register & 7),
  ...little(value, 4),
];

const dispatcher = (random: Random): number[] => [
  ...setRegister(4, STACK_TOP - 0x100),
  ...setRegister(3, DATA + random.below(0x1000)),
  ...setRegister(5, STACK_TOP - 0x400 + random.below(0x800)),
  ...setRegister(6, CODE + random.below(0x1000)),
  ...setRegister(7, random.pick([DATA + 0x2ff0, TABLE, CODE, DATA])),
  ...setRegister(1, random.below(64)),
  // inc dword [POINTERS + 0x200]; mov eax, [same]; and eax, 15; jmp [rax * 8 + POINTERS]
  ...[0xff, 0x04, 0x25, ...little(POINTERS + 0x200, 4)],
  ...[0x8b, 0x04, 0x25, ...little(POINTERS + 0x200, 4)],
  ...[0x83, 0xe0, CHUNKS - 1],
  ...[0xff, 0x24, 0xc5, ...little(POINTERS, 4)],
];

const jumpTo = (from: number, to: number): number[] => [0xe9, ...little(to - from - 5, 4)];

const layOut = (memory: MachineMemory, seed: number): void => {
  const random = createRandom(seed);
  const put = (at: number, bytes: readonly number[]) => memory.bytes.set(bytes, state.RAM + at);
  const putQuad = (at: number, value: bigint) => {
    memory.view.setBigUint64(state.RAM + at, value, true);
  };
  putQuad(PML4, BigInt(PDPT) | 3n);
  putQuad(PDPT, BigInt(DIRECTORY) | 3n);
  putQuad(DIRECTORY, BigInt(TABLE) | 3n);
  for (let page = 0; page < RAM_BYTES >>> 12; page += 1) {
    putQuad(TABLE + page * 8, (BigInt(page) << 12n) | (page === 0x10 ? 1n : 3n));
  }
  putQuad(GDT + 8, 0x00af_9b00_0000_ffffn);
  putQuad(GDT + 16, 0x00cf_9300_0000_ffffn);
  for (let vector = 0; vector < 32; vector += 1) {
    putQuad(IDT + vector * 16, BigInt(DISPATCHER) | (8n << 16n) | (0x8e00n << 32n));
  }
  put(DISPATCHER, dispatcher(random));
  let at = CODE;
  for (let chunk = 0; chunk < CHUNKS; chunk += 1) {
    putQuad(POINTERS + chunk * 8, BigInt(at));
    for (let i = 3 + random.below(12); i > 0; i -= 1) {
      const bytes = instruction(random);
      put(at, bytes);
      at += bytes.length;
    }
    put(at, jumpTo(at, DISPATCHER));
    // Some chunks cross a page.
    at += 5 + (random.below(4) === 0 ? 0x800 : random.below(16));
  }
  for (let i = 0; i < 0x3000; i += 1) put(DATA + 0x2000 + i, [random.byte()]);
};

interface Driver {
  readonly cpu: Cpu;
  /** Runs this many instructions and deliveries. */
  run(budget: number): void;
}

const createDriver = (seed: number, isFast: boolean): Driver => {
  const memory = createMachineMemory(RAM_BYTES);
  layOut(memory, seed);
  const cpu: Cpu = {
    memory,
    stage: noSecondStage,
    nonRoot: undefined,
    instructionLength: 0,
    delivering: 0,
    deliveringErrorCode: 0,
    timeStamp: () => 0n,
    invalidate: () => {},
    noteWrite: (host, lengthBytes) => engine.noteWrite(host, lengthBytes),
    remembered: (linear, access) => engine.remembered(linear, access),
  };
  setQuad(cpu, state.CR0, 0x8001_0031n);
  setQuad(cpu, state.CR3, BigInt(PML4));
  setQuad(cpu, state.CR4, 0x20n);
  setQuad(cpu, state.EFER, 0x500n);
  setQuad(cpu, state.GDTR_BASE, BigInt(GDT));
  setQuad(cpu, state.GDTR_LIMIT, 0xffn);
  setQuad(cpu, state.IDTR_BASE, BigInt(IDT));
  setQuad(cpu, state.IDTR_LIMIT, 0x1ffn);
  for (let segment = 0; segment < 6; segment += 1) {
    setQuad(cpu, state.segmentSelector(segment), segment === state.CS ? 8n : 16n);
    setQuad(cpu, state.segmentLimit(segment), 0xffff_ffffn);
    setQuad(cpu, state.segmentAccess(segment), segment === state.CS ? 0xa09bn : 0xc093n);
  }
  setQuad(cpu, state.segmentBase(state.FS), 0x40n);
  setQuad(cpu, state.RFLAGS_REST, 2n);
  setQuad(cpu, state.RIP, BigInt(DISPATCHER));
  setWord(cpu, state.CODE_WIDTH, 64);
  const engine = (isFast ? createFastEngine : createReferenceEngine)(cpu);
  return {
    cpu,
    run(budget) {
      engine.begin();
      for (let exits = 0; engine.steps + exits < budget; ) {
        let result = engine.advance(budget - engine.steps - exits, true);
        if (result === 'cpuid') result = engine.finishCpuid();
        if (result === 'shutdown' || result === 'halted') return;
        if (result === 'exit') exits += 1;
      }
    },
  };
};

const stateOf = ({ cpu }: Driver) => ({
  registers: Array.from({ length: 16 }, (_, i) => quad(cpu, state.registerSlot(i)).toString(16)),
  rip: quad(cpu, state.RIP).toString(16),
  rflags: readRflagsOf(cpu).toString(16),
  cr2: quad(cpu, state.CR2).toString(16),
});

const ramOf = ({ cpu }: Driver) => cpu.memory.bytes.subarray(state.RAM, state.RAM + RAM_BYTES);

const compare = (seed: number, rounds: number): void => {
  const reference = createDriver(seed, false);
  const fast = createDriver(seed, true);
  const random = createRandom(seed ^ 0x5555);
  for (let round = 0; round < rounds; round += 1) {
    const budget = 1 + random.below(random.below(4) === 0 ? 400 : 20);
    reference.run(budget);
    fast.run(budget);
    const where = { seed, round, budget };
    expect({ ...where, ...stateOf(fast) }).toEqual({ ...where, ...stateOf(reference) });
    if (Buffer.compare(ramOf(fast), ramOf(reference)) === 0) continue;
    const at = ramOf(fast).findIndex((byte, i) => byte !== ramOf(reference)[i]);
    expect.fail(`Byte 0x${at.toString(16)} of RAM differs: ${JSON.stringify(where)}.`);
  }
};

const [FIRST_SEED, SEEDS] = [1, 30];

describe('random programs', () => {
  test(`seeds ${FIRST_SEED} to ${FIRST_SEED + SEEDS - 1} end alike on both engines`, () => {
    for (let seed = FIRST_SEED; seed < FIRST_SEED + SEEDS; seed += 1) compare(seed, 40);
  });
});
