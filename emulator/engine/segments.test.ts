/**
 * Segments of 32-bit protected mode on both engines: bases, limits, rights, and stacks and code of
 * the other size. Expected values are worked out from SDM Vol. 3A 3.4.5 "Segment Descriptors", 5.3
 * "Limit Checking" to 5.8 and Vol. 2, "Protected Mode Exceptions" of each instruction.
 */
import { describe, expect, test } from 'vitest';
import { type Cpu, pendingFault, quad, setQuad, setWord } from '../cpu/cpu.ts';
import { noSecondStage } from '../cpu/paging.ts';
import * as state from '../cpu/state.ts';
import { createMachineMemory } from '../memory/machine-memory.ts';
import { createFastEngine, createReferenceEngine } from './engine.ts';

const RAM_BYTES = 0x4_0000;
const [GDT, LDT, CODE, DATA] = [0x1000, 0x2000, 0x6000, 0x8000];
const [SS_FAULT, NP, GP] = [12, 11, 13];
const [EAX, ECX, EBX, ESP, EBP, ESI, EDI] = [0, 1, 3, 4, 5, 6, 7];

const FLAT_CODE = 0x08;
const FLAT = 0x10;
/** From DATA on, 4 KiB. */
const SHORT = 0x18;
/** From DATA on, without the first 4 KiB: to 64 KiB, and to 4 GiB. */
const DOWN = 0x20;
const WIDE_DOWN = 0x28;
const READ_ONLY = 0x30;
const EXECUTE_ONLY = 0x38;
const ABSENT = 0x40;
/** From CODE on, 512 bytes. */
const SHORT_CODE = 0x48;
/** 64 KiB from DATA on, whose stack pointer is SP. */
const STACK_16 = 0x50;
const LDT_SELECTOR = 0x58;
const CODE_16 = 0x60;
/** In the LDT: as SHORT, and nothing. */
const LOCAL_SHORT = 0x0c;
const LOCAL_BEYOND = 0x14;

const DESCRIPTORS: readonly (readonly [number, bigint])[] = [
  [FLAT_CODE, 0x00cf_9b00_0000_ffffn],
  [FLAT, 0x00cf_9300_0000_ffffn],
  [SHORT, 0x0040_9300_8000_0fffn],
  [DOWN, 0x0000_9700_8000_0fffn],
  [WIDE_DOWN, 0x0040_9700_8000_0fffn],
  [READ_ONLY, 0x00cf_9100_0000_ffffn],
  [EXECUTE_ONLY, 0x00cf_9900_0000_ffffn],
  [ABSENT, 0x00cf_1300_0000_ffffn],
  [SHORT_CODE, 0x0040_9b00_6000_01ffn],
  [STACK_16, 0x0000_9300_8000_ffffn],
  [LDT_SELECTOR, 0x0000_8200_2000_000fn],
  [CODE_16, 0x0000_9b00_6000_ffffn],
];

const little = (value: number, bytes: number): number[] =>
  Array.from({ length: bytes }, (_, i) => Math.floor(value / 2 ** (8 * i)) & 0xff);
/** mov dx, selector; mov segment, dx */
const load = (segment: number, selector: number): number[] => [
  ...[0x66, 0xba, ...little(selector, 2)],
  ...[0x8e, 0xc2 | (segment << 3)],
];
const { ES, SS, DS, FS } = state;
/** mov eax, [offset], or its reverse. */
const read = (offset: number): number[] => [0xa1, ...little(offset, 4)];
const write = (offset: number): number[] => [0xa3, ...little(offset, 4)];
const far = (opcode: number, selector: number, offset: number): number[] => [
  opcode,
  ...little(offset, 4),
  ...little(selector, 2),
];
const JMP_FAR = 0xea;
const CALL_FAR = 0x9a;

interface Case {
  readonly name: string;
  readonly code: readonly number[];
  /** More code, by its address. */
  readonly more?: Readonly<Record<number, readonly number[]>>;
  readonly registers?: Readonly<Record<number, number>>;
  /** Doublewords of memory before, by linear address. */
  readonly memory?: Readonly<Record<number, number>>;
  /** How many instructions; the last one faults if a fault is expected. */
  readonly steps: number;
  readonly fault?: readonly [vector: number, errorCode: number];
  readonly after?: {
    readonly registers?: Readonly<Record<number, number>>;
    readonly memory?: Readonly<Record<number, number>>;
    readonly rip?: number;
    readonly codeSelector?: number;
  };
}

