/**
 * Segments: descriptors, loading segment registers, linear addresses.
 * Source: SDM Vol. 3A 3.4 "Logical and Linear Addresses", 5.5 to 5.8 (protection checks). The
 * registers hold access rights in the VMCS's format: SDM Vol. 3C 24.4.1, Table 24-2.
 */
import type { ExceptionName } from '../../isa/index.ts';
import {
  type Cpu,
  cplOf,
  type Failure,
  is64Bit,
  isLongMode,
  quad,
  raise,
  readLinear,
  SYSTEM_READ,
  setQuad,
  setWord,
  word,
  writeLinear,
} from './cpu.ts';
import * as state from './state.ts';

export const UNUSABLE = 1 << 16;
const TYPE_CODE = 8;
const TYPE_CONFORMING = 4;
const TYPE_WRITABLE = 2;
const TYPE_ACCESSED = 1;
const IS_CODE_OR_DATA = 0x10;
const PRESENT = 0x80;
const LONG = 0x2000;
const DEFAULT_BIG = 0x4000;
const GRANULAR = 0x8000;

export interface Descriptor {
  readonly selector: number;
  /** Linear address of the descriptor. */
  readonly at: bigint;
  readonly base: bigint;
  /** In bytes. */
  readonly limit: number;
  readonly access: number;
  /** Of a descriptor of 16 bytes: its upper half has a type, which is refused. */
  readonly hasUpperType?: boolean;
}

export const dplOf = ({ access }: Descriptor): number => (access >> 5) & 3;
export const isPresent = ({ access }: Descriptor): boolean => (access & PRESENT) !== 0;
export const isCode = ({ access }: Descriptor): boolean =>
  (access & IS_CODE_OR_DATA) !== 0 && (access & TYPE_CODE) !== 0;
export const isConforming = (descriptor: Descriptor): boolean =>
  isCode(descriptor) && (descriptor.access & TYPE_CONFORMING) !== 0;
const isWritableData = ({ access }: Descriptor): boolean =>
  (access & (IS_CODE_OR_DATA | TYPE_CODE | TYPE_WRITABLE)) === (IS_CODE_OR_DATA | TYPE_WRITABLE);

/** Reads a descriptor from the GDT or LDT; beyond the table's limit `exception` is raised. */
export const readDescriptor = (
  cpu: Cpu,
  selector: number,
  exception: ExceptionName,
  isSystem = false,
): Descriptor | { failure: Failure } => {
  const isLocal = (selector & 4) !== 0;
  const base = quad(cpu, isLocal ? state.segmentBase(state.LDTR) : state.GDTR_BASE);
  const limit = word(cpu, isLocal ? state.segmentLimit(state.LDTR) : state.GDTR_LIMIT);
  const usable = !isLocal || (word(cpu, state.segmentAccess(state.LDTR)) & UNUSABLE) === 0;
  const bytes = isSystem && isLongMode(cpu) ? 16 : 8;
  const offset = selector & 0xfff8;
  if (!usable || offset + bytes - 1 > limit >>> 0) {
    return { failure: raise(cpu, exception, selector & 0xfffc) as Failure };
  }
  const at = BigInt.asUintN(64, base + BigInt(offset));
  const found = readLinear(cpu, at, bytes, SYSTEM_READ);
  if ('failure' in found) return found;
  const low = Number(found.value & 0xffff_ffffn);
  const high = Number((found.value >> 32n) & 0xffff_ffffn);
  const access = (high >>> 8) & 0xf0ff;
  const raw = (high & 0xf_0000) | (low & 0xffff);
  const upper = bytes === 16 ? found.value >> 64n : 0n;
  const base32 = BigInt(((high & 0xff00_0000) | ((high & 0xff) << 16) | (low >>> 16)) >>> 0);
  return {
    selector,
    at,
    base: base32 | ((upper & 0xffff_ffffn) << 32n),
    limit: (access & GRANULAR) === 0 ? raw : ((raw << 12) | 0xfff) >>> 0,
    access,
    hasUpperType: ((upper >> 40n) & 0x1fn) !== 0n,
  };
};

