/**
 * Far jumps, calls and returns: to code segments, through call gates, to outer levels.
 * Source: SDM Vol. 3A 5.8.2 "Gate Descriptors" to 5.8.6 "Returning from a Called Procedure",
 * 5.8.3.1 "IA-32e Mode Call Gates"; Vol. 2A, CALL, JMP; Vol. 2B, RET. Task gates and task-state
 * segments as targets: ../task-switch.ts.
 */
import {
  type Cpu,
  cplOf,
  type Failure,
  isLongMode,
  quad,
  raise,
  readLinear,
  SYSTEM_READ,
  setQuad,
  setWord,
  TASK_SWITCH_SOURCE,
  word,
} from '../cpu.ts';
import { dropInnerSegments, returnStack, setReturnedPointer } from '../interrupt-return.ts';
import { OUTCOME, type Outcome } from '../processor.ts';
import {
  clearSegment,
  type Descriptor,
  dplOf,
  isCanonical,
  isCode,
  isConforming,
  isPresent,
  markAccessed,
  readDescriptor,
  setCodeSegment,
  setSegment,
} from '../segmentation.ts';
import { currentStack, innerStack, peekStack, pushAll, setStackPointer } from '../stacks.ts';
import * as state from '../state.ts';
import { switchTask } from '../task-switch.ts';
import { numberAt, type Operation } from './operation.ts';

const RSP = state.registerSlot(4);
const CODE_OR_DATA = 0x10;
const CALL_GATE_16 = 4;
const CALL_GATE = 12;
const TASK_GATE = 5;
/** A task gate, and task-state segments, busy or not. */
const TASK_TYPES: readonly number[] = [1, 3, TASK_GATE, 9, 11];
const LONG = 0x2000;
const LONG_AND_BIG = 0x6000;

/** Where a far jump or call goes. */
interface Target {
  readonly code: Descriptor;
  readonly offset: bigint;
  /** The privilege level afterwards. */
  readonly level: number;
  /** Width of what a call pushes. */
  readonly width: number;
  /** Doublewords or words that a call through a gate copies to the inner stack. */
  readonly parameters: number;
}

type Found = Target | { failure: Outcome };

const refuse = (cpu: Cpu, selector: number, name: 'GP' | 'NP' | 'TS' = 'GP') => ({
  failure: raise(cpu, name, selector & 0xfffc),
});

/** What the width of the new code segment makes of an offset. */
const isLongCode = (cpu: Cpu, { access }: Descriptor): boolean =>
  isLongMode(cpu) && (access & LONG) !== 0;

const targetOf = (
  cpu: Cpu,
  selector: number,
  offset: bigint,
  width: number,
  calls: boolean,
): Found => {
  if ((selector & 0xfffc) === 0) return { failure: raise(cpu, 'GP', 0) };
  const descriptor = readDescriptor(cpu, selector, 'GP');
  if ('failure' in descriptor) return descriptor;
  if ((descriptor.access & CODE_OR_DATA) === 0) return throughGate(cpu, descriptor, calls);
  const cpl = cplOf(cpu);
  const isRefused = isConforming(descriptor)
    ? dplOf(descriptor) > cpl
    : (selector & 3) > cpl || dplOf(descriptor) !== cpl;
  const hasBothSizes = isLongMode(cpu) && (descriptor.access & LONG_AND_BIG) === LONG_AND_BIG;
  if (!isCode(descriptor) || isRefused || hasBothSizes) return refuse(cpu, selector);
  if (!isPresent(descriptor)) return refuse(cpu, selector, 'NP');
  return checkOffset(cpu, { code: descriptor, offset, level: cpl, width, parameters: 0 });
};

const checkOffset = (cpu: Cpu, target: Target): Found => {
  const { code, offset } = target;
  const isOutside = isLongCode(cpu, code)
    ? !isCanonical(offset)
    : BigInt.asUintN(32, offset) > BigInt(code.limit);
  return isOutside ? { failure: raise(cpu, 'GP', 0) } : target;
};

