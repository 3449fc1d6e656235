/**
 * Random programs on both engines: the interpreter with the precise engine behind it, and the
 * precise engine alone. After every random budget registers, flags, segments and all of RAM are the
 * same.
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
import { createRandom, little, type Random } from './random.ts';
import { instruction } from './random-instructions.ts';

const RAM_BYTES = 0x2_0000;
const [PML4, PDPT, DIRECTORY, TABLE] = [0x1000, 0x2000, 0x3000, 0x4000];
const [GDT, IDT, STACK_TOP, DISPATCHER, CODE] = [0x5000, 0x5800, 0x8000, 0x9000, 0x9100];
const [POINTERS, DATA, LONG_STUB] = [0x7800, 0xb000, 0x5f00];
const CHUNKS = 16;
const [CODE_64, FLAT, CODE_32] = [0x08, 0x10, 0x18];

/** A mode of the processor. */
interface Mode {
  readonly name: string;
  readonly codeWidth: 32 | 64;
  readonly cr0: bigint;
  readonly cr3: number;
  readonly cr4: bigint;
  readonly efer: bigint;
  readonly paging: 'none' | 'levels 2' | 'levels 3' | 'levels 4';
}

const ON = 0x8001_0031n;
const MODES: readonly Mode[] = [
  {
    name: '64-bit mode',
    codeWidth: 64,
    ...{ cr0: ON, cr3: PML4, cr4: 0x20n, efer: 0x500n, paging: 'levels 4' },
  },
  {
    name: 'compatibility mode',
    codeWidth: 32,
    ...{ cr0: ON, cr3: PML4, cr4: 0x20n, efer: 0x500n, paging: 'levels 4' },
  },
  {
    name: '32-bit mode with PAE',
    codeWidth: 32,
    ...{ cr0: ON, cr3: PDPT, cr4: 0x20n, efer: 0n, paging: 'levels 3' },
  },
  {
    name: '32-bit mode with paging',
    codeWidth: 32,
    ...{ cr0: ON, cr3: DIRECTORY, cr4: 0n, efer: 0n, paging: 'levels 2' },
  },
  {
    name: '32-bit mode without paging',
    codeWidth: 32,
    ...{ cr0: 0x31n, cr3: 0, cr4: 0n, efer: 0n, paging: 'none' },
  },
];
const isLongMode = ({ efer }: Mode): boolean => efer !== 0n;

/** mov r, imm32 */
const setRegister = (register: number, value: number, codeWidth: 32 | 64): number[] => [
  ...(codeWidth === 64 ? [0x48 | (register >> 3)] : []),
  0xc7,
  0xc0 | (register & 7),
  ...little(value, 4),
];

const dispatcher = (random: Random, codeWidth: 32 | 64): number[] => {
  const set = (register: number, value: number) => setRegister(register, value, codeWidth);
  // mov ds, eax; mov es, eax: random instructions of 32-bit code load them.
  const segments = codeWidth === 64 ? [] : [...set(0, FLAT), 0x8e, 0xd8, 0x8e, 0xc0];
  return [
    ...segments,
    ...set(4, STACK_TOP - 0x100),
    ...set(3, DATA + random.below(0x1000)),
    ...set(5, STACK_TOP - 0x400 + random.below(0x800)),
    ...set(6, CODE + random.below(0x1000)),
    ...set(7, random.pick([DATA + 0x2ff0, TABLE, CODE, DATA])),
    ...set(1, random.below(64)),
    // inc dword [POINTERS + 0x200]; mov eax, [same]; and eax, 15; jmp [rax * 8 + POINTERS]
    ...[0xff, 0x04, 0x25, ...little(POINTERS + 0x200, 4)],
    ...[0x8b, 0x04, 0x25, ...little(POINTERS + 0x200, 4)],
    ...[0x83, 0xe0, CHUNKS - 1],
    ...[0xff, 0x24, 0xc5, ...little(POINTERS, 4)],
  ];
};