/** Puts a descriptor into a segment register; its access rights say "accessed". */
export const setSegment = (cpu: Cpu, segment: number, descriptor: Descriptor): void => {
  setQuad(cpu, state.segmentSelector(segment), BigInt(descriptor.selector));
  setQuad(cpu, state.segmentBase(segment), descriptor.base);
  setQuad(cpu, state.segmentLimit(segment), BigInt(descriptor.limit));
  const isUser = (descriptor.access & IS_CODE_OR_DATA) !== 0;
  const access = descriptor.access | (isUser ? TYPE_ACCESSED : 0);
  setQuad(cpu, state.segmentAccess(segment), BigInt(access));
};

/** Sets the accessed bit of a descriptor in its table. */
export const markAccessed = (cpu: Cpu, { at, access }: Descriptor): Failure | undefined => {
  if ((access & TYPE_ACCESSED) !== 0 || (access & IS_CODE_OR_DATA) === 0) return undefined;
  const byte = BigInt((access & 0xff) | TYPE_ACCESSED);
  return writeLinear(cpu, at + 5n, 1, byte, SYSTEM_READ);
};

/** Makes a segment register null. */
export const clearSegment = (cpu: Cpu, segment: number, selector: number): void => {
  setQuad(cpu, state.segmentSelector(segment), BigInt(selector));
  setQuad(cpu, state.segmentBase(segment), 0n);
  setQuad(cpu, state.segmentLimit(segment), 0n);
  const dpl = segment === state.SS ? cplOf(cpu) << 5 : 0;
  setQuad(cpu, state.segmentAccess(segment), BigInt(UNUSABLE | dpl));
};

/** MOV and POP to DS, ES, FS, GS, SS. */
export const loadSegment = (cpu: Cpu, segment: number, selector: number): Failure | undefined => {
  const isStack = segment === state.SS;
  const cpl = cplOf(cpu);
  const rpl = selector & 3;
  if ((selector & 0xfffc) === 0) {
    const isAllowed = !isStack || (is64Bit(cpu) && cpl !== 3 && rpl === cpl);
    if (!isAllowed) return raise(cpu, 'GP', 0) as Failure;
    clearSegment(cpu, segment, selector);
    return undefined;
  }
  const descriptor = readDescriptor(cpu, selector, 'GP');
  if ('failure' in descriptor) return descriptor.failure;
  const code = selector & 0xfffc;
  const dpl = dplOf(descriptor);
  const isReadable =
    (descriptor.access & IS_CODE_OR_DATA) !== 0 &&
    (!isCode(descriptor) || (descriptor.access & TYPE_WRITABLE) !== 0);
  const isRefused = isStack
    ? rpl !== cpl || dpl !== cpl || !isWritableData(descriptor)
    : !isReadable || (!isConforming(descriptor) && (rpl > dpl || cpl > dpl));
  if (isRefused) return raise(cpu, 'GP', code) as Failure;
  if (!isPresent(descriptor)) return raise(cpu, isStack ? 'SS' : 'NP', code) as Failure;
  const failure = markAccessed(cpu, descriptor);
  if (failure !== undefined) return failure;
  setSegment(cpu, segment, descriptor);
  return undefined;
};

/** After CS, CPL or EFER have changed: the code size that follows from them. */
export const updateMode = (cpu: Cpu): void => {
  const access = word(cpu, state.segmentAccess(state.CS));
  const isLong = isLongMode(cpu) && (access & LONG) !== 0;
  setWord(cpu, state.CODE_WIDTH, isLong ? 64 : (access & DEFAULT_BIG) !== 0 ? 32 : 16);
};

