/**
 * IRET: back to the same or an outer level, or to a task that was interrupted; what every return
 * to an outer level does to the segments.
 * Source: SDM Vol. 2A, IRET/IRETD/IRETQ; Vol. 3A 5.8.6 "Returning from a Called Procedure", 6.7.1
 * "Handling Multiple NMIs"; Vol. 3C 25.3 "Changes to Instruction Behavior in VMX Non-Root Operation".
 */
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
  TASK_SWITCH_SOURCE,
  word,
} from './cpu.ts';
import { OUTCOME, type Outcome } from './processor.ts';
import { readRflagsOf, writeRflagsOf } from './rflags.ts';
import {
  clearSegment,
  dplOf,
  isCanonical,
  isCode,
  isConforming,
  isPresent,
  markAccessed,
  readDescriptor,
  setCodeSegment,
  setSegment,
} from './segmentation.ts';
import { currentStack, peekStack, setStackPointer } from './stacks.ts';
import * as state from './state.ts';
import { switchTask } from './task-switch.ts';

const RFLAGS_IF = 0x200n;
const RFLAGS_NT = 0x4000n;
/** RFLAGS bits that IRET restores at any level; IF and IOPL depend on CPL. */
const RESTORED = 0x25_4dd5n;
const IOPL = 0x3000n;
const BLOCKED_NMI = 8;
const LONG_AND_BIG = 0x6000;

/** IRET, IRETD, IRETQ; `width` is the operand size. */
export const interruptReturn = (cpu: Cpu, width: number): Outcome => {
  if (width === 64 && cpu.usual?.returnFromInterrupt() === true) return OUTCOME.jumped;
  unblockNmi(cpu);
  const outcome = returnToFrame(cpu, width);
  // A fault is still to tell that the blocking has ended; a VM exit has done so.
  if (outcome !== OUTCOME.fault) cpu.nmiUnblocked = false;
  return outcome;
};

/** The blocking of NMIs ends even if IRET faults. */
const unblockNmi = (cpu: Cpu): void => {
  const blocking = word(cpu, state.INTERRUPTIBILITY);
  if ((blocking & BLOCKED_NMI) === 0 || cpu.nonRoot?.unblocksNmi?.() === false) return;
  setWord(cpu, state.INTERRUPTIBILITY, blocking & ~BLOCKED_NMI);
  cpu.nmiUnblocked = true;
};

const returnToFrame = (cpu: Cpu, width: number): Outcome => {
  if ((readRflagsOf(cpu) & RFLAGS_NT) !== 0n) return returnToTask(cpu);
  const isLong = is64Bit(cpu);
  const cpl = cplOf(cpu);
  const stack = currentStack(cpu);
  const frame = peekStack(cpu, stack, 0n, width, 3);
  if ('failure' in frame) return frame.failure;
  const [rip = 0n, selector = 0n, rflags = 0n] = frame.values;
  const codeSelector = Number(selector & 0xffffn);
  const target = codeSelector & 3;
  const frameBytes = BigInt((3 * width) / 8);
  const popsStack = isLong || target > cpl;
  const outer = popsStack ? peekStack(cpu, stack, frameBytes, width, 2) : { values: [] };
  if ('failure' in outer) return outer.failure;
  if ((codeSelector & 0xfffc) === 0) return raise(cpu, 'GP', 0);
  const code = readDescriptor(cpu, codeSelector, 'GP');
  if ('failure' in code) return code.failure;
  const wrongLevel = isConforming(code) ? dplOf(code) > target : dplOf(code) !== target;
  const wrongSize = isLongMode(cpu) && (code.access & LONG_AND_BIG) === LONG_AND_BIG;
  if (!isCode(code) || target < cpl || wrongLevel || wrongSize) {
    return raise(cpu, 'GP', codeSelector & 0xfffc);
  }
  if (!isPresent(code)) return raise(cpu, 'NP', codeSelector & 0xfffc);
  const toLong = isLongMode(cpu) && (code.access & 0x2000) !== 0;
  const isOutside = toLong ? !isCanonical(rip) : BigInt.asUintN(32, rip) > BigInt(code.limit >>> 0);
  if (isOutside) return raise(cpu, 'GP', 0);
  const [outerPointer = 0n, outerSelector = 0n] = outer.values;
  const unmarked = markAccessed(cpu, code);
  if (unmarked !== undefined) return unmarked;
  if (popsStack) {
    const failure = returnStack(cpu, Number(outerSelector & 0xffffn), target, code.access, 'NP');
    if (failure !== undefined) return failure;
  }
  const mask = RESTORED | (cpl === 0 ? IOPL : 0n) | (cpl <= ioplOf(cpu) ? RFLAGS_IF : 0n);
  const restored = width === 16 ? mask & 0xffffn : mask;
  setCodeSegment(cpu, code, target);
  writeRflagsOf(cpu, (readRflagsOf(cpu) & ~restored) | (rflags & restored));
  setQuad(cpu, state.RIP, BigInt.asUintN(toLong ? 64 : 32, rip));
  if (popsStack) setReturnedPointer(cpu, outerPointer);
  else setStackPointer(cpu, stack.pointerWidth, stack.top + frameBytes);
  if (target !== cpl) dropInnerSegments(cpu, target);
  cpu.invalidate();
  return OUTCOME.jumped;
};