/** Code of 64 bits that goes on with the dispatcher of 32 bits, by IRETQ. */
const longStub = (): number[] => [
  ...setRegister(4, STACK_TOP - 0x100, 64),
  ...[0x6a, FLAT, 0x68, ...little(STACK_TOP - 0x100, 4), 0x9c, 0x6a, CODE_32],
  ...[0x68, ...little(DISPATCHER, 4), 0x48, 0xcf],
];

const jumpTo = (from: number, to: number): number[] => [0xe9, ...little(to - from - 5, 4)];

const layOut = (memory: MachineMemory, seed: number, mode: Mode): void => {
  const random = createRandom(seed);
  const { codeWidth } = mode;
  const put = (at: number, bytes: readonly number[]) => memory.bytes.set(bytes, state.RAM + at);
  const putQuad = (at: number, value: bigint) => {
    memory.view.setBigUint64(state.RAM + at, value, true);
  };
  const putWord = (at: number, value: number) => put(at, little(value, 4));
  putQuad(PML4, BigInt(PDPT) | 3n);
  putQuad(PDPT, BigInt(DIRECTORY) | (mode.paging === 'levels 3' ? 1n : 3n));
  putQuad(DIRECTORY, BigInt(TABLE) | 3n);
  for (let page = 0; page < RAM_BYTES >>> 12; page += 1) {
    const rights = page === 0x10 ? 1 : 3;
    if (mode.paging === 'levels 2') putWord(TABLE + page * 4, page * 4096 + rights);
    else putQuad(TABLE + page * 8, BigInt(page * 4096 + rights));
  }
  putQuad(GDT + CODE_64, 0x00af_9b00_0000_ffffn);
  putQuad(GDT + FLAT, 0x00cf_9300_0000_ffffn);
  putQuad(GDT + CODE_32, 0x00cf_9b00_0000_ffffn);
  // With a base and a limit of 64 KiB; and expanding down, above the first 48 KiB.
  putQuad(GDT + 0x28, 0x0040_9300_0100_ffffn);
  putQuad(GDT + 0x30, 0x0040_9700_0000_bfffn);
  const handler = BigInt(isLongMode(mode) && codeWidth === 32 ? LONG_STUB : DISPATCHER);
  const selector = BigInt(isLongMode(mode) ? CODE_64 : CODE_32);
  for (let vector = 0; vector < 32; vector += 1) {
    const at = IDT + vector * (isLongMode(mode) ? 16 : 8);
    putQuad(at, handler | (selector << 16n) | (0x8e00n << 32n));
  }
  put(LONG_STUB, longStub());
  put(DISPATCHER, dispatcher(random, codeWidth));
  let at = CODE;
  for (let chunk = 0; chunk < CHUNKS; chunk += 1) {
    putQuad(POINTERS + chunk * 8, BigInt(at));
    for (let i = 3 + random.below(12); i > 0; i -= 1) {
      const bytes = instruction(random, codeWidth);
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
  /** Begins another program. */
  start(seed: number): void;
  /** Runs this many instructions and deliveries; whether the program can go on. */
  run(budget: number): boolean;
}

const resetCpu = (cpu: Cpu, mode: Mode): void => {
  cpu.memory.bytes.fill(0, state.WINDOW, state.WINDOW_END);
  setQuad(cpu, state.CR0, mode.cr0);
  setQuad(cpu, state.CR3, BigInt(mode.cr3));
  setQuad(cpu, state.CR4, mode.cr4);
  setQuad(cpu, state.EFER, mode.efer);
  if (mode.paging === 'levels 3') setQuad(cpu, state.PDPTES, BigInt(DIRECTORY) | 1n);
  setQuad(cpu, state.GDTR_BASE, BigInt(GDT));
  setQuad(cpu, state.GDTR_LIMIT, 0xffn);
  setQuad(cpu, state.IDTR_BASE, BigInt(IDT));
  setQuad(cpu, state.IDTR_LIMIT, 0x1ffn);
  for (let segment = 0; segment < 6; segment += 1) {
    const isCode = segment === state.CS;
    const selector = !isCode ? FLAT : mode.codeWidth === 64 ? CODE_64 : CODE_32;
    const codeRights = mode.codeWidth === 64 ? 0xa09bn : 0xc09bn;
    setQuad(cpu, state.segmentSelector(segment), BigInt(selector));
    setQuad(cpu, state.segmentLimit(segment), 0xffff_ffffn);
    setQuad(cpu, state.segmentAccess(segment), isCode ? codeRights : 0xc093n);
  }
  setQuad(cpu, state.segmentBase(state.FS), 0x40n);
  setQuad(cpu, state.segmentLimit(state.GS), 0xb800n);
  setQuad(cpu, state.RFLAGS_REST, 2n);
  setQuad(cpu, state.RIP, BigInt(DISPATCHER));
  setWord(cpu, state.CODE_WIDTH, mode.codeWidth);
};

const createDriver = (isFast: boolean, mode: Mode): Driver => {
  const memory = createMachineMemory(RAM_BYTES);
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
  const engine = (isFast ? createFastEngine : createReferenceEngine)(cpu);
  return {
    cpu,
    start(seed) {
      memory.bytes.fill(0, state.RAM, state.RAM + RAM_BYTES);
      layOut(memory, seed, mode);
      engine.noteWrite(state.RAM, RAM_BYTES);
      resetCpu(cpu, mode);
      engine.begin();
    },
    run(budget) {
      engine.begin();
      for (let exits = 0; engine.steps + exits < budget; ) {
        let result = engine.advance(budget - engine.steps - exits, true);
        if (result === 'cpuid') result = engine.finishCpuid();
        if (result === 'shutdown' || result === 'halted') return false;
        if (result === 'exit') exits += 1;
      }
      return true;
    },
  };
};

const stateOf = ({ cpu }: Driver) => ({
  registers: Array.from({ length: 16 }, (_, i) => quad(cpu, state.registerSlot(i)).toString(16)),
  rip: quad(cpu, state.RIP).toString(16),
  rflags: readRflagsOf(cpu).toString(16),
  cr2: quad(cpu, state.CR2).toString(16),
  selectors: Array.from({ length: 6 }, (_, i) => quad(cpu, state.segmentSelector(i)).toString(16)),
});

const ramOf = ({ cpu }: Driver) => cpu.memory.bytes.subarray(state.RAM, state.RAM + RAM_BYTES);

/** One program on both, until it can not go on. */
const compare = (reference: Driver, fast: Driver, seed: number): void => {
  reference.start(seed);
  fast.start(seed);
  const random = createRandom(seed ^ 0x5555);
  for (let round = 0, goesOn = true; goesOn && round < ROUNDS; round += 1) {
    const budget = 1 + random.below(random.below(4) === 0 ? 400 : 20);
    goesOn = reference.run(budget);
    const where = { seed, round, budget, goesOn };
    expect({ ...where, goesOn: fast.run(budget), ...stateOf(fast) }).toEqual({
      ...where,
      ...stateOf(reference),
    });
    if (Buffer.compare(ramOf(fast), ramOf(reference)) === 0) continue;
    const at = ramOf(fast).findIndex((byte, i) => byte !== ramOf(reference)[i]);
    expect.fail(`Byte 0x${at.toString(16)} of RAM differs: ${JSON.stringify(where)}.`);
  }
};

const ROUNDS = 40;
const PROGRAMS = 30;

describe.each(MODES)('random programs in $name', (mode) => {
  test(`seeds 1 to ${PROGRAMS} end alike on both engines`, () => {
    const reference = createDriver(false, mode);
    const fast = createDriver(true, mode);
    for (let seed = 1; seed <= PROGRAMS; seed += 1) compare(reference, fast, seed);
  });
});
