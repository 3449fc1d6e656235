/** Far transfers, software interrupts, SYSCALL and SYSRET. SDM Vol. 2A and 2B; Vol. 3A 5.8.8. */
import { INTERRUPT_KIND } from '../../../isa/index.ts';
import {
  type Cpu,
  cplOf,
  dataAccess,
  is64Bit,
  isLongMode,
  quad,
  raise,
  readLinear,
  setQuad,
  setWord,
  word,
} from '../cpu.ts';
import { deliverEvent, EVENT_TYPE, interruptReturn as returnFromInterrupt } from '../exceptions.ts';
import { OUTCOME, type Outcome } from '../processor.ts';
import { readRflagsOf, writeRflagsOf } from '../rflags.ts';
import {
  dplOf,
  isCode,
  isConforming,
  isPresent,
  loadSegment as load,
  readDescriptor,
  setCodeSegment,
} from '../segmentation.ts';
import * as state from '../state.ts';
import { numberAt, type Operation } from './operation.ts';

const RSP = state.registerSlot(4);
const isCanonical = (value: bigint): boolean =>
  BigInt.asUintN(64, BigInt.asIntN(48, value)) === value;

/** JMP to a code segment. Call gates and task gates are no targets here: #GP. */
export const farJump: Operation = (cpu, args) => {
  const selector = numberAt(args, 0);
  const code = codeSegmentFor(cpu, selector);
  if (typeof code === 'number') return code;
  const width = (code.access & 0x2000) !== 0 && isLongMode(cpu) ? 64 : 32;
  const offset = args[1] ?? 0n;
  if (width === 64 && !isCanonical(offset)) return raise(cpu, 'GP', 0);
  setCodeSegment(cpu, code, cplOf(cpu));
  setQuad(cpu, state.RIP, BigInt.asUintN(width, offset));
  cpu.invalidate();
  return OUTCOME.jumped;
};

/** The code segment of a selector for a transfer that keeps CPL, or the outcome of its fault. */
const codeSegmentFor = (cpu: Cpu, selector: number) => {
  const cpl = cplOf(cpu);
  const code = selector & 0xfffc;
  if (code === 0) return raise(cpu, 'GP', 0);
  const descriptor = readDescriptor(cpu, selector, 'GP');
  if ('failure' in descriptor) return descriptor.failure;
  const isRefused = isConforming(descriptor)
    ? dplOf(descriptor) > cpl
    : (selector & 3) > cpl || dplOf(descriptor) !== cpl;
  const hasBothSizes = (descriptor.access & 0x6000) === 0x6000;
  if (!isCode(descriptor) || isRefused || (isLongMode(cpu) && hasBothSizes)) {
    return raise(cpu, 'GP', code);
  }
  return isPresent(descriptor) ? descriptor : raise(cpu, 'NP', code);
};

/** RETF to the same privilege level; to an outer one it pops the stack too. */
export const farReturn: Operation = (cpu, args) => {
  const release = args[0] ?? 0n;
  const bytes = numberAt(args, 1) / 8;
  const top = quad(cpu, RSP);
  const base = is64Bit(cpu) ? 0n : quad(cpu, state.segmentBase(state.SS));
  const at = (index: number) =>
    readLinear(cpu, base + top + BigInt(index * bytes), bytes, dataAccess(cpu, false));
  const offset = at(0);
  if ('failure' in offset) return offset.failure;
  const selector = at(1);
  if ('failure' in selector) return selector.failure;
  const number = Number(selector.value & 0xffffn);
  const target = number & 3;
  if (target < cplOf(cpu)) return raise(cpu, 'GP', number & 0xfffc);
  if (target > cplOf(cpu)) return raise(cpu, 'GP', number & 0xfffc);
  const code = codeSegmentFor(cpu, number);
  if (typeof code === 'number') return code;
  setCodeSegment(cpu, code, target);
  setQuad(cpu, state.RIP, offset.value);
  setQuad(cpu, RSP, top + BigInt(2 * bytes) + release);
  cpu.invalidate();
  return OUTCOME.jumped;
};

export const loadSegment: Operation = (cpu, args) => {
  const segment = numberAt(args, 0);
  if (segment === state.CS) return raise(cpu, 'UD');
  const failure = load(cpu, segment, numberAt(args, 1));
  if (failure !== undefined) return failure;
  if (segment === state.SS) {
    setWord(cpu, state.INTERRUPTIBILITY, word(cpu, state.INTERRUPTIBILITY) | 2);
  }
  const released = quad(cpu, RSP) + (args[2] ?? 0n);
  setQuad(cpu, RSP, BigInt.asUintN(is64Bit(cpu) ? 64 : 32, released));
  cpu.invalidate();
  return OUTCOME.next;
};

