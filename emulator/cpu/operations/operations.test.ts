/** Operations on a processor in flat 32-bit protected mode without paging, called by name. */
import { beforeEach, describe, expect, test } from 'vitest';
import { OPERATIONS, type OperationName } from '../../../isa/index.ts';
import type { Maddr } from '../../memory/addresses.ts';
import { createMachineMemory, hostAddressOf } from '../../memory/machine-memory.ts';
import { type Cpu, pendingFault, quad, setQuad, setWord, word } from '../cpu.ts';
import { noSecondStage } from '../paging.ts';
import { OUTCOME } from '../processor.ts';
import { readRflagsOf } from '../rflags.ts';
import * as state from '../state.ts';
import { operationOf } from './catalog.ts';

const memory = createMachineMemory(0x1_0000);
const GDT = 0x1000;
const TSS = 0x2000;
const STACK = 0x4000;
const CODE0 = 0x08;
const DATA0 = 0x10;
const CODE3 = 0x1b;
const DATA3 = 0x23;
const GATE = 0x2b;
const ABSENT = 0x30;
const ZF = 0x40n;
const RSP = state.registerSlot(4);

let cpu: Cpu;

const writeQuad = (address: number, value: bigint) => {
  memory.view.setBigUint64(hostAddressOf(address as Maddr), value, true);
};
const readWord = (address: number) => memory.view.getUint32(hostAddressOf(address as Maddr), true);

const call = (name: OperationName, ...args: readonly (number | bigint)[]) =>
  operationOf(name)(cpu, args.map(BigInt));

const setSegment = (segment: number, selector: number, rights: number) => {
  setQuad(cpu, state.segmentSelector(segment), BigInt(selector));
  setQuad(cpu, state.segmentBase(segment), 0n);
  setQuad(cpu, state.segmentLimit(segment), 0xffff_ffffn);
  setQuad(cpu, state.segmentAccess(segment), BigInt(rights));
};

const enterLevel = (level: 0 | 3) => {
  setWord(cpu, state.CPL, level);
  setSegment(state.CS, level === 0 ? CODE0 : CODE3, level === 0 ? 0xc09b : 0xc0fb);
  setSegment(state.SS, level === 0 ? DATA0 : DATA3, level === 0 ? 0xc093 : 0xc0f3);
};

beforeEach(() => {
  memory.bytes.fill(0, state.WINDOW, state.WINDOW + state.WINDOW_BYTES);
  memory.bytes.fill(0, hostAddressOf(0 as Maddr), hostAddressOf(0x1_0000 as Maddr));
  cpu = {
    memory,
    stage: noSecondStage,
    nonRoot: undefined,
    instructionLength: 7,
    delivering: 0,
    deliveringErrorCode: 0,
    timeStamp: () => 1000n,
    invalidate: () => undefined,
  };
  setQuad(cpu, state.CR0, 0x11n);
  setQuad(cpu, state.RFLAGS_REST, 2n);
  setQuad(cpu, state.RIP, 0x500n);
  setQuad(cpu, RSP, BigInt(STACK));
  setWord(cpu, state.CODE_WIDTH, 32);
  setQuad(cpu, state.GDTR_BASE, BigInt(GDT));
  setQuad(cpu, state.GDTR_LIMIT, 0x37n);
  for (const segment of [state.ES, state.DS, state.FS, state.GS])
    setSegment(segment, DATA0, 0xc093);
  writeQuad(GDT + 0x08, 0x00cf_9a00_0000_ffffn);
  writeQuad(GDT + 0x10, 0x00cf_9200_0000_ffffn);
  writeQuad(GDT + 0x18, 0x00cf_fa00_0000_ffffn);
  writeQuad(GDT + 0x20, 0x00cf_f200_0000_ffffn);
  // A call gate of level 3 to CODE0:0x1234 with one parameter.
  writeQuad(GDT + 0x28, 0x0000_ec01_0008_1234n);
  writeQuad(GDT + 0x30, 0x00cf_1a00_0000_ffffn);
  setSegment(state.TR, 0x38, 0x8b);
  setQuad(cpu, state.segmentBase(state.TR), BigInt(TSS));
  setQuad(cpu, state.segmentLimit(state.TR), 0x67n);
  writeQuad(TSS + 0x60, 0xffff_0000_0000_0000n);
  writeQuad(TSS + 4, (BigInt(DATA0) << 32n) | 0x3000n);
  enterLevel(0);
});