const throughGate = (cpu: Cpu, gate: Descriptor, calls: boolean): Found => {
  const isLong = isLongMode(cpu);
  const type = gate.access & 15;
  const isGate = type === CALL_GATE || (type === CALL_GATE_16 && !isLong);
  const isTask = TASK_TYPES.includes(type) && !isLong;
  const cpl = cplOf(cpu);
  const isRefused = dplOf(gate) < cpl || (gate.selector & 3) > dplOf(gate);
  if (!(isGate || isTask) || isRefused) return refuse(cpu, gate.selector);
  if (isTask) return toTask(cpu, gate, calls);
  if (!isPresent(gate)) return refuse(cpu, gate.selector, 'NP');
  const bytes = isLong ? 16 : 8;
  const whole = isLong ? readDescriptor(cpu, gate.selector, 'GP', true) : gate;
  if ('failure' in whole) return whole;
  if (whole.hasUpperType === true) return refuse(cpu, gate.selector);
  const found = readLinear(cpu, gate.at, bytes, SYSTEM_READ);
  if ('failure' in found) return found;
  const raw = found.value;
  const selector = Number((raw >> 16n) & 0xffffn);
  const high = type === CALL_GATE ? (raw >> 48n) & 0xffffn : 0n;
  const offset = (raw & 0xffffn) | (high << 16n) | (isLong ? (raw >> 64n) << 32n : 0n);
  if ((selector & 0xfffc) === 0) return { failure: raise(cpu, 'GP', 0) };
  const code = readDescriptor(cpu, selector, 'GP');
  if ('failure' in code) return code;
  const dpl = dplOf(code);
  const isAllowed = dpl <= cpl && (calls || isConforming(code) || dpl === cpl);
  const isWrongSize = isLong && (code.access & LONG_AND_BIG) !== LONG;
  if (!isCode(code) || !isAllowed || isWrongSize) return refuse(cpu, selector);
  if (!isPresent(code)) return refuse(cpu, selector, 'NP');
  return checkOffset(cpu, {
    code,
    offset: BigInt.asUintN(64, offset),
    level: isConforming(code) ? cpl : dpl,
    width: isLong ? 64 : type === CALL_GATE ? 32 : 16,
    parameters: isLong ? 0 : Number((raw >> 32n) & 31n),
  });
};

/** A task gate, which names the TSS, or the descriptor of a TSS. */
const toTask = (cpu: Cpu, descriptor: Descriptor, calls: boolean): { failure: Outcome } => {
  const source = calls ? TASK_SWITCH_SOURCE.call : TASK_SWITCH_SOURCE.jmp;
  if ((descriptor.access & 15) !== TASK_GATE) {
    return { failure: switchTask(cpu, descriptor.selector, source) };
  }
  if (!isPresent(descriptor)) return refuse(cpu, descriptor.selector, 'NP');
  const found = readLinear(cpu, descriptor.at + 2n, 2, SYSTEM_READ);
  return 'failure' in found ? found : { failure: switchTask(cpu, Number(found.value), source) };
};

const enter = (cpu: Cpu, { code, offset, level }: Target): Outcome => {
  const failure = markAccessed(cpu, code);
  if (failure !== undefined) return failure;
  const width = isLongCode(cpu, code) ? 64 : 32;
  setCodeSegment(cpu, code, level);
  setQuad(cpu, state.RIP, BigInt.asUintN(width, offset));
  cpu.invalidate();
  return OUTCOME.jumped;
};

export const farJump: Operation = (cpu, args) => {
  const target = targetOf(cpu, numberAt(args, 0), args[1] ?? 0n, numberAt(args, 2), false);
  return 'failure' in target ? target.failure : enter(cpu, target);
};

/** The parameters on the outer stack, in the order in which they are pushed again. */
const parametersOf = (cpu: Cpu, count: number, width: number): bigint[] | { failure: Failure } => {
  const found = peekStack(cpu, currentStack(cpu), 0n, width, count);
  return 'failure' in found ? found : found.values.reverse();
};

export const farCall: Operation = (cpu, args) => {
  const target = targetOf(cpu, numberAt(args, 0), args[1] ?? 0n, numberAt(args, 2), true);
  if ('failure' in target) return target.failure;
  const { level, width, parameters } = target;
  const next = BigInt.asUintN(64, quad(cpu, state.RIP) + BigInt(cpu.instructionLength));
  const back = [BigInt(word(cpu, state.segmentSelector(state.CS))), next];
  const isInner = level !== cplOf(cpu);
  const stack = isInner ? innerStack(cpu, level) : currentStack(cpu);
  if ('failure' in stack) return stack.failure;
  const copied = isInner ? parametersOf(cpu, parameters, width) : [];
  if ('failure' in copied) return copied.failure;
  const outer = isInner ? [BigInt(word(cpu, state.segmentSelector(state.SS))), quad(cpu, RSP)] : [];
  const at = pushAll(cpu, stack, width, [...outer, ...copied, ...back], level === 3);
  if (typeof at !== 'bigint') return at.failure;
  const outcome = enter(cpu, target);
  if (outcome !== OUTCOME.jumped) return outcome;
  if (isInner && stack.descriptor === undefined) clearSegment(cpu, state.SS, level);
  if (stack.descriptor !== undefined) setSegment(cpu, state.SS, stack.descriptor);
  setStackPointer(cpu, stack.pointerWidth, at);
  return outcome;
};

