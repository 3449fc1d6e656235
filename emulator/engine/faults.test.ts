/**
 * Random page faults, returns and changes of paging on both engines: after every random budget
 * registers and all of RAM are the same.
 *
 * A dispatcher returns by IRETQ to chunks of random code, at level 0 or 3, that read and write a
 * window of pages, and at level 0 its page table, CR0, CR3 and CR4, too. The handler of page faults
 * gives the page that was missed a random entry, and returns to the instruction or to the
 * dispatcher. A second stage lacks frames, or the right to write them, at random; whoever handles its
 * exits gives what was asked for.
 */
import { expect, test } from 'vitest';
import { type Cpu, quad, setQuad, setWord, word } from '../cpu/cpu.ts';
import { noSecondStage } from '../cpu/paging.ts';
import { readRflagsOf } from '../cpu/rflags.ts';
import * as state from '../cpu/state.ts';
import { createMachineMemory, type MachineMemory } from '../memory/machine-memory.ts';
import { createFastEngine, createReferenceEngine } from './engine.ts';
import { createRandom, little, type Random } from './random.ts';

const RAM_BYTES = 0x4_0000;
const [PML4, PDPT, DIRECTORY, TABLE] = [0x1000, 0x2000, 0x3000, 0x4000];
const [WINDOW_DIRECTORY, WINDOW_TABLE] = [0x5000, 0x6000];
const [TASK, GDT, IDT] = [0x7000, 0x7800, 0x8000];
/** Counter, frames for IRETQ, entries for the window, and what is to be skipped. */
const [COUNTER, FRAMES, ENTRIES, SKIPS, LOG] = [0x9000, 0x9100, 0xa000, 0xb000, 0xc000];
const [STACK_0, STACK_3] = [0xe000, 0xf800];
const [DISPATCHER, HANDLER, CODE] = [0x1_0000, 0x1_0100, 0x1_1000];
const DATA = 0x3_0000;
const WINDOW = 0x4000_0000;
const LARGE = WINDOW + 0x20_0000;
const WINDOW_PAGES = 16;
const CHUNKS = 16;
const RFLAGS_RF = 0x1_0000;
const CODE_0 = 0x08;
const DATA_0 = 0x10;
const DATA_3 = 0x1b;
const CODE_3 = 0x23;
const TASK_SELECTOR = 0x28;
const RFLAGS_CHOICES = [0x2, 0x202, 0x4_0002, 0x4_0ad7, 0x3002, 0x1_0002, 0x1_0202];

const rexMov = (register: number, value: number): number[] => [
  0x48 | (register >> 3),
  0xc7,
  0xc0 | (register & 7),
  ...little(value, 4),
];

/** An instruction on the memory at RBX, RSI or RDI, by a displacement within a page or two. */
const access = (random: Random): number[] => {
  const opcode = random.pick([[0x8b], [0x89], [0x01], [0x03], [0x88], [0x0f, 0xb6], [0x87]]);
  const base = random.pick([3, 6, 7]);
  const registers = random.pick([0, 1, 2]) << 3;
  const displacement = little(random.below(0x1800) - 0x400, 4);
  const rex = random.below(2) === 0 ? [0x48] : [];
  return [...rex, ...opcode, 0x80 | registers | base, ...displacement];
};
const setPointer = (random: Random): number[] =>
  rexMov(
    random.pick([3, 6, 7]),
    random.pick([
      WINDOW + random.below(WINDOW_PAGES) * 0x1000 + random.below(0x1000),
      LARGE + random.below(RAM_BYTES - 0x1_0000) + 0x8000,
      WINDOW_TABLE + random.below(WINDOW_PAGES) * 8,
      DATA + random.below(0x8000),
    ]),
  );
/** mov rax, crN; xor rax, bit; mov crN, rax */
const toggle = (number: number, bit: number): number[] => [
  ...[0x0f, 0x20, 0xc0 | (number << 3), 0x48, 0x35, ...little(bit, 4)],
  ...[0x0f, 0x22, 0xc0 | (number << 3)],
];