export const loadFarPointer: Operation = (cpu, args) => {
  const failure = load(cpu, numberAt(args, 0), numberAt(args, 1));
  if (failure !== undefined) return failure;
  const slot = state.registerSlot(numberAt(args, 2));
  const value = args[3] ?? 0n;
  const width = numberAt(args, 4);
  setQuad(cpu, slot, width === 16 ? (quad(cpu, slot) & ~0xffffn) | (value & 0xffffn) : value);
  cpu.invalidate();
  return OUTCOME.next;
};

export const interrupt: Operation = (cpu, args) => {
  const vector = numberAt(args, 0);
  const kind = numberAt(args, 1);
  if (kind === INTERRUPT_KIND.into && (readRflagsOf(cpu) & 0x800n) === 0n) return OUTCOME.next;
  const isException = kind === INTERRUPT_KIND.int3 || kind === INTERRUPT_KIND.into;
  const type =
    kind === INTERRUPT_KIND.int1
      ? EVENT_TYPE.privilegedSoftwareException
      : isException
        ? EVENT_TYPE.softwareException
        : EVENT_TYPE.softwareInterrupt;
  if (kind !== INTERRUPT_KIND.int && cpu.nonRoot?.interceptsException(vector, undefined) === true) {
    return OUTCOME.exit;
  }
  return deliverEvent(cpu, { vector, type, errorCode: undefined });
};

export const interruptReturn: Operation = (cpu, args): Outcome =>
  returnFromInterrupt(cpu, numberAt(args, 0));

/** A flat code or stack segment as SYSCALL and SYSRET load it, without its descriptor. */
const setFlat = (cpu: Cpu, segment: number, selector: number, access: number): void => {
  setQuad(cpu, state.segmentSelector(segment), BigInt(selector));
  setQuad(cpu, state.segmentBase(segment), 0n);
  setQuad(cpu, state.segmentLimit(segment), 0xffff_ffffn);
  setQuad(cpu, state.segmentAccess(segment), BigInt(access));
};

const CODE64 = 0xa09b;
const CODE32 = 0xc09b;
const DATA = 0xc093;
const DPL3 = 0x60;

export const syscall: Operation = (cpu) => {
  if ((word(cpu, state.EFER) & 1) === 0 || !is64Bit(cpu)) return raise(cpu, 'UD');
  const rflags = readRflagsOf(cpu);
  const next = BigInt.asUintN(64, quad(cpu, state.RIP) + BigInt(cpu.instructionLength));
  const selector = Number((quad(cpu, state.STAR) >> 32n) & 0xfffcn);
  setQuad(cpu, state.registerSlot(1), next);
  setQuad(cpu, state.registerSlot(11), rflags);
  setFlat(cpu, state.CS, selector, CODE64);
  setFlat(cpu, state.SS, selector + 8, DATA);
  setWord(cpu, state.CPL, 0);
  setWord(cpu, state.CODE_WIDTH, 64);
  setQuad(cpu, state.RIP, quad(cpu, state.LSTAR));
  writeRflagsOf(cpu, rflags & ~quad(cpu, state.SFMASK) & ~0x1_0000n);
  cpu.invalidate();
  return OUTCOME.jumped;
};

export const sysret: Operation = (cpu, args) => {
  if ((word(cpu, state.EFER) & 1) === 0 || !is64Bit(cpu)) return raise(cpu, 'UD');
  const target = quad(cpu, state.registerSlot(1));
  const toLong = numberAt(args, 0) === 64;
  if (cplOf(cpu) !== 0 || (toLong && !isCanonical(target))) return raise(cpu, 'GP', 0);
  const selector = Number((quad(cpu, state.STAR) >> 48n) & 0xffffn);
  setFlat(cpu, state.CS, (selector + (toLong ? 16 : 0)) | 3, (toLong ? CODE64 : CODE32) | DPL3);
  setFlat(cpu, state.SS, (selector + 8) | 3, DATA | DPL3);
  setWord(cpu, state.CPL, 3);
  setWord(cpu, state.CODE_WIDTH, toLong ? 64 : 32);
  setQuad(cpu, state.RIP, BigInt.asUintN(toLong ? 64 : 32, target));
  writeRflagsOf(cpu, (quad(cpu, state.registerSlot(11)) & 0x3c_7fd7n) | 2n);
  cpu.invalidate();
  return OUTCOME.jumped;
};