const LINK_BYTES = 2;

/** With NT set IRET returns to the task that the TSS links to; long mode has no tasks. */
const returnToTask = (cpu: Cpu): Outcome => {
  if (isLongMode(cpu)) return raise(cpu, 'GP', 0);
  const link = readLinear(cpu, quad(cpu, state.segmentBase(state.TR)), LINK_BYTES, SYSTEM_READ);
  if ('failure' in link) return link.failure;
  return switchTask(cpu, Number(link.value), TASK_SWITCH_SOURCE.iret);
};

const ioplOf = (cpu: Cpu): number => Number((readRflagsOf(cpu) >> 12n) & 3n);

/** The stack pointer that a return to an outer level pops; SS and CS are loaded. */
export const setReturnedPointer = (cpu: Cpu, value: bigint): void => {
  if (is64Bit(cpu)) setStackPointer(cpu, 64, value);
  else setStackPointer(cpu, currentStack(cpu).pointerWidth, value);
};

/**
 * Loads SS for a return; a null selector is allowed in 64-bit mode below level 3. An absent segment is
 * #NP for IRET and #SS for RET.
 */
export const returnStack = (
  cpu: Cpu,
  selector: number,
  target: number,
  codeAccess: number,
  ifAbsent: 'NP' | 'SS',
): Failure | undefined => {
  if ((selector & 0xfffc) === 0) {
    const isAllowed = (codeAccess & 0x2000) !== 0 && isLongMode(cpu) && target !== 3;
    if (!isAllowed) return raise(cpu, 'GP', 0) as Failure;
    clearSegment(cpu, state.SS, selector);
    setQuad(cpu, state.segmentAccess(state.SS), BigInt((1 << 16) | (target << 5)));
    return undefined;
  }
  const stack = readDescriptor(cpu, selector, 'GP');
  if ('failure' in stack) return stack.failure;
  const isWritable = !isCode(stack) && (stack.access & 0x12) === 0x12;
  if ((selector & 3) !== target || dplOf(stack) !== target || !isWritable) {
    return raise(cpu, 'GP', selector & 0xfffc) as Failure;
  }
  if (!isPresent(stack)) return raise(cpu, ifAbsent, selector & 0xfffc) as Failure;
  const failure = markAccessed(cpu, stack);
  if (failure === undefined) setSegment(cpu, state.SS, stack);
  return failure;
};

/** A return outwards clears data segments that the outer level may not use. */
export const dropInnerSegments = (cpu: Cpu, cpl: number): void => {
  for (const segment of [state.ES, state.DS, state.FS, state.GS]) {
    const access = word(cpu, state.segmentAccess(segment));
    const isConformingCode = (access & 0x1c) === 0x1c;
    if (!isConformingCode && ((access >> 5) & 3) < cpl && (access & (1 << 16)) === 0) {
      clearSegment(cpu, segment, 0);
    }
  }
};
