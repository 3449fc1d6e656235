import {
  accessOf,
  type Cpu,
  cplOf,
  type Failure,
  is64Bit,
  isLongMode,
  pendingFault,
  quad,
  raise,
  readLinear,
  SYSTEM_READ,
  setQuad,
  setWord,
  word,
  writeLinear,
} from './cpu.ts';
import { OUTCOME, type Outcome } from './processor.ts';
import { readRflagsOf, writeRflagsOf } from './rflags.ts';
import {
  clearSegment,
  type Descriptor,
  dplOf,
  isCode,
  isConforming,
  isPresent,
  readDescriptor,
  setCodeSegment,
  setSegment,
} from './segmentation.ts';
import * as state from './state.ts';

/** How an event came about; the numbers are those of interruption information. */
export const EVENT_TYPE = {
  externalInterrupt: 0,
  nmi: 2,
  hardwareException: 3,
  softwareInterrupt: 4,
  privilegedSoftwareException: 5,
  softwareException: 6,
} as const;

export interface DeliveredEvent {
  readonly vector: number;
  readonly type: number;
  readonly errorCode: number | undefined;
}

const RFLAGS_TF = 0x100n;
const RFLAGS_IF = 0x200n;
const RFLAGS_NT = 0x4000n;
const RFLAGS_RF = 0x1_0000n;
const RFLAGS_VM = 0x2_0000n;
const INFORMATION_VALID = 0x8000_0000;
const INFORMATION_HAS_CODE = 0x800;
const PF = 14;
const DF = 8;
const CONTRIBUTORY: ReadonlySet<number> = new Set([0, 10, 11, 12, 13]);

/** Delivers the pending fault, or makes the VM exit that intercepts it. */
export const deliverPendingFault = (cpu: Cpu): Outcome => {
  const { vector, errorCode } = pendingFault(cpu);
  return deliverFault(cpu, vector, errorCode);
};

/** Delivers an interrupt or an injected event; a fault on the way is delivered instead. */
export const deliverEvent = (cpu: Cpu, event: DeliveredEvent): Outcome => {
  const outcome = deliver(cpu, event);
  if (outcome !== OUTCOME.fault) return leave(cpu, outcome);
  // Only exceptions combine to a double fault; interrupts are benign.
  const first = event.type === EVENT_TYPE.hardwareException ? event.vector : undefined;
  return deliverSecond(cpu, first);
};

const deliverFault = (cpu: Cpu, vector: number, errorCode: number | undefined): Outcome => {
  if (cpu.nonRoot?.interceptsException(vector, errorCode) === true) return leave(cpu, OUTCOME.exit);
  if (vector === PF) setQuad(cpu, state.CR2, quad(cpu, state.FAULT_ADDRESS));
  return deliverEvent(cpu, { vector, type: EVENT_TYPE.hardwareException, errorCode });
};

/** A fault is pending that happened while exception `first` was delivered: Table 6-5. */
const deliverSecond = (cpu: Cpu, first: number | undefined): Outcome => {
  if (first === DF) {
    cpu.nonRoot?.tripleFault();
    return leave(cpu, cpu.nonRoot === undefined ? OUTCOME.shutdown : OUTCOME.exit);
  }
  const second = pendingFault(cpu);
  const isContributory = CONTRIBUTORY.has(second.vector);
  const doubles =
    first !== undefined &&
    ((CONTRIBUTORY.has(first) && isContributory) ||
      (first === PF && (isContributory || second.vector === PF)));
  return doubles ? deliverFault(cpu, DF, 0) : deliverFault(cpu, second.vector, second.errorCode);
};

const leave = (cpu: Cpu, outcome: Outcome): Outcome => {
  cpu.delivering = 0;
  return outcome;
};

const isSoftware = ({ type }: DeliveredEvent): boolean => type >= 4;

const deliver = (cpu: Cpu, event: DeliveredEvent): Outcome => {
  const hasCode = event.errorCode === undefined ? 0 : INFORMATION_HAS_CODE;
  cpu.delivering = (INFORMATION_VALID | hasCode | (event.type << 8) | event.vector) >>> 0;
  cpu.deliveringErrorCode = event.errorCode ?? 0;
  const external = isSoftware(event) ? 0 : 1;
  const gate = readGate(cpu, event, external);
  if ('failure' in gate) return gate.failure;
  const code = readDescriptor(cpu, gate.selector, 'GP');
  if ('failure' in code) return code.failure;
  const cpl = cplOf(cpu);
  const selectorCode = (gate.selector & 0xfffc) | external;
  if (!isCode(code) || dplOf(code) > cpl) return raise(cpu, 'GP', selectorCode);
  if (!isPresent(code)) return raise(cpu, 'NP', selectorCode);
  if (isLongMode(cpu) && (code.access & 0x6000) !== 0x2000) return raise(cpu, 'GP', selectorCode);
  const target = isConforming(code) ? cpl : dplOf(code);
  const failure = isLongMode(cpu)
    ? pushFrame64(cpu, event, gate.stackTable, target)
    : pushFrame32(cpu, event, target);
  if (failure !== undefined) return failure;
  setCodeSegment(cpu, code, target);
  setQuad(cpu, state.RIP, gate.offset);
  const cleared = RFLAGS_TF | RFLAGS_NT | RFLAGS_RF | RFLAGS_VM;
  const mask = cleared | (gate.isInterrupt ? RFLAGS_IF : 0n);
  writeRflagsOf(cpu, readRflagsOf(cpu) & ~mask);
  const blocking = word(cpu, state.INTERRUPTIBILITY) & ~3;
  setWord(cpu, state.INTERRUPTIBILITY, event.type === EVENT_TYPE.nmi ? blocking | 8 : blocking);
  setWord(cpu, state.ACTIVITY, 0);
  cpu.invalidate();
  return OUTCOME.jumped;
};

