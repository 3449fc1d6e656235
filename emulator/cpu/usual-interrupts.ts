/**
 * Exceptions and IRETQ in their usual form, with 32-bit numbers and without a copy: 64-bit mode,
 * gates and code segments of the GDT, frames within a page, memory that the engine remembers.
 * Whatever is not usual is left as it was, for exceptions.ts and interrupt-return.ts, which come to
 * the same result and say why. The reference engine remembers no memory: it never takes this way.
 */
import {
  accessOf,
  type Cpu,
  cplOf,
  is64Bit,
  SYSTEM_READ,
  setWord,
  tellOfWrite,
  word,
} from './cpu.ts';
import type { PagingAccess } from './paging.ts';
import { readStatusAndRest, writeStatusAndRest } from './rflags.ts';
import * as state from './state.ts';

const PAGE = 4096;
const OFFSET = PAGE - 1;
const TWO_32 = 2 ** 32;
const RSP = state.registerSlot(4);
const GATE_BYTES = 16;
const DESCRIPTOR_BYTES = 8;
const RING_0_STACK = 4;

const RFLAGS_TF = 0x100;
const RFLAGS_IF = 0x200;
const RFLAGS_IOPL = 0x3000;
const RFLAGS_NT = 0x4000;
const RFLAGS_RF = 0x1_0000;
const RFLAGS_VM = 0x2_0000;
/** Bits that IRETQ restores at any level. */
const RESTORED = 0x25_4dd5;
const BLOCKED_NMI = 8;

const ACCESSED = 1;
/** Of a descriptor's access: present, code, not conforming, 64-bit, accessed; without DPL and R. */
const CODE_MASK = 0x609d;
const LONG_CODE = 0x2099;
/** Present, writable data, accessed, not expand-down or expand-down alike; without DPL and E. */
const DATA_MASK = 0x9b;
const WRITABLE_DATA = 0x93;
const UNUSABLE = 1 << 16;

/** The linear address in a slot, as a number. */
const linearAt = (cpu: Cpu, slot: number): number =>
  word(cpu, slot + 4) * TWO_32 + (word(cpu, slot) >>> 0);

const isCanonicalHigh = (high: number): boolean => {
  const top = high >> 15;
  return top === 0 || top === -1;
};

/** The host address of bytes within one page; 0 if that is not usual. */
const hostOf = (cpu: Cpu, linear: number, bytes: number, access: PagingAccess): number => {
  if ((linear & OFFSET) + bytes > PAGE || !isCanonicalHigh(Math.floor(linear / TWO_32))) return 0;
  return cpu.remembered?.(linear, access) ?? 0;
};

/** The host address of a descriptor in the GDT; 0 if that is not usual. */
const descriptorAt = (cpu: Cpu, selector: number): number => {
  const offset = selector & 0xfff8;
  const isInside = offset + DESCRIPTOR_BYTES - 1 <= word(cpu, state.GDTR_LIMIT) >>> 0;
  if ((selector & 4) !== 0 || offset === 0 || !isInside) return 0;
  return hostOf(cpu, linearAt(cpu, state.GDTR_BASE) + offset, DESCRIPTOR_BYTES, SYSTEM_READ);
};

const accessRights = (descriptorHigh: number): number => (descriptorHigh >>> 8) & 0xf0ff;
const levelOf = (access: number): number => (access >> 5) & 3;

const isActive = (cpu: Cpu): boolean => is64Bit(cpu) && cpu.watches?.isActive !== true;

/**
 * Delivers a hardware exception, whose interception and CR2 are done with; false if it is not
 * usual. `errorCode` is -1 if there is none.
 */
