/** What privileged operations refuse, and what loads of segments leave in the tables. */
import { beforeEach, describe, expect, test } from 'vitest';
import type { OperationName } from '../../../isa/index.ts';
import type { Maddr } from '../../memory/addresses.ts';
import { createMachineMemory, hostAddressOf } from '../../memory/machine-memory.ts';
import {
  type Cpu,
  pendingFault,
  quad,
  setQuad,
  setWord,
  TASK_SWITCH_SOURCE,
  word,
} from '../cpu.ts';
import { deliverEvent, deliverPendingFault, EVENT_TYPE } from '../exceptions.ts';
import { noSecondStage } from '../paging.ts';
import { OUTCOME } from '../processor.ts';
import * as state from '../state.ts';
import { operationOf } from './catalog.ts';

const memory = createMachineMemory(0x1_0000);
const GDT = 0x1000;
const TSS = 0x2000;
const IDT = 0x3000;
const STACK = 0x4000;
const CODE0 = 0x08;
const DATA0 = 0x10;
const CODE3 = 0x1b;
const DATA3 = 0x23;
const TASK = 0x28;
const BUSY_TASK = 0x30;
const TASK_GATE = 0x38;
const SHORT_TASK = 0x40;
const LONG_CODE0 = 0x48;
const UD = 6;
const TS = 10;
const NP = 11;
const GP = 13;
const RSP = state.registerSlot(4);

let cpu: Cpu;
let switches: (readonly [number, number])[];

const writeQuad = (address: number, value: bigint) => {
  memory.view.setBigUint64(hostAddressOf(address as Maddr), value, true);
};
const call = (name: OperationName, ...args: readonly (number | bigint)[]) =>
  operationOf(name)(cpu, args.map(BigInt));
const isAccessed = (selector: number) =>
  ((memory.bytes[hostAddressOf((GDT + (selector & 0xfff8) + 5) as Maddr)] ?? 0) & 1) === 1;
const setRights = (segment: number, selector: number, rights: number) => {
  setQuad(cpu, state.segmentSelector(segment), BigInt(selector));
  setQuad(cpu, state.segmentLimit(segment), 0xffff_ffffn);
  setQuad(cpu, state.segmentAccess(segment), BigInt(rights));
};
const fault = (vector: number, errorCode?: number) => {
  expect(pendingFault(cpu)).toEqual({ vector, errorCode });
};
const enterLong = () => {
  setQuad(cpu, state.EFER, 0x500n);
  setRights(state.CS, LONG_CODE0, 0xa09b);
  setWord(cpu, state.CODE_WIDTH, 64);
};

beforeEach(() => {
  memory.bytes.fill(0, state.WINDOW, state.WINDOW + state.WINDOW_BYTES);
  memory.bytes.fill(0, hostAddressOf(0 as Maddr), hostAddressOf(0x1_0000 as Maddr));
  switches = [];
  cpu = {
    memory,
    stage: noSecondStage,
    nonRoot: {
      intercepts: () => false,
      interceptsException: () => false,
      tripleFault: () => undefined,
      taskSwitch: (selector, source) => switches.push([selector, source]),
      readControlRegister: (_, value) => value,
      writeControlRegister: (_, _old, value) => value,
    },
    instructionLength: 2,
    delivering: 0,
    deliveringErrorCode: 0,
    timeStamp: () => 0n,
    invalidate: () => undefined,
  };
  setQuad(cpu, state.CR0, 0x31n);
  setQuad(cpu, state.RFLAGS_REST, 2n);
  setQuad(cpu, RSP, BigInt(STACK));
  setWord(cpu, state.CODE_WIDTH, 32);
  setQuad(cpu, state.GDTR_BASE, BigInt(GDT));
  setQuad(cpu, state.GDTR_LIMIT, 0x57n);
  setQuad(cpu, state.IDTR_BASE, BigInt(IDT));
  setQuad(cpu, state.IDTR_LIMIT, 0x7ffn);
  for (const segment of [state.ES, state.SS, state.DS, state.FS, state.GS])
    setRights(segment, DATA0, 0xc093);
  setRights(state.CS, CODE0, 0xc09b);
  setRights(state.TR, TASK, 0x8b);
  setQuad(cpu, state.segmentBase(state.TR), BigInt(TSS));
  writeQuad(GDT + CODE0, 0x00cf_9a00_0000_ffffn);
  writeQuad(GDT + DATA0, 0x00cf_9200_0000_ffffn);
  writeQuad(GDT + 0x18, 0x00cf_fa00_0000_ffffn);
  writeQuad(GDT + 0x20, 0x00cf_f200_0000_ffffn);
  writeQuad(GDT + TASK, 0x0000_8900_5000_0067n);
  writeQuad(GDT + BUSY_TASK, 0x0000_8b00_5000_0067n);
  writeQuad(GDT + TASK_GATE, 0x0000_8500_0028_0000n);
  writeQuad(GDT + SHORT_TASK, 0x0000_8900_5000_0066n);
  writeQuad(GDT + LONG_CODE0, 0x00af_9a00_0000_ffffn);
});