interface Gate {
  readonly selector: number;
  readonly offset: bigint;
  readonly stackTable: number;
  readonly isInterrupt: boolean;
}

const readGate = (
  cpu: Cpu,
  event: DeliveredEvent,
  external: number,
): Gate | { failure: Failure } => {
  const isLong = isLongMode(cpu);
  const bytes = isLong ? 16 : 8;
  const errorCode = event.vector * 8 + 2 + external;
  const offset = event.vector * bytes;
  if (offset + bytes - 1 > word(cpu, state.IDTR_LIMIT) >>> 0) {
    return { failure: raise(cpu, 'GP', errorCode) as Failure };
  }
  const found = readLinear(cpu, quad(cpu, state.IDTR_BASE) + BigInt(offset), bytes, SYSTEM_READ);
  if ('failure' in found) return found;
  const low = Number(found.value & 0xffff_ffffn);
  const high = Number((found.value >> 32n) & 0xffff_ffffn);
  const type = (high >>> 8) & 0x1f;
  const dpl = (high >>> 13) & 3;
  const needsPrivilege =
    event.type === EVENT_TYPE.softwareInterrupt || event.type === EVENT_TYPE.softwareException;
  if ((type !== 0xe && type !== 0xf) || (needsPrivilege && dpl < cplOf(cpu))) {
    return { failure: raise(cpu, 'GP', errorCode) as Failure };
  }
  if ((high & 0x8000) === 0) return { failure: raise(cpu, 'NP', errorCode) as Failure };
  const upper = isLong ? (found.value >> 64n) & 0xffff_ffffn : 0n;
  return {
    selector: low >>> 16,
    offset: (upper << 32n) | BigInt(((high & 0xffff_0000) | (low & 0xffff)) >>> 0),
    stackTable: isLong ? high & 7 : 0,
    isInterrupt: type === 0xe,
  };
};

/** RIP that the frame holds: software events return behind their instruction. */
const returnAddress = (cpu: Cpu, event: DeliveredEvent): bigint =>
  quad(cpu, state.RIP) + BigInt(isSoftware(event) ? cpu.instructionLength : 0);

const pushFrame64 = (
  cpu: Cpu,
  event: DeliveredEvent,
  stackTable: number,
  target: number,
): Failure | undefined => {
  const oldStack = quad(cpu, state.registerSlot(4));
  let top = oldStack;
  if (stackTable !== 0 || target !== cplOf(cpu)) {
    const offset = stackTable === 0 ? 4 + target * 8 : 0x24 + (stackTable - 1) * 8;
    if (offset + 7 > word(cpu, state.segmentLimit(state.TR)) >>> 0) {
      return raise(cpu, 'TS', word(cpu, state.segmentSelector(state.TR)) & 0xfffc) as Failure;
    }
    const base = quad(cpu, state.segmentBase(state.TR));
    const found = readLinear(cpu, base + BigInt(offset), 8, SYSTEM_READ);
    if ('failure' in found) return found.failure;
    top = found.value;
  }
  const frame = [
    BigInt(word(cpu, state.segmentSelector(state.SS))),
    oldStack,
    readRflagsOf(cpu),
    BigInt(word(cpu, state.segmentSelector(state.CS))),
    returnAddress(cpu, event),
    ...(event.errorCode === undefined ? [] : [BigInt(event.errorCode)]),
  ];
  let at = top & ~15n;
  for (const value of frame) {
    at = BigInt.asUintN(64, at - 8n);
    const failure = writeLinear(cpu, at, 8, value, accessOf(true, target === 3));
    if (failure !== undefined) return failure;
  }
  if (target !== cplOf(cpu)) {
    setWord(cpu, state.CPL, target);
    clearSegment(cpu, state.SS, target);
  }
  setQuad(cpu, state.registerSlot(4), at);
  return undefined;
};

