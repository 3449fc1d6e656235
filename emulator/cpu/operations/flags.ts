/** Flag operations that depend on privilege: SDM Vol. 2, CLI, STI, PUSHF, POPF, CLAC, STAC. */
import {
  type Cpu,
  cplOf,
  dataAccess,
  quad,
  raise,
  readLinear,
  setQuad,
  setWord,
  word,
  writeLinear,
} from '../cpu.ts';
import { OUTCOME } from '../processor.ts';
import { readRflagsOf, writeRflagsOf } from '../rflags.ts';
import { linearOf } from '../segmentation.ts';
import { currentStack, setStackPointer } from '../stacks.ts';
import * as state from '../state.ts';
import { numberAt, type Operation } from './operation.ts';

const IF = 0x200n;
const IOPL = 0x3000n;
const AC = 1n << 18n;
/** TF, DF, NT, AC, ID and the status flags: POPF changes them at any level. */
const CHANGEABLE = 0x24_4dd5n;

const ioplOf = (cpu: Cpu): number => Number((quad(cpu, state.RFLAGS_REST) >> 12n) & 3n);

const setBit = (cpu: Cpu, bit: bigint, value: boolean): void => {
  const old = quad(cpu, state.RFLAGS_REST);
  setQuad(cpu, state.RFLAGS_REST, value ? old | bit : old & ~bit);
};

export const cli: Operation = (cpu) => {
  if (cplOf(cpu) > ioplOf(cpu)) return raise(cpu, 'GP', 0);
  setBit(cpu, IF, false);
  return OUTCOME.next;
};

export const sti: Operation = (cpu) => {
  if (cplOf(cpu) > ioplOf(cpu)) return raise(cpu, 'GP', 0);
  const wasClear = (quad(cpu, state.RFLAGS_REST) & IF) === 0n;
  setBit(cpu, IF, true);
  if (wasClear) setWord(cpu, state.INTERRUPTIBILITY, word(cpu, state.INTERRUPTIBILITY) | 1);
  return OUTCOME.next;
};

const accessControl =
  (value: boolean): Operation =>
  (cpu) => {
    if (cplOf(cpu) !== 0) return raise(cpu, 'UD');
    setBit(cpu, AC, value);
    return OUTCOME.next;
  };

export const clac = accessControl(false);
export const stac = accessControl(true);

export const pushFlags: Operation = (cpu, args) => {
  const bytes = numberAt(args, 0) / 8;
  const { top: old, pointerWidth } = currentStack(cpu);
  const top = BigInt.asUintN(pointerWidth, old - BigInt(bytes));
  const linear = linearOf(cpu, state.SS, top, bytes, true);
  if (linear === undefined) return OUTCOME.fault;
  // RF and VM are stored as 0.
  const value = BigInt.asUintN(bytes * 8, readRflagsOf(cpu) & ~0x3_0000n);
  const failure = writeLinear(cpu, linear, bytes, value, dataAccess(cpu, true));
  if (failure !== undefined) return failure;
  setStackPointer(cpu, pointerWidth, top);
  return OUTCOME.next;
};

export const popFlags: Operation = (cpu, args) => {
  const bytes = numberAt(args, 0) / 8;
  const { top, pointerWidth } = currentStack(cpu);
  const linear = linearOf(cpu, state.SS, top, bytes, false);
  if (linear === undefined) return OUTCOME.fault;
  const found = readLinear(cpu, linear, bytes, dataAccess(cpu, false));
  if ('failure' in found) return found.failure;
  const cpl = cplOf(cpu);
  const mask = CHANGEABLE | (cpl === 0 ? IOPL : 0n) | (cpl <= ioplOf(cpu) ? IF : 0n);
  const changed = bytes === 2 ? mask & 0xffffn : mask;
  writeRflagsOf(cpu, (readRflagsOf(cpu) & ~changed) | (found.value & changed));
  setStackPointer(cpu, pointerWidth, top + BigInt(bytes));
  return OUTCOME.next;
};
