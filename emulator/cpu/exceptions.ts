/**
 * Delivery of events through the IDT: exceptions, interrupts, software interrupts; what becomes of
 * a second fault on the way. Source: SDM Vol. 3A ch. 6 "Interrupt and Exception Handling" (6.12 to
 * 6.15, Table 6-5 "Conditions for Generating a Double Fault"), Vol. 3B 17.2, 17.3; Vol. 2A, INT n.
 * VM exits on the way: Vol. 3C 25.2, 27.2.4 "Information for VM Exits During Event Delivery".
 */
import {
  type Cpu,
  cplOf,
  type Failure,
  isLongMode,
  pendingFault,
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
} from './segmentation.ts';
import { alignedStack, currentStack, innerStack, pushAll, setStackPointer } from './stacks.ts';
import * as state from './state.ts';
import { switchTask } from './task-switch.ts';

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
  /** A fault: the image of RFLAGS on the stack has RF set. */
  readonly resumes?: boolean;
}

const RFLAGS_TF = 0x100n;
const RFLAGS_IF = 0x200n;
const RFLAGS_NT = 0x4000n;
const RFLAGS_RF = 0x1_0000n;
const RFLAGS_VM = 0x2_0000n;
const INFORMATION_VALID = 0x8000_0000;
const INFORMATION_HAS_CODE = 0x800;
const DB = 1;
const DF = 8;
const PF = 14;
const DR7_GD = 0x2000n;
/** A debug exception for an access to a debug register is a fault. */
const DEBUG_BD = 0x2000n;
const CONTRIBUTORY: ReadonlySet<number> = new Set([0, 10, 11, 12, 13]);
/** #TS, #NP, #SS and #GP have the EXT bit in their error codes. */
const tellsExternal = (vector: number): boolean => vector >= 10 && vector <= 13;

/** Delivers the pending fault, or makes the VM exit that intercepts it. */
export const deliverPendingFault = (cpu: Cpu): Outcome => {
  const { vector, errorCode } = pendingFault(cpu);
  return deliverFault(cpu, vector, errorCode);
};

/** Delivers the pending debug exceptions, unless a load of SS still holds them back. */
export const deliverPendingDebug = (cpu: Cpu): Outcome => {
  const pending = quad(cpu, state.PENDING_DEBUG);
  if (pending === 0n || (word(cpu, state.INTERRUPTIBILITY) & 2) !== 0) return OUTCOME.next;
  setQuad(cpu, state.PENDING_DEBUG, 0n);
  setQuad(cpu, state.FAULT_ADDRESS, pending);
  return deliverFault(cpu, DB, undefined);
};

/**
 * Delivers the event of INT n and its kin. A fault on the way is left pending, as one of the
 * instruction, which has not completed then; deliverPendingFault() tells of the event all the same.
 */
export const deliverSoftware = (cpu: Cpu, event: DeliveredEvent): Outcome => {
  const outcome = deliver(cpu, event);
  if (outcome !== OUTCOME.fault) return leave(cpu, outcome);
  markExternal(cpu, event);
  return outcome;
};

/** Delivers an interrupt or an injected event; a fault on the way is delivered instead. */
export const deliverEvent = (cpu: Cpu, event: DeliveredEvent): Outcome => {
  const outcome = deliver(cpu, event);
  if (outcome !== OUTCOME.fault) return leave(cpu, outcome);
  markExternal(cpu, event);
  // Only exceptions combine to a double fault; interrupts are benign.
  const first = event.type === EVENT_TYPE.hardwareException ? event.vector : undefined;
  return deliverSecond(cpu, first);
};

/** The error code of a fault on the way of an event that is not the program's own has EXT set. */
const markExternal = (cpu: Cpu, event: DeliveredEvent): void => {
  if (isExternal(event) && tellsExternal(word(cpu, state.FAULT_VECTOR))) {
    setWord(cpu, state.FAULT_ERROR, word(cpu, state.FAULT_ERROR) | 1);
  }
};

