/**
 * Instructions that ask about segments, bounds and the machine status word.
 * Source: SDM Vol. 2A, BOUND, LAR, LSL; Vol. 2B, SMSW; Vol. 2D, VERR/VERW.
 */
import {
  type Cpu,
  cplOf,
  dataAccess,
  isLongMode,
  pendingFault,
  quad,
  raise,
  readLinear,
  setQuad,
  word,
  writeLinear,
} from '../cpu.ts';
import { OUTCOME, type Outcome } from '../processor.ts';
import { readRflagsOf, writeRflagsOf } from '../rflags.ts';
import {
  type Descriptor,
  dplOf,
  isCode,
  isConforming,
  linearOf,
  readDescriptor,
} from '../segmentation.ts';
import * as state from '../state.ts';
import { numberAt, type Operation } from './operation.ts';

const ZF = 0x40n;
const GP = 13;
const CODE_OR_DATA = 0x10;
const READABLE_OR_WRITABLE = 2;
const CR4_UMIP = 1 << 11;
/** Available and busy TSS, LDT, call and task gates; long mode has fewer. */
const LAR_TYPES = { legacy: [1, 2, 3, 4, 5, 9, 11, 12], long: [2, 9, 11, 12] } as const;
const LSL_TYPES = { legacy: [1, 2, 3, 9, 11], long: [2, 9, 11] } as const;

const setZero = (cpu: Cpu, value: boolean): Outcome => {
  const rest = readRflagsOf(cpu) & ~ZF;
  writeRflagsOf(cpu, value ? rest | ZF : rest);
  return OUTCOME.next;
};

/** The descriptor of a selector; undefined if the selector names none that may be seen. */
const visibleDescriptor = (
  cpu: Cpu,
  selector: number,
): Descriptor | { failure: Outcome } | undefined => {
  if ((selector & 0xfffc) === 0) return undefined;
  const descriptor = readDescriptor(cpu, selector, 'GP');
  if ('failure' in descriptor) {
    // Beyond the table's limit there is nothing; a page fault on the table is a fault.
    const isBeyond = descriptor.failure === OUTCOME.fault && pendingFault(cpu).vector === GP;
    return isBeyond ? undefined : descriptor;
  }
  const level = Math.max(cplOf(cpu), selector & 3);
  return isConforming(descriptor) || level <= dplOf(descriptor) ? descriptor : undefined;
};

const isProtected = (cpu: Cpu): boolean => (word(cpu, state.CR0) & 1) !== 0;

export const verifySegment: Operation = (cpu, args) => {
  if (!isProtected(cpu)) return raise(cpu, 'UD');
  const found = visibleDescriptor(cpu, numberAt(args, 1));
  if (found === undefined) return setZero(cpu, false);
  if ('failure' in found) return found.failure;
  const bit = (found.access & READABLE_OR_WRITABLE) !== 0;
  const writes = numberAt(args, 0) === 1;
  const allowed = isCode(found) ? !writes && bit : !writes || bit;
  return setZero(cpu, (found.access & CODE_OR_DATA) !== 0 && allowed);
};

const query =
  (
    types: { readonly legacy: readonly number[]; readonly long: readonly number[] },
    answer: (descriptor: Descriptor, width: number) => number,
  ): Operation =>
  (cpu, args) => {
    if (!isProtected(cpu)) return raise(cpu, 'UD');
    const found = visibleDescriptor(cpu, numberAt(args, 1));
    if (found === undefined) return setZero(cpu, false);
    if ('failure' in found) return found.failure;
    const known = isLongMode(cpu) ? types.long : types.legacy;
    const isKnown = (found.access & CODE_OR_DATA) !== 0 || known.includes(found.access & 15);
    if (!isKnown) return setZero(cpu, false);
    const width = numberAt(args, 2);
    const slot = state.registerSlot(numberAt(args, 0));
    const value = BigInt(answer(found, width) >>> 0);
    setQuad(cpu, slot, width === 16 ? (quad(cpu, slot) & ~0xffffn) | (value & 0xffffn) : value);
    return setZero(cpu, true);
  };

export const loadAccessRights = query(LAR_TYPES, ({ access }, width) =>
  width === 16 ? (access & 0xff) << 8 : (access & 0xf0ff) << 8,
);
export const loadSegmentLimit = query(LSL_TYPES, ({ limit }) => limit);

/** With CR4.UMIP set only level 0 may ask. */
export const smsw: Operation = (cpu, args) => {
  if ((word(cpu, state.CR4) & CR4_UMIP) !== 0 && cplOf(cpu) !== 0) return raise(cpu, 'GP', 0);
  const cr0 = quad(cpu, state.CR0);
  const value = cpu.nonRoot?.readControlRegister(0, cr0) ?? cr0;
  const register = numberAt(args, 0);
  const width = numberAt(args, 3);
  if (register !== 0xff) {
    const slot = state.registerSlot(register);
    const kept = width === 16 ? quad(cpu, slot) & ~0xffffn : 0n;
    setQuad(cpu, slot, kept | BigInt.asUintN(width, value));
    return OUTCOME.next;
  }
  const linear = linearOf(cpu, numberAt(args, 1), args[2] ?? 0n, 2, true);
  if (linear === undefined) return OUTCOME.fault;
  return writeLinear(cpu, linear, 2, value & 0xffffn, dataAccess(cpu, true)) ?? OUTCOME.next;
};

export const bound: Operation = (cpu, args) => {
  const width = numberAt(args, 3);
  const bytes = width / 8;
  const linear = linearOf(cpu, numberAt(args, 1), args[2] ?? 0n, 2 * bytes, false);
  if (linear === undefined) return OUTCOME.fault;
  const found = readLinear(cpu, linear, 2 * bytes, dataAccess(cpu, false));
  if ('failure' in found) return found.failure;
  const index = BigInt.asIntN(width, args[0] ?? 0n);
  const lower = BigInt.asIntN(width, found.value);
  const upper = BigInt.asIntN(width, found.value >> BigInt(width));
  return index < lower || index > upper ? raise(cpu, 'BR') : OUTCOME.next;
};

/** The processor has no performance counters, so that every number is invalid: #GP(0). */
export const rdpmc: Operation = (cpu) => raise(cpu, 'GP', 0);
