/** Descriptor-table registers, LTR and LLDT. SDM Vol. 3A 2.4, 7.2.4; Vol. 2A LGDT/LIDT, LTR. */
import {
  type Cpu,
  cplOf,
  dataAccess,
  is64Bit,
  isLongMode,
  quad,
  raise,
  readLinear,
  SYSTEM_READ,
  setQuad,
  word,
  writeLinear,
} from '../cpu.ts';
import { OUTCOME } from '../processor.ts';
import {
  clearSegment,
  isCanonical,
  isPresent,
  linearOf,
  readDescriptor,
  setSegment,
} from '../segmentation.ts';
import * as state from '../state.ts';
import { numberAt, type Operation, readWordSource } from './operation.ts';

/** With CR4.UMIP set only level 0 may store system registers: SDM Vol. 3A 2.5. */
const CR4_UMIP = 1 << 11;
const isHidden = (cpu: Cpu): boolean => (word(cpu, state.CR4) & CR4_UMIP) !== 0 && cplOf(cpu) !== 0;
const isProtected = (cpu: Cpu): boolean => (word(cpu, state.CR0) & 1) !== 0;

const baseSlot = (table: number): number => (table === 0 ? state.GDTR_BASE : state.IDTR_BASE);
const limitSlot = (table: number): number => (table === 0 ? state.GDTR_LIMIT : state.IDTR_LIMIT);

export const loadDescriptorTable: Operation = (cpu, args) => {
  if (cplOf(cpu) !== 0) return raise(cpu, 'GP', 0);
  const table = numberAt(args, 0);
  const bytes = is64Bit(cpu) ? 10 : 6;
  const linear = linearOf(cpu, numberAt(args, 1), args[2] ?? 0n, bytes, false);
  if (linear === undefined) return OUTCOME.fault;
  const found = readLinear(cpu, linear, bytes, dataAccess(cpu, false));
  if ('failure' in found) return found.failure;
  const base = found.value >> 16n;
  if (is64Bit(cpu) && !isCanonical(base)) return raise(cpu, 'GP', 0);
  setQuad(cpu, baseSlot(table), numberAt(args, 3) === 16 ? base & 0xff_ffffn : base);
  setQuad(cpu, limitSlot(table), found.value & 0xffffn);
  return OUTCOME.next;
};

export const storeDescriptorTable: Operation = (cpu, args) => {
  if (isHidden(cpu)) return raise(cpu, 'GP', 0);
  const table = numberAt(args, 0);
  const bytes = is64Bit(cpu) ? 10 : 6;
  const linear = linearOf(cpu, numberAt(args, 1), args[2] ?? 0n, bytes, true);
  if (linear === undefined) return OUTCOME.fault;
  const value = (quad(cpu, baseSlot(table)) << 16n) | (quad(cpu, limitSlot(table)) & 0xffffn);
  const failure = writeLinear(cpu, linear, bytes, value, dataAccess(cpu, true));
  return failure ?? OUTCOME.next;
};

const LDT_TYPE = 2;
const AVAILABLE_TSS = 9;
const AVAILABLE_TSS_16 = 1;
const BUSY = 2;

export const loadTaskOrLocalTable: Operation = (cpu, args) => {
  if (!isProtected(cpu)) return raise(cpu, 'UD');
  if (cplOf(cpu) !== 0) return raise(cpu, 'GP', 0);
  const isTask = numberAt(args, 0) === 1;
  const source = readWordSource(cpu, args, 1);
  if ('failure' in source) return source.failure;
  const selector = source.value;
  const code = selector & 0xfffc;
  if (code === 0) {
    if (isTask) return raise(cpu, 'GP', 0);
    clearSegment(cpu, state.LDTR, selector);
    return OUTCOME.next;
  }
  if ((selector & 4) !== 0) return raise(cpu, 'GP', code);
  const descriptor = readDescriptor(cpu, selector, 'GP', true);
  if ('failure' in descriptor) return descriptor.failure;
  const type = descriptor.access & 0x1f;
  const isKnown = isTask
    ? type === AVAILABLE_TSS || (type === AVAILABLE_TSS_16 && !isLongMode(cpu))
    : type === LDT_TYPE;
  if (!isKnown || descriptor.hasUpperType === true) return raise(cpu, 'GP', code);
  if (!isPresent(descriptor)) return raise(cpu, 'NP', code);
  if (!isCanonical(descriptor.base)) return raise(cpu, 'GP', code);
  if (!isTask) {
    setSegment(cpu, state.LDTR, descriptor);
    return OUTCOME.next;
  }
  const busy = BigInt((descriptor.access & 0xff) | BUSY);
  const failure = writeLinear(cpu, descriptor.at + 5n, 1, busy, SYSTEM_READ);
  if (failure !== undefined) return failure;
  setSegment(cpu, state.TR, { ...descriptor, access: descriptor.access | BUSY });
  return OUTCOME.next;
};

export const storeTaskOrLocalTable: Operation = (cpu, args) => {
  if (!isProtected(cpu)) return raise(cpu, 'UD');
  if (isHidden(cpu)) return raise(cpu, 'GP', 0);
  const segment = numberAt(args, 0) === 1 ? state.TR : state.LDTR;
  const selector = BigInt(word(cpu, state.segmentSelector(segment)));
  const register = numberAt(args, 1);
  if (register !== 0xff) {
    const slot = state.registerSlot(register);
    const is16 = numberAt(args, 4) === 16;
    setQuad(cpu, slot, is16 ? (quad(cpu, slot) & ~0xffffn) | selector : selector);
    return OUTCOME.next;
  }
  const linear = linearOf(cpu, numberAt(args, 2), args[3] ?? 0n, 2, true);
  if (linear === undefined) return OUTCOME.fault;
  return writeLinear(cpu, linear, 2, selector, dataAccess(cpu, true)) ?? OUTCOME.next;
};

/** RDFSBASE and its kin need CR4.FSGSBASE, in 64-bit mode. */
const CR4_FSGSBASE = 1 << 16;
const hasBaseInstructions = (cpu: Cpu): boolean =>
  is64Bit(cpu) && (word(cpu, state.CR4) & CR4_FSGSBASE) !== 0;

export const readSegmentBase: Operation = (cpu, args) => {
  if (!hasBaseInstructions(cpu)) return raise(cpu, 'UD');
  const base = quad(cpu, state.segmentBase(numberAt(args, 0)));
  setQuad(cpu, state.registerSlot(numberAt(args, 1)), BigInt.asUintN(numberAt(args, 2), base));
  return OUTCOME.next;
};

export const writeSegmentBase: Operation = (cpu, args) => {
  if (!hasBaseInstructions(cpu)) return raise(cpu, 'UD');
  const value = args[1] ?? 0n;
  if (!isCanonical(value)) return raise(cpu, 'GP', 0);
  setQuad(cpu, state.segmentBase(numberAt(args, 0)), value);
  return OUTCOME.next;
};
