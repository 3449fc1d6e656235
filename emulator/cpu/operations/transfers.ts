/** Segment loads, software interrupts, SYSCALL and SYSRET. SDM Vol. 2A and 2B; Vol. 3A 5.8.8. */
import { INTERRUPT_KIND } from '../../../isa/index.ts';
import { type Cpu, cplOf, is64Bit, quad, raise, setQuad, setWord, word } from '../cpu.ts';
import { deliverSoftware, EVENT_TYPE } from '../exceptions.ts';
import { interruptReturn as returnFromInterrupt } from '../interrupt-return.ts';
import { OUTCOME, type Outcome } from '../processor.ts';
import { readRflagsOf, writeRflagsOf } from '../rflags.ts';
import { isCanonical, loadSegment as load } from '../segmentation.ts';
import { currentStack, setStackPointer } from '../stacks.ts';
import * as state from '../state.ts';
import { numberAt, type Operation } from './operation.ts';

export const loadSegment: Operation = (cpu, args) => {
  const segment = numberAt(args, 0);
  if (segment === state.CS) return raise(cpu, 'UD');
  const stack = currentStack(cpu);
  const failure = load(cpu, segment, numberAt(args, 1));
  if (failure !== undefined) return failure;
  if (segment === state.SS) {
    setWord(cpu, state.INTERRUPTIBILITY, word(cpu, state.INTERRUPTIBILITY) | 2);
  }
  const released = args[2] ?? 0n;
  if (released !== 0n) setStackPointer(cpu, stack.pointerWidth, stack.top + released);
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
  const isIntercepted = () => cpu.nonRoot?.interceptsException(vector, undefined, type) === true;
  if (kind !== INTERRUPT_KIND.int && isIntercepted()) return OUTCOME.exit;
  return deliverSoftware(cpu, { vector, type, errorCode: undefined });
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