/** mov [address], eax; or a load. */
const absolute = (random: Random, address: number): number[] => [
  random.pick([0x89, 0x89, 0x8b]),
  ...[0x04, 0x25, ...little(address, 4)],
];
/** mov dword [address], value */
const setWordAt = (address: number, value: number): number[] => [
  ...[0xc7, 0x04, 0x25, ...little(address, 4), ...little(value, 4)],
];
/** Touches a page before and after its entry changes. */
const change = (random: Random): number[] => {
  const page = random.below(WINDOW_PAGES);
  const touch = (): number[] => absolute(random, WINDOW + page * 0x1000 + random.below(0xffc));
  const at = WINDOW_TABLE + page * 8;
  const changed = random.pick([
    setWordAt(at, entryOf(random)),
    setWordAt(at, entryOf(random)),
    // NX, reserved and ignored bits.
    setWordAt(at + 4, random.pick([0, 0, 0x8000_0000, 0x8_0000, 0x4000, 0x40_0000])),
    // and byte [at], ~(accessed | dirty)
    [0x80, 0x24, 0x25, ...little(at, 4), 0x9f],
  ]);
  return [...touch(), ...changed, ...touch(), ...touch()];
};
/** Clears accessed and dirty of the large page between two accesses. */
const touchLarge = (random: Random): number[] => {
  const touch = (): number[] => absolute(random, LARGE + 0x3_0000 + random.below(0x8000));
  const clear = [0x80, 0x24, 0x25, ...little(WINDOW_DIRECTORY + 8, 4), 0x9f];
  return [...touch(), ...clear, ...touch(), ...touch()];
};

const MAKERS: readonly ((random: Random) => number[])[] = [
  access,
  access,
  access,
  access,
  access,
  setPointer,
  setPointer,
  // invlpg [rbx]; mov rax, cr2; mov rax, cr3, mov cr3, rax
  () => [0x0f, 0x01, 0x3b],
  () => [0x0f, 0x20, 0xd0],
  () => [0x0f, 0x20, 0xd8, 0x0f, 0x22, 0xd8],
  (random) => toggle(0, random.pick([0x1_0000, 0x1_0000, 0x4_0000])),
  (random) => toggle(4, random.pick([0x10_0000, 0x20_0000])),
  // pushfq; xor dword [rsp + 2], 4 (AC); popfq
  () => [0x9c, 0x80, 0x74, 0x24, 0x02, 0x04, 0x9d],
  change,
  change,
  touchLarge,
  // jmp to the next instruction: blocks of one
  () => [0xeb, 0],
  (random) => [0xb1, 1 + random.below(40), 0xf3, random.pick([0xa4, 0xaa, 0xab, 0xac])],
  (random) => [random.pick([0x50, 0x51, 0x58, 0x59])],
];

/** An entry of the window's table: present for the most part, with any rights. */
const entryOf = (random: Random): number =>
  DATA +
  random.below(8) * 0x1000 +
  (random.below(5) === 0 ? 0 : 1) +
  random.below(4) * 2 +
  random.below(4) * 0x20;

/** Counts, and puts the frame of that number on a stack of level 0. */
const dispatcher = [
  ...rexMov(4, STACK_0 - 0x400),
  // inc dword [COUNTER]; mov eax, [COUNTER]; and eax, 31; imul eax, 40
  ...[0xff, 0x04, 0x25, ...little(COUNTER, 4), 0x8b, 0x04, 0x25, ...little(COUNTER, 4)],
  ...[0x83, 0xe0, 0x1f, 0x6b, 0xc0, 40],
  // push qword [rax + FRAMES + 32], ... + 0
  ...[32, 24, 16, 8, 0].flatMap((at) => [0xff, 0xb0, ...little(FRAMES + at, 4)]),
  ...[0x48, 0xcf],
];