/** Loads CS for a transfer to `cpl`; the caller has checked privileges. */
export const setCodeSegment = (cpu: Cpu, descriptor: Descriptor, cpl: number): void => {
  const selector = (descriptor.selector & 0xfffc) | cpl;
  setSegment(cpu, state.CS, { ...descriptor, selector });
  setWord(cpu, state.CPL, cpl);
  updateMode(cpu);
};

/** The width of the stack pointer, which SS decides about outside 64-bit mode. */
export const stackWidthOf = (cpu: Cpu): 16 | 32 | 64 => {
  if (is64Bit(cpu)) return 64;
  return (word(cpu, state.segmentAccess(state.SS)) & DEFAULT_BIG) !== 0 ? 32 : 16;
};

/** Whether a data segment is writable, of all 4 GiB, and begins at 0. */
const isFlatData = (cpu: Cpu, segment: number): boolean => {
  const access = word(cpu, state.segmentAccess(segment));
  const kind = access & (UNUSABLE | TYPE_CODE | TYPE_CONFORMING | TYPE_WRITABLE);
  return kind === TYPE_WRITABLE && isWhole(cpu, segment);
};
const isWhole = (cpu: Cpu, segment: number): boolean =>
  word(cpu, state.segmentBase(segment)) === 0 && word(cpu, state.segmentLimit(segment)) === -1;

/** Whether code is of 32 bits, and it, its stack and DS and ES are segments of all 4 GiB. */
export const isFlat = (cpu: Cpu): boolean =>
  word(cpu, state.CODE_WIDTH) === 32 &&
  isWhole(cpu, state.CS) &&
  (word(cpu, state.segmentAccess(state.SS)) & DEFAULT_BIG) !== 0 &&
  isFlatData(cpu, state.SS) &&
  isFlatData(cpu, state.DS) &&
  isFlatData(cpu, state.ES);

export const isCanonical = (linear: bigint): boolean =>
  BigInt.asUintN(64, BigInt.asIntN(48, linear)) === linear;

/** Whether a segment's limit allows the bytes: data segments may expand down. */
export const isWithinLimit = (
  access: number,
  limit: number,
  offset: bigint,
  bytes: number,
): boolean => {
  const last = offset + BigInt(bytes - 1);
  const bound = BigInt(limit >>> 0);
  const isExpandDown = (access & (TYPE_CODE | TYPE_CONFORMING)) === TYPE_CONFORMING;
  const top = (access & DEFAULT_BIG) !== 0 ? 0xffff_ffffn : 0xffffn;
  return isExpandDown ? offset > bound && last <= top : last <= bound;
};

/**
 * The linear address of a data access; undefined if it faults, which is then pending.
 * In 64-bit mode only FS and GS have a base, and no segment a limit.
 */
export const linearOf = (
  cpu: Cpu,
  segment: number,
  offset: bigint,
  bytes: number,
  write: boolean,
): bigint | undefined => {
  const exception = segment === state.SS ? 'SS' : 'GP';
  if (is64Bit(cpu)) {
    const hasBase = segment === state.FS || segment === state.GS;
    const base = hasBase ? quad(cpu, state.segmentBase(segment)) : 0n;
    const linear = BigInt.asUintN(64, base + offset);
    const last = BigInt.asUintN(64, linear + BigInt(bytes - 1));
    if (isCanonical(linear) && isCanonical(last)) return linear;
    raise(cpu, exception, 0);
    return undefined;
  }
  const access = word(cpu, state.segmentAccess(segment));
  const isInside = isWithinLimit(access, word(cpu, state.segmentLimit(segment)), offset, bytes);
  const isData = (access & TYPE_CODE) === 0;
  const isWritable = isData && (access & TYPE_WRITABLE) !== 0;
  const isReadable = isData || (access & TYPE_WRITABLE) !== 0;
  if ((access & UNUSABLE) !== 0 || !isInside || (write ? !isWritable : !isReadable)) {
    raise(cpu, exception, 0);
    return undefined;
  }
  return BigInt.asUintN(32, quad(cpu, state.segmentBase(segment)) + offset);
};
