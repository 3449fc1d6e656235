/**
 * A simulated processor in the state in which a user program runs: privilege level 3, 64-bit or
 * compatibility mode, four-level paging with the pages of harness.c. It answers cases with
 * whatever engine it is given.
 */
import type { Cpu } from '../../emulator/cpu/cpu.ts';
import { quad, setQuad, setWord } from '../../emulator/cpu/cpu.ts';
import { noSecondStage } from '../../emulator/cpu/paging.ts';
import { readRflagsOf, writeRflagsOf } from '../../emulator/cpu/rflags.ts';
import * as state from '../../emulator/cpu/state.ts';
import type { StepResult } from '../../emulator/engine/precise.ts';
import type { Maddr } from '../../emulator/memory/addresses.ts';
import { createMachineMemory, hostAddressOf } from '../../emulator/memory/machine-memory.ts';
import { type Case, CODE, DATA, DATA_BYTES, GS_BASE, initialMemory } from './cases.ts';
import type { Result } from './result.ts';

/** Makes an engine: a function that executes one instruction, or one iteration of it. */
export type CreateEngine = (cpu: Cpu) => () => StepResult;

const TABLES = 0x1000;
const PRESENT_WRITABLE_USER = 7;
const PRESENT_USER = 5;
const FLAT_DATA = 0xc0f3;
const CODE_RIGHTS = { 64: 0xa0fb, 32: 0xc0fb } as const;
const CODE_SELECTOR = { 64: 0x33, 32: 0x23 } as const;
const STACK_SELECTOR = 0x2b;

/** A function that answers one case. */
export const createBench = (createEngine: CreateEngine): ((one: Case) => Result) => {
  const memory = createMachineMemory(0x4_0000);
  let fault: Result['fault'];
  const cpu: Cpu = {
    memory,
    stage: noSecondStage,
    nonRoot: {
      intercepts: () => false,
      interceptsException: (vector, errorCode) => {
        const address = vector === 14 ? quad(cpu, state.FAULT_ADDRESS) : 0n;
        fault = { vector, error: errorCode ?? 0, address };
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
  const entry = (table: number, index: number, value: number) => {
    memory.quads[(hostAddressOf((table + index * 8) as Maddr) >>> 3) as number] = BigInt(value);
  };
  for (let level = 0; level < 3; level += 1) {
    entry(TABLES * (level + 1), 0, TABLES * (level + 2) + PRESENT_WRITABLE_USER);
  }
  const map = (address: number, rights: number) =>
    entry(TABLES * 4, address >> 12, (address & ~0xfff) + rights);
  map(CODE, PRESENT_USER);
  map(DATA, PRESENT_WRITABLE_USER);
  map(DATA + 0x1000, PRESENT_WRITABLE_USER);
  map(DATA + DATA_BYTES, PRESENT_USER);
  const initial = initialMemory();
  const data = hostAddressOf(DATA as Maddr);
  const code = hostAddressOf(CODE as Maddr);
  memory.bytes.set(initial, data);
  const step = createEngine(cpu);

  const prepare = ({ bits, registers, flags }: Case): void => {
    for (const [register, value] of registers.entries()) {
      setQuad(cpu, state.registerSlot(register), value);
    }
    for (let segment = 0; segment < 6; segment += 1) {
      const isCode = segment === state.CS;
      const isNull = segment === state.FS || segment === state.GS;
      const selector = isCode ? CODE_SELECTOR[bits] : isNull ? 0 : STACK_SELECTOR;
      setQuad(cpu, state.segmentSelector(segment), BigInt(selector));
      setQuad(cpu, state.segmentBase(segment), segment === state.GS ? BigInt(GS_BASE) : 0n);
      setQuad(cpu, state.segmentLimit(segment), 0xffff_ffffn);
      const rights = isCode ? CODE_RIGHTS[bits] : isNull ? 0x1_0000 : FLAT_DATA;
      setQuad(cpu, state.segmentAccess(segment), BigInt(rights));
    }
    setQuad(cpu, state.CR0, 0x8005_0033n);
    setQuad(cpu, state.CR3, BigInt(TABLES));
    setQuad(cpu, state.CR4, 0x3206b0n);
    setQuad(cpu, state.EFER, 0xd01n);
    setQuad(cpu, state.RIP, BigInt(CODE));
    setWord(cpu, state.CPL, 3);
    setWord(cpu, state.CODE_WIDTH, bits);
    writeRflagsOf(cpu, BigInt(flags));
    cpu.invalidate();
  };

  const changesOf = ({ tested }: Case): Result['memory'] => {
    const now = memory.bytes.subarray(data, data + DATA_BYTES);
    // The processor was stepped by TF, which PUSHF's image shows.
    const image = Number(quad(cpu, state.registerSlot(4))) - DATA + 1;
    if (tested.mnemonic.startsWith('pushf') && fault === undefined)
      now[image] = 1 | (now[image] ?? 0);
    if (initial.compare(now, 0, DATA_BYTES, 0, DATA_BYTES) === 0) return [];
    const changes: [number, number][] = [];
    for (const [offset, byte] of now.entries()) {
      if (byte !== initial[offset]) changes.push([offset, byte]);
    }
    now.set(initial.subarray(0, DATA_BYTES));
    return changes;
  };

  return (one) => {
    memory.bytes.fill(0, code, code + 24);
    memory.bytes.set(one.code, code);
    prepare(one);
    fault = undefined;
    while (step() === 'unfinished');
    return {
      registers: one.registers.map((_, register) => quad(cpu, state.registerSlot(register))),
      flags: Number(readRflagsOf(cpu)),
      rip: quad(cpu, state.RIP),
      fault,
      memory: changesOf(one),
    };
  };
};