/** Gives the page an entry; skips the instruction if the number says so; logs error code and CR2. */
const handler = [
  // push rax; push rcx; mov rax, cr2
  ...[0x50, 0x51, 0x0f, 0x20, 0xd0],
  // inc dword [COUNTER]; mov ecx, [COUNTER]; and ecx, 63
  ...[0xff, 0x04, 0x25, ...little(COUNTER, 4), 0x8b, 0x0c, 0x25, ...little(COUNTER, 4)],
  ...[0x83, 0xe1, 0x3f],
  // mov [rcx * 8 + LOG], eax; mov rax, [rsp + 16]; mov [rcx * 8 + LOG + 4], eax; mov rax, cr2
  ...[0x89, 0x04, 0xcd, ...little(LOG, 4), 0x48, 0x8b, 0x44, 0x24, 0x10],
  ...[0x89, 0x04, 0xcd, ...little(LOG + 4, 4), 0x0f, 0x20, 0xd0],
  // shr rax, 12; and eax, 15; push rdx; mov edx, [rcx * 8 + ENTRIES]; mov [rax * 8 + TABLE], edx
  ...[0x48, 0xc1, 0xe8, 0x0c, 0x83, 0xe0, WINDOW_PAGES - 1, 0x52],
  ...[0x8b, 0x14, 0xcd, ...little(ENTRIES, 4), 0x89, 0x14, 0xc5, ...little(WINDOW_TABLE, 4)],
  // pop rdx; mov eax, [rcx * 8 + SKIPS]; pop rcx; test eax, eax; pop rax; lea rsp, [rsp + 8]
  ...[0x5a, 0x8b, 0x04, 0xcd, ...little(SKIPS, 4), 0x59, 0x85, 0xc0, 0x58],
  ...[0x48, 0x8d, 0x64, 0x24, 0x08],
  // jz +2; iretq; then to the dispatcher
  ...[0x74, 0x02, 0x48, 0xcf],
];

const jumpTo = (from: number, to: number): number[] => [0xe9, ...little(to - from - 5, 4)];

const layOut = (memory: MachineMemory, random: Random): void => {
  const put = (at: number, bytes: readonly number[]) => memory.bytes.set(bytes, state.RAM + at);
  const putQuad = (at: number, value: bigint) =>
    memory.view.setBigUint64(state.RAM + at, value, true);
  putQuad(PML4, BigInt(PDPT) | 7n);
  putQuad(PDPT, BigInt(DIRECTORY) | 7n);
  putQuad(PDPT + 8, BigInt(WINDOW_DIRECTORY) | 7n);
  putQuad(DIRECTORY, BigInt(TABLE) | 7n);
  putQuad(WINDOW_DIRECTORY, BigInt(WINDOW_TABLE) | 7n);
  putQuad(WINDOW_DIRECTORY + 8, BigInt(random.pick([0x83, 0x87, 0x81, 0x85])));
  for (let page = 0; page < RAM_BYTES >>> 12; page += 1) {
    const isOfUser = page >= CODE >>> 12 || page === (STACK_3 - 1) >>> 12;
    putQuad(TABLE + page * 8, (BigInt(page) << 12n) | (isOfUser ? 7n : 3n));
  }
  for (let page = 0; page < WINDOW_PAGES; page += 1) {
    putQuad(WINDOW_TABLE + page * 8, BigInt(entryOf(random)));
  }
  putQuad(GDT + CODE_0, 0x00af_9b00_0000_ffffn);
  putQuad(GDT + DATA_0, 0x00cf_9300_0000_ffffn);
  putQuad(GDT + (DATA_3 & ~3), 0x00cf_f300_0000_ffffn);
  putQuad(GDT + (CODE_3 & ~3), 0x00af_fb00_0000_ffffn);
  putQuad(TASK + 4, BigInt(STACK_0 - 0x800));
  for (let vector = 0; vector < 32; vector += 1) {
    const at = vector === 14 ? HANDLER : DISPATCHER;
    const gate = random.pick([0x8e00n, 0x8f00n]) << 32n;
    putQuad(
      IDT + vector * 16,
      BigInt(at & 0xffff) | (BigInt(at >>> 16) << 48n) | (8n << 16n) | gate,
    );
  }
  for (let number = 0; number < 64; number += 1) {
    putQuad(ENTRIES + number * 8, BigInt(entryOf(random)));
    putQuad(SKIPS + number * 8, BigInt(random.below(3)));
  }
  put(DISPATCHER, dispatcher);
  put(HANDLER, handler);
  put(HANDLER + handler.length, jumpTo(HANDLER + handler.length, DISPATCHER));
  const starts: number[] = [];
  let at = CODE;
  for (let chunk = 0; chunk < CHUNKS; chunk += 1) {
    starts.push(at);
    put(at, [0xeb, 0]);
    at += random.below(2) * 2;
    for (let i = 4 + random.below(16); i > 0; i -= 1) {
      const bytes = random.pick(MAKERS)(random);
      put(at, bytes);
      at += bytes.length;
    }
    // int3 is for the dispatcher of either level: its gate has DPL 0, so that level 3 faults.
    put(at, [0xcc]);
    at += 1 + random.below(40);
  }
  for (let number = 0; number < 32; number += 1) {
    const isOfUser = random.below(2) === 0;
    const stack = isOfUser ? STACK_3 : random.pick([STACK_0 - 0x100, WINDOW + 0x2800]);
    const values = [
      random.pick(starts),
      isOfUser ? CODE_3 : CODE_0,
      random.pick(RFLAGS_CHOICES),
      stack - random.below(8),
      isOfUser ? DATA_3 : random.pick([DATA_0, 0]),
    ];
    for (const [index, value] of values.entries())
      putQuad(FRAMES + number * 40 + index * 8, BigInt(value));
  }
};