describe('debug registers', () => {
  test('DR4 and DR5 are DR6 and DR7, or #UD with CR4.DE set, before the privilege', () => {
    expect(call('writeDebugRegister', 4, 1)).toBe(OUTCOME.next);
    expect(quad(cpu, state.DR6)).toBe(0xffff_0ff1n);
    setQuad(cpu, state.CR4, 8n);
    setWord(cpu, state.CPL, 3);
    expect(call('readDebugRegister', 5, 0)).toBe(OUTCOME.fault);
    fault(UD);
  });

  test('bits 11, 12, 14 and 15 of DR7 stay 0, bit 10 stays 1', () => {
    call('writeDebugRegister', 7, 0xffff_ffff);
    expect(quad(cpu, state.DR7)).toBe(0xffff_27ffn);
  });

  test('general detect makes MOV DR #DB with DR6.BD, and turns itself off', () => {
    setQuad(cpu, state.DR7, 0x2400n);
    expect(call('readDebugRegister', 0, 0)).toBe(OUTCOME.fault);
    fault(1);
    writeQuad(IDT + 8, 0x0000_8e00_0008_7000n);
    expect(deliverPendingFault(cpu)).toBe(OUTCOME.jumped);
    expect([quad(cpu, state.DR6), quad(cpu, state.DR7)]).toEqual([0x2000n, 0x400n]);
  });
});

describe('IA-32e mode', () => {
  beforeEach(() => {
    setQuad(cpu, state.CR4, 0x20n);
    setQuad(cpu, state.EFER, 0x100n);
  });
  const turnPagingOn = () => call('writeControlRegister', 0, 0x8000_0031);

  test('begins when paging is turned on', () => {
    expect(turnPagingOn()).toBe(OUTCOME.next);
    expect(quad(cpu, state.EFER)).toBe(0x500n);
  });

  test.each([
    ['without CR4.PAE', () => setQuad(cpu, state.CR4, 0n)],
    ['from a code segment with L set', () => setRights(state.CS, LONG_CODE0, 0xa09b)],
    ['with a 16-bit TSS', () => setRights(state.TR, TASK, 0x83)],
  ])('does not begin %s: #GP(0)', (_name, spoil) => {
    spoil();
    expect(turnPagingOn()).toBe(OUTCOME.fault);
    fault(GP, 0);
    expect(quad(cpu, state.EFER)).toBe(0x100n);
  });
});

describe('table registers', () => {
  test('LGDT of a base that is not canonical is #GP(0) in 64-bit mode', () => {
    enterLong();
    writeQuad(0x6000, 0x0000_0000_0000_ffffn);
    writeQuad(0x6008, 0x8000n);
    expect(call('loadDescriptorTable', 0, state.DS, 0x6000, 64)).toBe(OUTCOME.fault);
    fault(GP, 0);
    expect(quad(cpu, state.GDTR_BASE)).toBe(BigInt(GDT));
  });

  test('LTR takes a 16-bit TSS outside IA-32e mode only', () => {
    writeQuad(GDT + TASK, 0x0000_8100_5000_002bn);
    expect(call('loadTaskOrLocalTable', 1, 0xff, state.DS, 0x6000)).toBe(OUTCOME.fault);
    fault(GP, 0);
    writeQuad(0x6000, BigInt(TASK));
    expect(call('loadTaskOrLocalTable', 1, 0xff, state.DS, 0x6000)).toBe(OUTCOME.next);
    expect(word(cpu, state.segmentAccess(state.TR))).toBe(0x83);
    writeQuad(GDT + TASK, 0x0000_8100_5000_002bn);
    enterLong();
    expect(call('loadTaskOrLocalTable', 1, 0xff, state.DS, 0x6000)).toBe(OUTCOME.fault);
    fault(GP, TASK);
  });

  test.each([
    ['a type in its upper half', 0x0000_0100_0000_0000n],
    ['a base that is not canonical', 0x0000_0000_0000_8000n],
  ])('LTR refuses a descriptor with %s', (_name, upper) => {
    enterLong();
    writeQuad(GDT + BUSY_TASK, upper);
    writeQuad(0x6000, BigInt(TASK));
    expect(call('loadTaskOrLocalTable', 1, 0xff, state.DS, 0x6000)).toBe(OUTCOME.fault);
    fault(GP, TASK);
  });

  test('RDFSBASE is there in 64-bit mode only', () => {
    setQuad(cpu, state.CR4, 0x1_0000n);
    setQuad(cpu, state.EFER, 0x500n);
    expect(call('readSegmentBase', state.FS, 0, 32)).toBe(OUTCOME.fault);
    fault(UD);
    enterLong();
    expect(call('readSegmentBase', state.FS, 0, 32)).toBe(OUTCOME.next);
  });
});