/** `FAULT_ADDRESS` holds what becomes CR2 at a page fault, and the bits for DR6 at a #DB. */
const deliverFault = (cpu: Cpu, vector: number, errorCode: number | undefined): Outcome => {
  const isIntercepted = cpu.nonRoot?.interceptsException(vector, errorCode) === true;
  cpu.nmiUnblocked = false;
  if (isIntercepted) return leave(cpu, OUTCOME.exit);
  const address = quad(cpu, state.FAULT_ADDRESS);
  if (vector === PF) setQuad(cpu, state.CR2, address);
  if (vector === DB) {
    setQuad(cpu, state.DR6, quad(cpu, state.DR6) | address);
    setQuad(cpu, state.DR7, quad(cpu, state.DR7) & ~DR7_GD);
  }
  const resumes = vector !== DB || (address & DEBUG_BD) !== 0n;
  return deliverEvent(cpu, { vector, type: EVENT_TYPE.hardwareException, errorCode, resumes });
};

/**
 * A fault is pending that happened while exception `first` was delivered: Table 6-5. The exception
 * bitmap is asked about the fault itself first; a hypervisor that shadows page tables depends on it.
 */
const deliverSecond = (cpu: Cpu, first: number | undefined): Outcome => {
  const second = pendingFault(cpu);
  const isContributory = CONTRIBUTORY.has(second.vector);
  const doubles =
    first !== undefined &&
    ((CONTRIBUTORY.has(first) && isContributory) ||
      (first === PF && (isContributory || second.vector === PF)));
  const combines = first === DF || doubles;
  if (combines && cpu.nonRoot?.interceptsSecond?.(second.vector, second.errorCode) === true) {
    return leave(cpu, OUTCOME.exit);
  }
  // A VM exit by the double or triple fault itself does not count as one during event delivery.
  if (combines) cpu.delivering = 0;
  if (first === DF) {
    cpu.nonRoot?.tripleFault();
    return leave(cpu, cpu.nonRoot === undefined ? OUTCOME.shutdown : OUTCOME.exit);
  }
  return doubles ? deliverFault(cpu, DF, 0) : deliverFault(cpu, second.vector, second.errorCode);
};

const leave = (cpu: Cpu, outcome: Outcome): Outcome => {
  cpu.delivering = 0;
  return outcome;
};

const isSoftware = ({ type }: DeliveredEvent): boolean => type >= 4;
/** INT n, INT3 and INTO are the program's own; INT1 counts as external. */
const isExternal = ({ type }: DeliveredEvent): boolean =>
  type !== EVENT_TYPE.softwareInterrupt && type !== EVENT_TYPE.softwareException;

const deliver = (cpu: Cpu, event: DeliveredEvent): Outcome => {
  const { vector, type, errorCode = -1, resumes } = event;
  if (type === EVENT_TYPE.hardwareException && resumes !== undefined) {
    if (cpu.usual?.deliver(vector, errorCode, resumes) === true) return OUTCOME.jumped;
  }
  const hasCode = event.errorCode === undefined ? 0 : INFORMATION_HAS_CODE;
  cpu.delivering = (INFORMATION_VALID | hasCode | (event.type << 8) | event.vector) >>> 0;
  cpu.deliveringErrorCode = event.errorCode ?? 0;
  cpu.deliveringResumes = event.resumes ?? (!isSoftware(event) && hasResumeFlag(cpu));
  const gate = readGate(cpu, event);
  if ('failure' in gate) return gate.failure;
  if ((gate.selector & 0xfffc) === 0) return raise(cpu, 'GP', 0);
  const code = readDescriptor(cpu, gate.selector, 'GP');
  if ('failure' in code) return code.failure;
  const cpl = cplOf(cpu);
  const isLong = isLongMode(cpu);
  const isWrongSize = isLong && (code.access & 0x6000) !== 0x2000;
  const isRefused = !isCode(code) || dplOf(code) > cpl || isWrongSize;
  if (isRefused) return raise(cpu, 'GP', gate.selector & 0xfffc);
  if (!isPresent(code)) return raise(cpu, 'NP', gate.selector & 0xfffc);
  const isOutside = isLong ? !isCanonical(gate.offset) : gate.offset > BigInt(code.limit >>> 0);
  if (isOutside) return raise(cpu, 'GP', 0);
  const target = isConforming(code) ? cpl : dplOf(code);
  const failure = markAccessed(cpu, code) ?? pushFrame(cpu, event, gate, target);
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
  /** Width of what is pushed. */
  readonly width: 16 | 32 | 64;
}

const TASK_GATE = 5;
/** Bits 2:1 of interrupt and trap gates; bit 0 tells trap gates, bit 3 32-bit gates. */
const INTERRUPT_OR_TRAP = 6;