const RIGHTS: Readonly<Record<number, bigint>> = { [state.CS]: 0xa09bn, [state.TR]: 0x8bn };

/** As after a reset that leaves the guest in its dispatcher. */
const restart = (cpu: Cpu, hasNx: boolean): void => {
  setQuad(cpu, state.CR0, 0x8001_0031n);
  setQuad(cpu, state.CR3, BigInt(PML4));
  setQuad(cpu, state.CR4, 0x20n);
  setQuad(cpu, state.EFER, hasNx ? 0xd00n : 0x500n);
  setQuad(cpu, state.GDTR_BASE, BigInt(GDT));
  setQuad(cpu, state.GDTR_LIMIT, 0x37n);
  setQuad(cpu, state.IDTR_BASE, BigInt(IDT));
  setQuad(cpu, state.IDTR_LIMIT, 0x1ffn);
  for (let segment = 0; segment < 8; segment += 1) {
    const isTask = segment === state.TR;
    const selector = segment === state.CS ? CODE_0 : isTask ? TASK_SELECTOR : DATA_0;
    setQuad(cpu, state.segmentSelector(segment), BigInt(selector));
    setQuad(cpu, state.segmentLimit(segment), isTask ? 0x67n : 0xffff_ffffn);
    setQuad(cpu, state.segmentAccess(segment), RIGHTS[segment] ?? 0xc093n);
  }
  setQuad(cpu, state.segmentBase(state.TR), BigInt(TASK));
  setQuad(cpu, state.RFLAGS_REST, 2n);
  setQuad(cpu, state.RIP, BigInt(DISPATCHER));
  setWord(cpu, state.CODE_WIDTH, 64);
  setWord(cpu, state.CPL, 0);
  setWord(cpu, state.ACTIVITY, 0);
};

interface Driver {
  readonly cpu: Cpu;
  run(budget: number): void;
}