describe('loads of CS and SS set the accessed bit of the descriptor', () => {
  test('a far jump', () => {
    expect(call('farJump', CODE0, 0x700, 32)).toBe(OUTCOME.jumped);
    expect(isAccessed(CODE0)).toBe(true);
  });

  test('IRET to an outer level', () => {
    writeQuad(STACK, (BigInt(CODE3) << 32n) | 0x700n);
    writeQuad(STACK + 8, 0x5000_0000_0002n);
    writeQuad(STACK + 16, BigInt(DATA3));
    expect(call('interruptReturn', 32)).toBe(OUTCOME.jumped);
    expect([isAccessed(CODE3), isAccessed(DATA3)]).toEqual([true, true]);
  });

  test('an interrupt to an inner level', () => {
    setWord(cpu, state.CPL, 3);
    setRights(state.CS, CODE3, 0xc0fb);
    setRights(state.SS, DATA3, 0xc0f3);
    writeQuad(TSS + 4, (BigInt(DATA0) << 32n) | 0x3f00n);
    writeQuad(IDT + 0x20 * 8, 0x0000_8e00_0008_7000n);
    const event = { vector: 0x20, type: EVENT_TYPE.externalInterrupt, errorCode: undefined };
    expect(deliverEvent(cpu, event)).toBe(OUTCOME.jumped);
    expect([isAccessed(CODE0), isAccessed(DATA0)]).toEqual([true, true]);
  });
});

describe('task switches', () => {
  test.each([
    ['a jump to a TSS', 'farJump', TASK, TASK_SWITCH_SOURCE.jmp],
    ['a call of a TSS', 'farCall', TASK, TASK_SWITCH_SOURCE.call],
    ['a call through a task gate', 'farCall', TASK_GATE, TASK_SWITCH_SOURCE.call],
  ] as const)('%s makes a VM exit that tells the TSS', (_name, operation, selector, source) => {
    expect(call(operation, selector, 0, 32)).toBe(OUTCOME.exit);
    expect(switches).toEqual([[TASK, source]]);
  });

  test('so does an interrupt through a task gate', () => {
    writeQuad(IDT + 0x20 * 8, 0x0000_8500_0028_0000n);
    const event = { vector: 0x20, type: EVENT_TYPE.externalInterrupt, errorCode: undefined };
    expect(deliverEvent(cpu, event)).toBe(OUTCOME.exit);
    expect(switches).toEqual([[TASK, TASK_SWITCH_SOURCE.gate]]);
  });

  test('IRET with NT set goes to a busy TSS, and to no other', () => {
    setQuad(cpu, state.RFLAGS_REST, 0x4002n);
    writeQuad(TSS, BigInt(BUSY_TASK));
    expect(call('interruptReturn', 32)).toBe(OUTCOME.exit);
    expect(switches).toEqual([[BUSY_TASK, TASK_SWITCH_SOURCE.iret]]);
    writeQuad(TSS, BigInt(TASK));
    expect(call('interruptReturn', 32)).toBe(OUTCOME.fault);
    fault(TS, TASK);
  });

  test.each([
    ['a busy TSS', BUSY_TASK, GP],
    ['a TSS that is too short', SHORT_TASK, TS],
  ])('%s is refused', (_name, selector, vector) => {
    expect(call('farJump', selector, 0, 32)).toBe(OUTCOME.fault);
    fault(vector, selector);
  });

  test('an absent TSS, a privileged one, and any in IA-32e mode are refused', () => {
    writeQuad(GDT + TASK, 0x0000_0900_5000_0067n);
    call('farJump', TASK, 0, 32);
    fault(NP, TASK);
    writeQuad(GDT + TASK, 0x0000_8900_5000_0067n);
    setWord(cpu, state.CPL, 3);
    call('farJump', TASK, 0, 32);
    fault(GP, TASK);
    setWord(cpu, state.CPL, 0);
    enterLong();
    call('farJump', TASK, 0, 64);
    fault(GP, TASK);
    expect(switches).toEqual([]);
  });
});
