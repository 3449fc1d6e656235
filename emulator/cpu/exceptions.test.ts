/** Single steps and undeliverable faults, with the precise engine in flat protected mode. */
import { expect, test } from 'vitest';
import { createPreciseEngine } from '../engine/precise.ts';
import type { Maddr } from '../memory/addresses.ts';
import { createMachineMemory, hostAddressOf } from '../memory/machine-memory.ts';
import { type Cpu, quad, setQuad, setWord } from './cpu.ts';
import { noSecondStage } from './paging.ts';
import * as state from './state.ts';

const CODE = 0x1000;

const cpuWith = (code: readonly number[]): Cpu => {
  const memory = createMachineMemory(0x1_0000);
  memory.bytes.set(code, hostAddressOf(CODE as Maddr));
  const cpu: Cpu = {
    memory,
    stage: noSecondStage,
    nonRoot: undefined,
    instructionLength: 0,
    delivering: 0,
    deliveringErrorCode: 0,
    timeStamp: () => 0n,
    invalidate: () => undefined,
  };
  setQuad(cpu, state.CR0, 0x11n);
  setQuad(cpu, state.RFLAGS_REST, 2n);
  setQuad(cpu, state.RIP, BigInt(CODE));
  setWord(cpu, state.CODE_WIDTH, 32);
  for (let segment = 0; segment < 6; segment += 1) {
    setQuad(cpu, state.segmentLimit(segment), 0xffff_ffffn);
    setQuad(cpu, state.segmentAccess(segment), segment === state.CS ? 0xc09bn : 0xc093n);
  }
  return cpu;
};

test('with TF set a REP instruction traps after each iteration', () => {
  const cpu = cpuWith([0xf3, 0xaa]);
  const vectors: number[] = [];
  cpu.nonRoot = {
    intercepts: () => false,
    interceptsException: (vector) => vectors.push(vector) > 0,
    tripleFault: () => undefined,
    readControlRegister: (_, value) => value,
    writeControlRegister: (_, _old, value) => value,
  };
  setQuad(cpu, state.RFLAGS_REST, 0x102n);
  setQuad(cpu, state.registerSlot(1), 2n);
  setQuad(cpu, state.registerSlot(7), 0x5000n);
  const { step } = createPreciseEngine(cpu);
  expect(step()).toBe('exit');
  expect([vectors, quad(cpu, state.RIP), quad(cpu, state.registerSlot(1))]).toEqual([
    [1],
    BigInt(CODE),
    1n,
  ]);
  expect(step()).toBe('exit');
  expect([vectors, quad(cpu, state.RIP)]).toEqual([[1, 1], BigInt(CODE + 2)]);
});

test('a fault without an IDT ends in shutdown', () => {
  expect(createPreciseEngine(cpuWith([0x0f, 0x0b])).step()).toBe('shutdown');
});

test('an instruction of 16 bytes raises #GP, not #UD', () => {
  const cpu = cpuWith([...new Array<number>(15).fill(0x2e), 0x90]);
  const vectors: number[] = [];
  cpu.nonRoot = {
    intercepts: () => false,
    interceptsException: (vector) => vectors.push(vector) > 0,
    tripleFault: () => undefined,
    readControlRegister: (_, value) => value,
    writeControlRegister: (_, _old, value) => value,
  };
  expect(createPreciseEngine(cpu).step()).toBe('exit');
  expect(vectors).toEqual([13]);
});