const createDriver = (seed: number, isFast: boolean, lacksFrames: boolean): Driver => {
  const memory = createMachineMemory(RAM_BYTES);
  layOut(memory, createRandom(seed));
  const random = createRandom(seed ^ 0x7777);
  const hasNx = seed % 2 === 0;
  const missing = new Set<number>();
  const readOnly = new Set<number>();
  let wanted = 0;
  const cpu: Cpu = {
    memory,
    stage: lacksFrames
      ? {
          translate(gpa, kind, ...rest) {
            wanted = Math.floor(gpa / 4096);
            const isRefused = missing.has(wanted) || (kind.write && readOnly.has(wanted));
            if (!isRefused) return noSecondStage.translate(gpa, kind, ...rest);
            if (cpu.accessMode === 'probe') return undefined;
            // A VM exit saves RF as set.
            setWord(cpu, state.RFLAGS_REST, word(cpu, state.RFLAGS_REST) | RFLAGS_RF);
            return undefined;
          },
        }
      : noSecondStage,
    nonRoot: undefined,
    instructionLength: 0,
    delivering: 0,
    deliveringErrorCode: 0,
    timeStamp: () => 0n,
    invalidate: () => {},
    noteWrite: (host, lengthBytes) => engine.noteWrite(host, lengthBytes),
    remembered: (linear, kind) => engine.remembered(linear, kind),
  };
  restart(cpu, hasNx);
  const engine = (isFast ? createFastEngine : createReferenceEngine)(cpu);
  /** A frame goes, or may no longer be written. */
  const take = (): void => {
    const data = (DATA >>> 12) + random.below(8);
    const gone = random.pick([random.below(RAM_BYTES >>> 12), data, data, WINDOW_TABLE >>> 12]);
    random.pick([missing, readOnly]).add(gone);
    engine.forgetFrame(gone, gone);
  };
  return {
    cpu,
    run(budget) {
      if (lacksFrames) take();
      engine.begin();
      for (let done = 0; done + engine.steps < budget; ) {
        const result = engine.advance(budget - done - engine.steps, true);
        if (result !== 'exit' && result !== 'shutdown') continue;
        done += engine.steps + 1;
        if (result === 'exit') {
          missing.delete(wanted);
          readOnly.delete(wanted);
        } else restart(cpu, hasNx);
        engine.begin();
      }
    },
  };
};

const stateOf = ({ cpu }: Driver) => ({
  registers: Array.from({ length: 16 }, (_, i) => quad(cpu, state.registerSlot(i)).toString(16)),
  rip: quad(cpu, state.RIP).toString(16),
  rflags: readRflagsOf(cpu).toString(16),
  cr2: quad(cpu, state.CR2).toString(16),
  control: [quad(cpu, state.CR0), quad(cpu, state.CR4)].map(String),
  level: word(cpu, state.CPL),
  segments: Array.from({ length: 32 }, (_, i) => quad(cpu, state.SEGMENTS + i * 8).toString(16)),
});

const ramOf = ({ cpu }: Driver) => cpu.memory.bytes.subarray(state.RAM, state.RAM + RAM_BYTES);

/** How many of the faults came through to the handler: it counts. */
const compare = (seed: number, rounds: number, lacksFrames: boolean): number => {
  const reference = createDriver(seed, false, lacksFrames);
  const fast = createDriver(seed, true, lacksFrames);
  const random = createRandom(seed ^ 0x5555);
  for (let round = 0; round < rounds; round += 1) {
    const budget = 1 + random.below(random.pick([8, 8, 60, 60, 400]));
    reference.run(budget);
    fast.run(budget);
    const where = { seed, round, budget };
    expect({ ...where, ...stateOf(fast) }).toEqual({ ...where, ...stateOf(reference) });
    if (Buffer.compare(ramOf(fast), ramOf(reference)) === 0) continue;
    const at = ramOf(fast).findIndex((byte, i) => byte !== ramOf(reference)[i]);
    expect.fail(`Byte 0x${at.toString(16)} of RAM differs: ${JSON.stringify(where)}.`);
  }
  return fast.cpu.memory.view.getUint32(state.RAM + COUNTER, true);
};

const SEEDS = 12;

test.each([
  ['without a second stage', false],
  ['with a second stage that lacks frames', true],
])('faults, returns and changes of paging end alike on both engines, %s', (_name, lacksFrames) => {
  let count = 0;
  for (let seed = 1; seed <= SEEDS; seed += 1) count += compare(seed, 100, lacksFrames);
  expect(count).toBeGreaterThan(SEEDS * 100);
});