export const deliverUsually = (
  cpu: Cpu,
  vector: number,
  errorCode: number,
  resumes: boolean,
): boolean => {
  if (!isActive(cpu)) return false;
  const { words, view } = cpu.memory;
  const offset = vector * GATE_BYTES;
  if (offset + GATE_BYTES - 1 > word(cpu, state.IDTR_LIMIT) >>> 0) return false;
  const gate = hostOf(cpu, linearAt(cpu, state.IDTR_BASE) + offset, GATE_BYTES, SYSTEM_READ);
  if (gate === 0) return false;
  const low = view.getInt32(gate, true);
  const middle = view.getInt32(gate + 4, true);
  const high = view.getInt32(gate + 8, true);
  const type = (middle >>> 8) & 0x1f;
  // Neither of an interrupt stack, nor absent.
  const isGate = (type === 0xe || type === 0xf) && (middle & 0x8007) === 0x8000;
  if (!isGate || !isCanonicalHigh(high)) return false;
  const selector = low >>> 16;
  const code = descriptorAt(cpu, selector);
  if (code === 0) return false;
  const codeLow = view.getInt32(code, true);
  const codeHigh = view.getInt32(code + 4, true);
  const access = accessRights(codeHigh);
  const target = levelOf(access);
  const cpl = cplOf(cpu);
  if ((access & CODE_MASK) !== LONG_CODE || (target !== cpl && target !== 0)) return false;
  let top = linearAt(cpu, RSP);
  if (target !== cpl) {
    const at = linearAt(cpu, state.segmentBase(state.TR)) + RING_0_STACK;
    if (RING_0_STACK + 7 > word(cpu, state.segmentLimit(state.TR)) >>> 0) return false;
    const host = hostOf(cpu, at, 8, SYSTEM_READ);
    if (host === 0) return false;
    top = view.getInt32(host + 4, true) * TWO_32 + view.getUint32(host, true);
  }
  const frameBytes = errorCode < 0 ? 40 : 48;
  const bottom = top - (top & 15) - frameBytes;
  const frame = hostOf(cpu, bottom, frameBytes, accessOf(true, target === 3));
  if (frame === 0) return false;

  const rflags = readStatusAndRest(cpu);
  let at = frame >>> 2;
  const push = (pushedLow: number, pushedHigh: number): void => {
    words[at] = pushedLow;
    words[at + 1] = pushedHigh;
    at += 2;
  };
  if (errorCode >= 0) push(errorCode, 0);
  push(word(cpu, state.RIP), word(cpu, state.RIP + 4));
  push(word(cpu, state.segmentSelector(state.CS)), 0);
  push(resumes ? rflags | RFLAGS_RF : rflags, 0);
  push(word(cpu, RSP), word(cpu, RSP + 4));
  push(word(cpu, state.segmentSelector(state.SS)), 0);
  tellOfWrite(cpu, frame, frameBytes);

  setWord(cpu, RSP, bottom | 0);
  setWord(cpu, RSP + 4, Math.floor(bottom / TWO_32));
  if (target !== cpl) {
    setWord(cpu, state.CPL, target);
    setStackSegment(cpu, target, UNUSABLE | (target << 5), 0, 0);
  }
  setCode(cpu, (selector & 0xfffc) | target, access, codeLow, codeHigh);
  setWord(cpu, state.RIP, (middle & 0xffff_0000) | (low & 0xffff));
  setWord(cpu, state.RIP + 4, high);
  const isInterruptGate = type === 0xe;
  const cleared = RFLAGS_TF | RFLAGS_NT | RFLAGS_RF | RFLAGS_VM;
  writeStatusAndRest(cpu, rflags & ~(cleared | (isInterruptGate ? RFLAGS_IF : 0)));
  setWord(cpu, state.INTERRUPTIBILITY, word(cpu, state.INTERRUPTIBILITY) & ~3);
  setWord(cpu, state.ACTIVITY, 0);
  return true;
};