/** RETF to the same or an outer level, which also pops the outer stack pointer. */
export const farReturn: Operation = (cpu, args) => {
  const release = args[0] ?? 0n;
  const width = numberAt(args, 1);
  const stack = currentStack(cpu);
  const frameBytes = BigInt((2 * width) / 8) + release;
  const frame = peekStack(cpu, stack, 0n, width, 2);
  if ('failure' in frame) return frame.failure;
  const [offset = 0n, selector = 0n] = frame.values;
  const number = Number(selector & 0xffffn);
  const level = number & 3;
  const cpl = cplOf(cpu);
  if ((number & 0xfffc) === 0) return raise(cpu, 'GP', 0);
  const code = readDescriptor(cpu, number, 'GP');
  if ('failure' in code) return code.failure;
  const wrongLevel = isConforming(code) ? dplOf(code) > level : dplOf(code) !== level;
  const wrongSize = isLongMode(cpu) && (code.access & LONG_AND_BIG) === LONG_AND_BIG;
  if (level < cpl || !isCode(code) || wrongLevel || wrongSize) {
    return raise(cpu, 'GP', number & 0xfffc);
  }
  if (!isPresent(code)) return raise(cpu, 'NP', number & 0xfffc);
  const target = checkOffset(cpu, { code, offset, level, width: 0, parameters: 0 });
  if ('failure' in target) return target.failure;
  if (level === cpl) {
    const outcome = enter(cpu, target);
    if (outcome === OUTCOME.jumped) {
      setStackPointer(cpu, stack.pointerWidth, stack.top + frameBytes);
    }
    return outcome;
  }
  const outer = peekStack(cpu, stack, frameBytes, width, 2);
  if ('failure' in outer) return outer.failure;
  const [outerPointer = 0n, outerSelector = 0n] = outer.values;
  const failure =
    markAccessed(cpu, code) ??
    returnStack(cpu, Number(outerSelector & 0xffffn), level, code.access, 'SS');
  if (failure !== undefined) return failure;
  const outcome = enter(cpu, target);
  setReturnedPointer(cpu, outerPointer + release);
  dropInnerSegments(cpu, level);
  return outcome;
};

/** A flat code or stack segment as the fast system calls load it, without its descriptor. */
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
const RFLAGS_IF = 0x200n;
const RFLAGS_VM = 0x2_0000n;

/** The selector that the fast system calls start from; undefined after #GP(0). */
const fastSelector = (cpu: Cpu): number | undefined => {
  const selector = word(cpu, state.SYSENTER_CS) & 0xfffc;
  return selector === 0 || (word(cpu, state.CR0) & 1) === 0 ? undefined : selector;
};

/** SDM Vol. 2B, SYSENTER. */
export const sysenter: Operation = (cpu) => {
  const selector = fastSelector(cpu);
  if (selector === undefined) return raise(cpu, 'GP', 0);
  const isLong = isLongMode(cpu);
  const width = isLong ? 64 : 32;
  const rest = quad(cpu, state.RFLAGS_REST) & ~(RFLAGS_IF | RFLAGS_VM);
  setQuad(cpu, state.RFLAGS_REST, rest);
  setQuad(cpu, RSP, BigInt.asUintN(width, quad(cpu, state.SYSENTER_ESP)));
  setQuad(cpu, state.RIP, BigInt.asUintN(width, quad(cpu, state.SYSENTER_EIP)));
  setFlat(cpu, state.CS, selector, isLong ? CODE64 : CODE32);
  setFlat(cpu, state.SS, selector + 8, DATA);
  setWord(cpu, state.CPL, 0);
  setWord(cpu, state.CODE_WIDTH, width);
  cpu.invalidate();
  return OUTCOME.jumped;
};

/** SDM Vol. 2B, SYSEXIT. */
export const sysexit: Operation = (cpu, args) => {
  const selector = fastSelector(cpu);
  if (selector === undefined || cplOf(cpu) !== 0) return raise(cpu, 'GP', 0);
  const toLong = numberAt(args, 0) === 64;
  const stack = quad(cpu, state.registerSlot(1));
  const target = quad(cpu, state.registerSlot(2));
  if (toLong && !(isCanonical(stack) && isCanonical(target))) return raise(cpu, 'GP', 0);
  const width = toLong ? 64 : 32;
  setQuad(cpu, RSP, BigInt.asUintN(width, stack));
  setQuad(cpu, state.RIP, BigInt.asUintN(width, target));
  const code = selector + (toLong ? 32 : 16);
  setFlat(cpu, state.CS, code | 3, (toLong ? CODE64 : CODE32) | DPL3);
  setFlat(cpu, state.SS, (code + 8) | 3, DATA | DPL3);
  setWord(cpu, state.CPL, 3);
  setWord(cpu, state.CODE_WIDTH, width);
  cpu.invalidate();
  return OUTCOME.jumped;
};