test('every operation has an implementation', () => {
  for (const name of OPERATIONS) expect(operationOf(name), name).toBeTypeOf('function');
});

test.each(['fxsave', 'rdrand', 'xgetbv', 'invpcid', 'monitor', 'vmxon', 'vmmcall'] as const)(
  '%s is #UD, since CPUID does not offer it',
  (name) => {
    expect(call(name)).toBe(OUTCOME.fault);
    expect(pendingFault(cpu)).toEqual({ vector: 6, errorCode: undefined });
  },
);

describe('far transfers', () => {
  test('a call to the same level pushes CS and the next instruction', () => {
    expect(call('farCall', CODE0, 0x700, 32)).toBe(OUTCOME.jumped);
    expect(quad(cpu, state.RIP)).toBe(0x700n);
    expect([readWord(STACK - 4), readWord(STACK - 8)]).toEqual([CODE0, 0x507]);
    expect(quad(cpu, RSP)).toBe(BigInt(STACK - 8));
  });

  test('a call through a gate changes the stack and copies parameters; RETF comes back', () => {
    enterLevel(3);
    writeQuad(STACK, 0x55n);
    expect(call('farCall', GATE, 0, 32)).toBe(OUTCOME.jumped);
    expect([word(cpu, state.CPL), quad(cpu, state.RIP)]).toEqual([0, 0x1234n]);
    const pushed = [1, 2, 3, 4, 5].map((index) => readWord(0x3000 - 4 * index));
    expect(pushed).toEqual([DATA3, STACK, 0x55, CODE3, 0x507]);
    expect(call('farReturn', 4, 32)).toBe(OUTCOME.jumped);
    expect([word(cpu, state.CPL), quad(cpu, state.RIP)]).toEqual([3, 0x507n]);
    expect(quad(cpu, RSP)).toBe(BigInt(STACK + 4));
    expect(word(cpu, state.segmentSelector(state.SS))).toBe(DATA3);
    // Data segments of level 0 are out of reach now.
    expect(word(cpu, state.segmentSelector(state.DS))).toBe(0);
  });

  test('a return to an inner level is #GP', () => {
    enterLevel(3);
    writeQuad(STACK, (BigInt(CODE0) << 32n) | 0x700n);
    expect(call('farReturn', 0, 32)).toBe(OUTCOME.fault);
    expect(pendingFault(cpu)).toEqual({ vector: 13, errorCode: CODE0 });
  });

  test('a jump to an absent segment is #NP', () => {
    expect(call('farJump', ABSENT, 0, 32)).toBe(OUTCOME.fault);
    expect(pendingFault(cpu)).toEqual({ vector: 11, errorCode: ABSENT });
  });

  test('SYSENTER and SYSEXIT load flat segments', () => {
    setQuad(cpu, state.SYSENTER_CS, 8n);
    setQuad(cpu, state.SYSENTER_EIP, 0x800n);
    setQuad(cpu, state.SYSENTER_ESP, 0x3000n);
    enterLevel(3);
    expect(call('sysenter')).toBe(OUTCOME.jumped);
    expect([word(cpu, state.CPL), quad(cpu, state.RIP), quad(cpu, RSP)]).toEqual([
      0,
      0x800n,
      0x3000n,
    ]);
    setQuad(cpu, state.registerSlot(1), 0x4000n);
    setQuad(cpu, state.registerSlot(2), 0x900n);
    expect(call('sysexit', 32)).toBe(OUTCOME.jumped);
    expect([word(cpu, state.CPL), quad(cpu, state.RIP), quad(cpu, RSP)]).toEqual([
      3,
      0x900n,
      0x4000n,
    ]);
    expect(word(cpu, state.segmentSelector(state.CS))).toBe(0x1b);
  });

  test('SYSENTER without a code segment is #GP(0)', () => {
    expect(call('sysenter')).toBe(OUTCOME.fault);
    expect(pendingFault(cpu)).toEqual({ vector: 13, errorCode: 0 });
  });
});