/** Does an IRETQ; false, with nothing done, if it is not usual, or would set one of these flags. */
export const returnUsually = (cpu: Cpu, refusedFlags = 0): boolean => {
  if (!isActive(cpu) || (word(cpu, state.INTERRUPTIBILITY) & BLOCKED_NMI) !== 0) return false;
  if ((word(cpu, state.RFLAGS_REST) & RFLAGS_NT) !== 0) return false;
  const { view } = cpu.memory;
  const cpl = cplOf(cpu);
  const frame = hostOf(cpu, linearAt(cpu, RSP), 40, accessOf(false, cpl === 3));
  if (frame === 0) return false;
  const field = (index: number): number => view.getInt32(frame + index * 4, true);
  const [ripLow, ripHigh] = [field(0), field(1)];
  const codeSelector = field(2) & 0xffff;
  const rflags = field(4);
  const [rspLow, rspHigh] = [field(6), field(7)];
  const stackSelector = field(8) & 0xffff;
  const target = codeSelector & 3;
  if ((rflags & refusedFlags) !== 0 || target < cpl || !isCanonicalHigh(ripHigh)) return false;
  const code = descriptorAt(cpu, codeSelector);
  if (code === 0) return false;
  const codeLow = view.getInt32(code, true);
  const codeHigh = view.getInt32(code + 4, true);
  const access = accessRights(codeHigh);
  if ((access & CODE_MASK) !== LONG_CODE || levelOf(access) !== target) return false;
  const isNull = (stackSelector & 0xfffc) === 0;
  if (isNull && target === 3) return false;
  const stack = isNull ? 0 : descriptorAt(cpu, stackSelector);
  if (!isNull) {
    const stackAccess = accessRights(view.getInt32(stack + 4, true));
    const isUsual = (stackAccess & DATA_MASK) === WRITABLE_DATA && levelOf(stackAccess) === target;
    if (stack === 0 || !isUsual || (stackSelector & 3) !== target) return false;
  }

  if (isNull) setStackSegment(cpu, stackSelector, UNUSABLE | (target << 5), 0, 0);
  else {
    const stackLow = view.getInt32(stack, true);
    const stackHigh = view.getInt32(stack + 4, true);
    const rights = accessRights(stackHigh) | ACCESSED;
    setStackSegment(cpu, stackSelector, rights, stackLow, stackHigh);
  }
  const old = readStatusAndRest(cpu);
  const iopl = (old & RFLAGS_IOPL) >> 12;
  const mask = RESTORED | (cpl === 0 ? RFLAGS_IOPL : 0) | (cpl <= iopl ? RFLAGS_IF : 0);
  setCode(cpu, (codeSelector & 0xfffc) | target, access, codeLow, codeHigh);
  setWord(cpu, state.CPL, target);
  writeStatusAndRest(cpu, (old & ~mask) | (rflags & mask));
  setWord(cpu, state.RIP, ripLow);
  setWord(cpu, state.RIP + 4, ripHigh);
  setWord(cpu, RSP, rspLow);
  setWord(cpu, RSP + 4, rspHigh);
  if (target !== cpl) dropInnerData(cpu, target);
  return true;
};

/** A return outwards clears data segments that the outer level may not use. */
const dropInnerData = (cpu: Cpu, cpl: number): void => {
  for (let segment = 0; segment <= state.GS; segment += 1) {
    if (segment === state.CS || segment === state.SS) continue;
    const access = word(cpu, state.segmentAccess(segment));
    const isConformingCode = (access & 0x1c) === 0x1c;
    if (isConformingCode || levelOf(access) >= cpl || (access & UNUSABLE) !== 0) continue;
    setSegmentWords(cpu, segment, 0, UNUSABLE, 0, 0);
  }
};

const setCode = (cpu: Cpu, selector: number, access: number, low: number, high: number): void => {
  setSegmentWords(cpu, state.CS, selector, access | ACCESSED, low, high);
  setWord(cpu, state.CPL, selector & 3);
};

const setStackSegment = (
  cpu: Cpu,
  selector: number,
  access: number,
  low: number,
  high: number,
): void => setSegmentWords(cpu, state.SS, selector, access, low, high);

/** Base and limit come from the descriptor's halves. */
const setSegmentWords = (
  cpu: Cpu,
  segment: number,
  selector: number,
  access: number,
  low: number,
  high: number,
): void => {
  const raw = (high & 0xf_0000) | (low & 0xffff);
  const limit = (access & 0x8000) === 0 ? raw : (raw << 12) | 0xfff;
  const base = (high & 0xff00_0000) | ((high & 0xff) << 16) | (low >>> 16);
  setPair(cpu, state.segmentSelector(segment), selector);
  setPair(cpu, state.segmentBase(segment), base);
  setPair(cpu, state.segmentLimit(segment), limit);
  setPair(cpu, state.segmentAccess(segment), access);
};

const setPair = (cpu: Cpu, slot: number, low: number): void => {
  setWord(cpu, slot, low);
  setWord(cpu, slot + 4, 0);
};