const readGate = (cpu: Cpu, event: DeliveredEvent): Gate | { failure: Outcome } => {
  const isLong = isLongMode(cpu);
  const bytes = isLong ? 16 : 8;
  const errorCode = event.vector * 8 + 2;
  const offset = event.vector * bytes;
  if (offset + bytes - 1 > word(cpu, state.IDTR_LIMIT) >>> 0) {
    return { failure: raise(cpu, 'GP', errorCode) };
  }
  const found = readLinear(cpu, quad(cpu, state.IDTR_BASE) + BigInt(offset), bytes, SYSTEM_READ);
  if ('failure' in found) return found;
  const low = Number(found.value & 0xffff_ffffn);
  const high = Number((found.value >> 32n) & 0xffff_ffffn);
  const type = (high >>> 8) & 0x1f;
  const dpl = (high >>> 13) & 3;
  const isGate = (type & 0x16) === INTERRUPT_OR_TRAP && (!isLong || type >= 8);
  const isTaskGate = type === TASK_GATE && !isLong;
  const needsPrivilege = !isExternal(event);
  if (!(isGate || isTaskGate) || (needsPrivilege && dpl < cplOf(cpu))) {
    return { failure: raise(cpu, 'GP', errorCode) };
  }
  if ((high & 0x8000) === 0) return { failure: raise(cpu, 'NP', errorCode) };
  const selector = low >>> 16;
  if (isTaskGate) return { failure: switchTask(cpu, selector, TASK_SWITCH_SOURCE.gate) };
  const isWide = type >= 8;
  const upper = isLong ? (found.value >> 64n) & 0xffff_ffffn : 0n;
  const middle = isWide ? high & 0xffff_0000 : 0;
  return {
    selector,
    offset: (upper << 32n) | BigInt((middle | (low & 0xffff)) >>> 0),
    stackTable: isLong ? high & 7 : 0,
    isInterrupt: (type & 1) === 0,
    width: isLong ? 64 : isWide ? 32 : 16,
  };
};

/** RIP that the frame holds: software events return behind their instruction. */
const returnAddress = (cpu: Cpu, event: DeliveredEvent): bigint =>
  quad(cpu, state.RIP) + BigInt(isSoftware(event) ? cpu.instructionLength : 0);

const hasResumeFlag = (cpu: Cpu): boolean =>
  (word(cpu, state.RFLAGS_REST) & Number(RFLAGS_RF)) !== 0;

/** RFLAGS that the frame holds; SDM Vol. 3B 17.3.1.1 "Instruction-Breakpoint Exception Condition". */
const imageOf = (cpu: Cpu, event: DeliveredEvent): bigint => {
  const rflags = readRflagsOf(cpu);
  if (event.resumes === true) return rflags | RFLAGS_RF;
  return isSoftware(event) ? rflags & ~RFLAGS_RF : rflags;
};

const pushFrame = (
  cpu: Cpu,
  event: DeliveredEvent,
  { stackTable, width }: Gate,
  target: number,
): Failure | undefined => {
  const isLong = width === 64;
  const old = quad(cpu, state.registerSlot(4));
  const changes = target !== cplOf(cpu);
  const isNew = changes || stackTable !== 0;
  const found = isNew ? innerStack(cpu, target, stackTable) : currentStack(cpu);
  if ('failure' in found) return found.failure;
  const stack = isLong ? alignedStack(found) : found;
  const frame: bigint[] = [];
  if (isLong || changes) frame.push(BigInt(word(cpu, state.segmentSelector(state.SS))), old);
  frame.push(
    imageOf(cpu, event),
    BigInt(word(cpu, state.segmentSelector(state.CS))),
    returnAddress(cpu, event),
  );
  if (event.errorCode !== undefined) frame.push(BigInt(event.errorCode));
  const at = pushAll(cpu, stack, width, frame, target === 3);
  if (typeof at !== 'bigint') return at.failure;
  if (changes) loadInnerStack(cpu, target, stack.descriptor);
  setStackPointer(cpu, stack.pointerWidth, at);
  return undefined;
};

/** SS at an inner level: the descriptor of the task-state segment's selector, null in long mode. */
const loadInnerStack = (cpu: Cpu, level: number, descriptor: Descriptor | undefined): void => {
  setWord(cpu, state.CPL, level);
  if (descriptor === undefined) clearSegment(cpu, state.SS, level);
  else setSegment(cpu, state.SS, descriptor);
};