describe('questions about segments', () => {
  const zero = () => (readRflagsOf(cpu) & ZF) !== 0n;

  test('LAR and LSL answer for a segment that may be seen', () => {
    expect(call('loadAccessRights', 0, CODE0, 32)).toBe(OUTCOME.next);
    expect([quad(cpu, state.registerSlot(0)), zero()]).toEqual([0xc0_9a00n, true]);
    call('loadSegmentLimit', 0, DATA0, 32);
    expect([quad(cpu, state.registerSlot(0)), zero()]).toEqual([0xffff_ffffn, true]);
  });

  test('LSL of a gate and of a selector beyond the table clears ZF', () => {
    call('loadSegmentLimit', 0, GATE, 32);
    expect(zero()).toBe(false);
    expect(call('loadSegmentLimit', 0, 0x100, 32)).toBe(OUTCOME.next);
    expect(zero()).toBe(false);
  });

  test.each([
    [0, CODE0, true],
    [1, CODE0, false],
    [1, DATA0, true],
    [0, DATA0 | 3, false],
    [0, 0, false],
  ])('VERR/VERW %d of selector %d says %s', (write, selector, wanted) => {
    call('verifySegment', write, selector);
    expect(zero()).toBe(wanted);
  });

  test('SMSW stores the low half of CR0', () => {
    call('smsw', 0, 0, 0, 16);
    expect(quad(cpu, state.registerSlot(0))).toBe(0x11n);
  });

  test.each([
    [-5, OUTCOME.next],
    [7, OUTCOME.next],
    [8, OUTCOME.fault],
    [-6, OUTCOME.fault],
  ])('BOUND of %d in -5 to 7', (index, outcome) => {
    writeQuad(0x5000, 0x7_ffff_fffbn);
    expect(call('bound', index, state.DS, 0x5000, 32)).toBe(outcome);
    if (outcome === OUTCOME.fault) expect(pendingFault(cpu).vector).toBe(5);
  });
});

describe('ports', () => {
  test('nothing answers: all ones', () => {
    setQuad(cpu, state.registerSlot(0), 0x1122_3344_5566_7788n);
    expect(call('portIn', 0x60, 8)).toBe(OUTCOME.next);
    expect(quad(cpu, state.registerSlot(0))).toBe(0x1122_3344_5566_77ffn);
  });

  test('the I/O permission bit map decides above IOPL', () => {
    enterLevel(3);
    setQuad(cpu, state.segmentLimit(state.TR), 0x168n);
    writeQuad(TSS + 0x60, 0x0068_0000_0000_0000n);
    expect(call('portOut', 0x10, 16)).toBe(OUTCOME.next);
    // Port 0x11 is denied: bit 1 of byte 2.
    writeQuad(TSS + 0x68, 0x2_0000n);
    expect(call('portOut', 0x10, 16)).toBe(OUTCOME.fault);
    expect(call('portOut', 0x10, 8)).toBe(OUTCOME.next);
    expect(call('portOut', 0x10, 32)).toBe(OUTCOME.fault);
  });

  test('without a bit map every port is denied above IOPL', () => {
    enterLevel(3);
    expect(call('portIn', 0x60, 8)).toBe(OUTCOME.fault);
    setQuad(cpu, state.RFLAGS_REST, 0x3002n);
    expect(call('portIn', 0x60, 8)).toBe(OUTCOME.next);
  });

  test('REP INS does one element a time', () => {
    setQuad(cpu, state.registerSlot(1), 2n);
    setQuad(cpu, state.registerSlot(7), 0x5000n);
    expect(call('portInString', 32, 32, 1)).toBe(OUTCOME.jumped);
    expect(quad(cpu, state.registerSlot(1))).toBe(1n);
    expect(readWord(0x5000)).toBe(0xffff_ffff);
    expect(call('portInString', 32, 32, 1)).toBe(OUTCOME.next);
    expect(quad(cpu, state.registerSlot(7))).toBe(0x5008n);
  });
});