const CASES: readonly Case[] = [
  {
    name: 'a base is added',
    code: [...load(DS, SHORT), ...read(0xffc)],
    memory: { [DATA + 0xffc]: 0x1234 },
    steps: 3,
    after: { registers: { [EAX]: 0x1234 } },
  },
  {
    name: 'beyond the limit: #GP(0)',
    code: [...load(DS, SHORT), ...read(0xffd)],
    steps: 3,
    fault: [GP, 0],
  },
  {
    name: 'FS, within its limit',
    code: [...load(FS, SHORT), 0x64, ...read(0xffc)],
    memory: { [DATA + 0xffc]: 7 },
    steps: 3,
    after: { registers: { [EAX]: 7 } },
  },
  {
    name: 'FS, beyond its limit: #GP(0)',
    code: [...load(FS, SHORT), 0x64, ...read(0xffd)],
    steps: 3,
    fault: [GP, 0],
  },
  {
    name: 'expand-down, at the limit: #GP(0)',
    code: [...load(DS, DOWN), ...read(0xfff)],
    steps: 3,
    fault: [GP, 0],
  },
  {
    name: 'expand-down, above the limit',
    code: [...load(DS, DOWN), ...read(0x1000)],
    memory: { [DATA + 0x1000]: 5 },
    steps: 3,
    after: { registers: { [EAX]: 5 } },
  },
  {
    name: 'expand-down of 64 KiB ends there: #GP(0)',
    code: [...load(DS, DOWN), ...read(0xfffd)],
    steps: 3,
    fault: [GP, 0],
  },
  {
    name: 'expand-down of 4 GiB goes on',
    code: [...load(DS, WIDE_DOWN), ...read(0x1_0000)],
    memory: { [DATA + 0x1_0000]: 6 },
    steps: 3,
    after: { registers: { [EAX]: 6 } },
  },
  {
    name: 'a base wraps around at 4 GiB',
    code: [...load(DS, WIDE_DOWN), ...read(0xffff_9004)],
    memory: { [GDT + 4]: 0x2468 },
    steps: 3,
    after: { registers: { [EAX]: 0x2468 } },
  },
  {
    name: 'a write to read-only data: #GP(0)',
    code: [...load(DS, READ_ONLY), ...write(DATA)],
    steps: 3,
    fault: [GP, 0],
  },
  { name: 'a write to code: #GP(0)', code: [0x2e, ...write(DATA)], steps: 1, fault: [GP, 0] },
  {
    name: 'a read of readable code',
    code: [0x2e, ...read(DATA)],
    memory: { [DATA]: 9 },
    steps: 1,
    after: { registers: { [EAX]: 9 } },
  },
  {
    name: 'DS of code that is not readable: #GP(selector)',
    code: load(DS, EXECUTE_ONLY),
    steps: 2,
    fault: [GP, EXECUTE_ONLY],
  },
  { name: 'DS absent: #NP(selector)', code: load(DS, ABSENT), steps: 2, fault: [NP, ABSENT] },
  { name: 'SS absent: #SS(selector)', code: load(SS, ABSENT), steps: 2, fault: [SS_FAULT, ABSENT] },
  {
    name: 'SS read-only: #GP(selector)',
    code: load(SS, READ_ONLY),
    steps: 2,
    fault: [GP, READ_ONLY],
  },
  { name: 'SS null: #GP(0)', code: load(SS, 0), steps: 2, fault: [GP, 0] },
  {
    name: 'a read through a null DS: #GP(0)',
    code: [...load(DS, 0), ...read(DATA)],
    steps: 3,
    fault: [GP, 0],
  },
  { name: 'beyond the GDT: #GP(selector)', code: load(DS, 0x70), steps: 2, fault: [GP, 0x70] },
  {
    name: 'PUSH adds the base of SS',
    code: [...load(SS, SHORT), 0x50],
    registers: { [EAX]: 0x55, [ESP]: 0x1000 },
    steps: 3,
    after: { registers: { [ESP]: 0xffc }, memory: { [DATA + 0xffc]: 0x55 } },
  },
  {
    name: 'POP beyond the limit: #SS(0)',
    code: [...load(SS, SHORT), 0x58],
    registers: { [ESP]: 0x1000 },
    steps: 3,
    fault: [SS_FAULT, 0],
    after: { registers: { [ESP]: 0x1000 } },
  },
  {
    name: '[ebp] is in SS: #SS(0)',
    code: [...load(SS, SHORT), 0x8b, 0x45, 0x00],
    registers: { [EBP]: 0x1000 },
    steps: 3,
    fault: [SS_FAULT, 0],
  },
  {
    name: 'a stack of 16 bits: PUSH wraps SP and keeps the rest of ESP',
    code: [...load(SS, STACK_16), 0x50],
    registers: { [EAX]: 0x77, [ESP]: 0x1234_0000 },
    steps: 3,
    after: { registers: { [ESP]: 0x1234_fffc }, memory: { [DATA + 0xfffc]: 0x77 } },
  },
  {
    name: 'a stack of 16 bits: CALL and RET',
    code: [...load(SS, STACK_16), 0xe8, 1, 0, 0, 0, 0x90, 0xc3],
    registers: { [ESP]: 0x1234_0000 },
    steps: 4,
    after: {
      registers: { [ESP]: 0x1234_0000 },
      rip: CODE + 11,
      memory: { [DATA + 0xfffc]: CODE + 11 },
    },
  },
  {
    name: 'a stack of 16 bits: PUSHF and POPF',
    code: [...load(SS, STACK_16), 0xf9, 0x9c, 0xf8, 0x9d, 0x19, 0xc0],
    registers: { [ESP]: 0x1234_0000 },
    steps: 7,
    after: { registers: { [ESP]: 0x1234_0000, [EAX]: 0xffff_ffff } },
  },
  {
    name: 'a stack of 16 bits: ENTER and LEAVE use SP and BP',
    code: [...load(SS, STACK_16), 0xc8, 8, 0, 0, 0xc9],
    registers: { [ESP]: 0x1234_1000, [EBP]: 0x5678_2000 },
    steps: 4,
    after: {
      registers: { [ESP]: 0x1234_1000, [EBP]: 0x5678_2000 },
      memory: { [DATA + 0xffc]: 0x5678_2000 },
    },
  },
  {
    name: 'a stack of 16 bits: POP DS',
    code: [...load(SS, STACK_16), 0x6a, FLAT, 0x1f],
    registers: { [ESP]: 0x1234_0000 },
    steps: 4,
    after: { registers: { [ESP]: 0x1234_0000 } },
  },
  {
    name: 'POP SS pops by the old stack',
    code: [0x6a, STACK_16, 0x17],
    registers: { [ESP]: 0x1_0004 },
    steps: 2,
    after: { registers: { [ESP]: 0x1_0004 } },
  },
  {
    name: 'POP [esp - 4] wraps around at 4 GiB within the address',
    code: [...load(SS, WIDE_DOWN), 0x8f, 0x84, 0x24, ...little(0xffff_fffc, 4)],
    registers: { [ESP]: 0x2000 },
    memory: { [DATA + 0x2000]: 0x99 },
    steps: 3,
    after: { registers: { [ESP]: 0x2004 }, memory: { [DATA + 0x2000]: 0x99 } },
  },
  {
    name: 'a far jump goes to an offset of the segment',
    code: far(JMP_FAR, SHORT_CODE, 0x40),
    more: { [CODE + 0x40]: [0x40] },
    steps: 2,
    after: { registers: { [EAX]: 1 }, rip: 0x41, codeSelector: SHORT_CODE },
  },
  {
    name: 'a far jump beyond the limit: #GP(0)',
    code: far(JMP_FAR, SHORT_CODE, 0x200),
    steps: 1,
    fault: [GP, 0],
    after: { rip: CODE },
  },
  {
    name: 'a far jump to data: #GP(selector)',
    code: far(JMP_FAR, FLAT, 0),
    steps: 1,
    fault: [GP, FLAT],
  },
  {
    name: 'a near jump beyond the limit faults at the jump: #GP(0)',
    code: far(JMP_FAR, SHORT_CODE, 0x40),
    more: { [CODE + 0x40]: [0xe9, ...little(0x1000, 4)] },
    steps: 2,
    fault: [GP, 0],
    after: { rip: 0x40 },
  },
  {
    name: 'a call beyond the limit pushes nothing',
    code: far(JMP_FAR, SHORT_CODE, 0x40),
    more: { [CODE + 0x40]: [0xe8, ...little(0x1000, 4)] },
    registers: { [ESP]: 0x3000 },
    steps: 2,
    fault: [GP, 0],
    after: { rip: 0x40, registers: { [ESP]: 0x3000 }, memory: { 12284: 0 } },
  },
  {
    name: 'a return beyond the limit: #GP(0)',
    code: far(JMP_FAR, SHORT_CODE, 0x40),
    more: { [CODE + 0x40]: [0xc3] },
    registers: { [ESP]: 0x3000 },
    memory: { 12288: 0x200 },
    steps: 2,
    fault: [GP, 0],
    after: { rip: 0x40, registers: { [ESP]: 0x3000 } },
  },
  {
    name: 'code that runs over the limit: #GP(0)',
    code: far(JMP_FAR, SHORT_CODE, 0x1ff),
    more: { [CODE + 0x1ff]: [0x90, 0x90] },
    steps: 3,
    fault: [GP, 0],
    after: { rip: 0x200 },
  },
  {
    name: 'an instruction that the limit cuts: #GP(0)',
    code: far(JMP_FAR, SHORT_CODE, 0x1fe),
    more: { [CODE + 0x1fe]: [0xb8, 1, 0, 0, 0] },
    steps: 2,
    fault: [GP, 0],
    after: { rip: 0x1fe, registers: { [EAX]: 0 } },
  },
  {
    name: 'a far call and return',
    code: [...far(CALL_FAR, SHORT_CODE, 0x40), 0x40],
    more: { [CODE + 0x40]: [0xcb] },
    registers: { [ESP]: 0x3000 },
    steps: 3,
    after: {
      rip: CODE + 8,
      codeSelector: FLAT_CODE,
      registers: { [EAX]: 1, [ESP]: 0x3000 },
      memory: { 12284: FLAT_CODE, 12280: CODE + 7 },
    },
  },
  {
    name: '16-bit code: operands and addresses are of 16 bits',
    code: far(JMP_FAR, CODE_16, 0x40),
    more: { [CODE + 0x40]: [0x01, 0x07] },
    registers: { [EAX]: 0x1_0001, [EBX]: 0xffff_8000 },
    memory: { [DATA]: 0x1_ffff },
    steps: 2,
    after: { rip: 0x42, memory: { [DATA]: 0x1_0000 } },
  },
  {
    name: 'LDS loads a segment and an offset',
    code: [0xc5, 0x03, ...read(0)],
    registers: { [EBX]: DATA },
    memory: { [DATA]: 0x1234, [DATA + 4]: SHORT },
    steps: 2,
    after: { registers: { [EAX]: 0x1234 } },
  },
  {
    name: 'a segment of the LDT',
    code: [0x66, 0xb8, LDT_SELECTOR, 0, 0x0f, 0x00, 0xd0, ...load(DS, LOCAL_SHORT), ...read(0xffc)],
    memory: { [DATA + 0xffc]: 0x4321 },
    steps: 5,
    after: { registers: { [EAX]: 0x4321 } },
  },
  {
    name: 'beyond the LDT: #GP(selector)',
    code: [0x66, 0xb8, LDT_SELECTOR, 0, 0x0f, 0x00, 0xd0, ...load(DS, LOCAL_BEYOND)],
    steps: 4,
    fault: [GP, LOCAL_BEYOND],
  },
  {
    name: 'without an LDT: #GP(selector)',
    code: load(DS, LOCAL_SHORT),
    steps: 2,
    fault: [GP, LOCAL_SHORT],
  },
  {
    name: 'REP MOVS stops at the element that is beyond the limit',
    code: [...load(ES, SHORT), 0xf3, 0xa4],
    registers: { [ECX]: 8, [ESI]: CODE, [EDI]: 0xffe },
    steps: 3,
    fault: [GP, 0],
    after: { registers: { [ECX]: 6, [ESI]: CODE + 2, [EDI]: 0x1000 } },
  },
];