const pushFrame32 = (cpu: Cpu, event: DeliveredEvent, target: number): Failure | undefined => {
  const oldStack = quad(cpu, state.registerSlot(4)) & 0xffff_ffffn;
  const oldSelector = word(cpu, state.segmentSelector(state.SS));
  const changes = target !== cplOf(cpu);
  let top = oldStack;
  let stack: Descriptor | undefined;
  if (changes) {
    const at = quad(cpu, state.segmentBase(state.TR)) + BigInt(4 + target * 8);
    const found = readLinear(cpu, at, 8, SYSTEM_READ);
    if ('failure' in found) return found.failure;
    top = found.value & 0xffff_ffffn;
    const inner = readDescriptor(cpu, Number((found.value >> 32n) & 0xffffn), 'TS');
    if ('failure' in inner) return inner.failure;
    stack = inner;
  }
  const base = stack === undefined ? quad(cpu, state.segmentBase(state.SS)) : stack.base;
  const frame = [
    ...(changes ? [BigInt(oldSelector), oldStack] : []),
    readRflagsOf(cpu),
    BigInt(word(cpu, state.segmentSelector(state.CS))),
    returnAddress(cpu, event),
    ...(event.errorCode === undefined ? [] : [BigInt(event.errorCode)]),
  ];
  let at = top;
  for (const value of frame) {
    at = BigInt.asUintN(32, at - 4n);
    const linear = BigInt.asUintN(32, base + at);
    const failure = writeLinear(cpu, linear, 4, value, accessOf(true, target === 3));
    if (failure !== undefined) return failure;
  }
  if (stack !== undefined) setSegment(cpu, state.SS, stack);
  setQuad(cpu, state.registerSlot(4), at);
  return undefined;
};

/** RFLAGS bits that IRET restores at any level; IF and IOPL depend on CPL. */
const RESTORED = 0x25_4dd5n;
const IOPL = 0x3000n;

/** IRET, IRETD, IRETQ: to the same or an outer level. */
export const interruptReturn = (cpu: Cpu, width: number): Outcome => {
  const bytes = width / 8;
  const isLong = is64Bit(cpu);
  const base = isLong ? 0n : quad(cpu, state.segmentBase(state.SS));
  const top = quad(cpu, state.registerSlot(4));
  const cpl = cplOf(cpu);
  const values: bigint[] = [];
  const pop = (): Failure | undefined => {
    const linear = base + top + BigInt(values.length * bytes);
    const access = accessOf(false, cpl === 3);
    const found = readLinear(cpu, isLong ? linear : BigInt.asUintN(32, linear), bytes, access);
    if ('failure' in found) return found.failure;
    values.push(found.value);
    return undefined;
  };
  for (let i = 0; i < 3; i += 1) {
    const failure = pop();
    if (failure !== undefined) return failure;
  }
  const [rip = 0n, selector = 0n, rflags = 0n] = values;
  if ((readRflagsOf(cpu) & RFLAGS_NT) !== 0n) return raise(cpu, 'GP', 0);
  const codeSelector = Number(selector & 0xffffn);
  const target = codeSelector & 3;
  const popsStack = isLong || target !== cpl;
  for (let i = 0; popsStack && i < 2; i += 1) {
    const failure = pop();
    if (failure !== undefined) return failure;
  }
  if ((codeSelector & 0xfffc) === 0 || target < cpl) return raise(cpu, 'GP', codeSelector & 0xfffc);
  const code = readDescriptor(cpu, codeSelector, 'GP');
  if ('failure' in code) return code.failure;
  const wrongLevel = isConforming(code) ? dplOf(code) > target : dplOf(code) !== target;
  if (!isCode(code) || wrongLevel) return raise(cpu, 'GP', codeSelector & 0xfffc);
  if (!isPresent(code)) return raise(cpu, 'NP', codeSelector & 0xfffc);
  if (popsStack) {
    const failure = returnStack(cpu, Number((values[4] ?? 0n) & 0xffffn), target, code.access);
    if (failure !== undefined) return failure;
  }
  const mask = RESTORED | (cpl === 0 ? IOPL : 0n) | (cpl <= ioplOf(cpu) ? RFLAGS_IF : 0n);
  const restored = width === 16 ? mask & 0xffffn : mask;
  setCodeSegment(cpu, code, target);
  writeRflagsOf(cpu, (readRflagsOf(cpu) & ~restored) | (rflags & restored));
  setQuad(cpu, state.RIP, BigInt.asUintN(word(cpu, state.CODE_WIDTH) === 64 ? 64 : 32, rip));
  const after = popsStack ? (values[3] ?? 0n) : top + BigInt(3 * bytes);
  setQuad(cpu, state.registerSlot(4), isLong ? after : BigInt.asUintN(32, after));
  setWord(cpu, state.INTERRUPTIBILITY, word(cpu, state.INTERRUPTIBILITY) & ~8);
  if (target !== cpl) dropInnerSegments(cpu, target);
  cpu.invalidate();
  return OUTCOME.jumped;
};

const ioplOf = (cpu: Cpu): number => Number((readRflagsOf(cpu) >> 12n) & 3n);

/** Loads SS for a return; a null selector is allowed in 64-bit mode below level 3. */
export const returnStack = (
  cpu: Cpu,
  selector: number,
  target: number,
  codeAccess: number,
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
  if (!isPresent(stack)) return raise(cpu, 'SS', selector & 0xfffc) as Failure;
  setSegment(cpu, state.SS, stack);
  return undefined;
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