const createDriver = (isFast: boolean) => {
  const memory = createMachineMemory(RAM_BYTES);
  let fault: readonly [number, number | undefined] | undefined;
  const cpu: Cpu = {
    memory,
    stage: noSecondStage,
    nonRoot: {
      intercepts: () => false,
      interceptsException: () => {
        const { vector, errorCode } = pendingFault(cpu);
        fault = [vector, errorCode];
        return true;
      },
      tripleFault: () => undefined,
      readControlRegister: (_number, value) => value,
      writeControlRegister: (_number, _old, value) => value,
    },
    instructionLength: 0,
    delivering: 0,
    deliveringErrorCode: 0,
    timeStamp: () => 0n,
    invalidate: () => undefined,
  };
  const engine = (isFast ? createFastEngine : createReferenceEngine)(cpu);
  const putWord = (at: number, value: number) => memory.view.setUint32(state.RAM + at, value, true);
  const putQuad = (at: number, value: bigint) =>
    memory.view.setBigUint64(state.RAM + at, value, true);

  const prepare = (one: Case): void => {
    memory.bytes.fill(0, state.RAM, state.RAM + RAM_BYTES);
    memory.bytes.fill(0, state.WINDOW, state.WINDOW_END);
    for (const [selector, descriptor] of DESCRIPTORS) putQuad(GDT + selector, descriptor);
    putQuad(LDT + (LOCAL_SHORT & ~7), 0x0040_9300_8000_0fffn);
    memory.bytes.set(one.code, state.RAM + CODE);
    for (const [at, bytes] of Object.entries(one.more ?? {}))
      memory.bytes.set(bytes, state.RAM + Number(at));
    for (const [at, value] of Object.entries(one.memory ?? {})) putWord(Number(at), value);
    setQuad(cpu, state.CR0, 0x31n);
    setQuad(cpu, state.GDTR_BASE, BigInt(GDT));
    setQuad(cpu, state.GDTR_LIMIT, 0x67n);
    setQuad(cpu, state.segmentAccess(state.LDTR), 0x1_0000n);
    for (let segment = 0; segment < 6; segment += 1) {
      const isCode = segment === state.CS;
      setQuad(cpu, state.segmentSelector(segment), BigInt(isCode ? FLAT_CODE : FLAT));
      setQuad(cpu, state.segmentLimit(segment), 0xffff_ffffn);
      setQuad(cpu, state.segmentAccess(segment), isCode ? 0xc09bn : 0xc093n);
    }
    for (const [register, value] of Object.entries(one.registers ?? {}))
      setQuad(cpu, state.registerSlot(Number(register)), BigInt(value));
    setQuad(cpu, state.RFLAGS_REST, 2n);
    setQuad(cpu, state.RIP, BigInt(CODE));
    setWord(cpu, state.CODE_WIDTH, 32);
  };

  return (one: Case): void => {
    prepare(one);
    engine.noteWrite(state.RAM, RAM_BYTES);
    engine.begin();
    fault = undefined;
    for (let i = 0; i < 100 && engine.retired < one.steps && fault === undefined; i += 1)
      engine.advance(one.steps - engine.retired, false);
    expect(fault).toEqual(one.fault);
    expect(engine.retired).toBe(one.fault === undefined ? one.steps : one.steps - 1);
    const { registers = {}, memory: stored = {}, rip, codeSelector } = one.after ?? {};
    for (const [register, value] of Object.entries(registers))
      expect(quad(cpu, state.registerSlot(Number(register))), `register ${register}`).toBe(
        BigInt(value),
      );
    for (const [at, value] of Object.entries(stored))
      expect(memory.view.getUint32(state.RAM + Number(at), true), `at ${at}`).toBe(value);
    if (rip !== undefined) expect(quad(cpu, state.RIP)).toBe(BigInt(rip));
    if (codeSelector !== undefined)
      expect(quad(cpu, state.segmentSelector(state.CS))).toBe(BigInt(codeSelector));
  };
};

describe.each([
  { engine: 'reference', isFast: false },
  { engine: 'interpreter', isFast: true },
])('$engine', ({ isFast }) => {
  const run = createDriver(isFast);
  test.each(CASES)('$name', (one) => run(one));
});
