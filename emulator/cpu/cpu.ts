/**
 * The processor's own view of its state: slots of the window, linear memory as the processor
 * reads it for itself, pending faults. Operations, segmentation and event delivery are built on it.
 */
import {
  type DecodedInstruction,
  type ExceptionName,
  type OperationName,
  vectorOf,
} from '../../isa/index.ts';
import type { Maddr } from '../memory/addresses.ts';
import {
  hostAddressOf,
  type MachineMemory,
  PAGE_HAS_CODE,
  PAGE_HAS_CODE_TABLE,
  PAGE_HAS_TABLE,
  pageFlagSlot,
} from '../memory/machine-memory.ts';
import {
  errorCodeOf,
  linearNumber,
  linearOfNumber,
  type PagingAccess,
  type SecondStage,
  translateLinear,
  WALK_EXIT,
} from './paging.ts';
import { OUTCOME, type Outcome } from './processor.ts';
import * as state from './state.ts';
import type { TlbModel } from './tlb-model.ts';
import type { Piece, Watches } from './watches.ts';

/** VMX non-root operation, as lower layers see it; emulator/vmx implements it. */
export interface NonRoot {
  /** True if the operation makes a VM exit, which then has been made. */
  intercepts(operation: OperationName, args: readonly bigint[]): boolean;
  /** Whether a control takes the operation from the guest, so that it is #UD. */
  disables?(operation: OperationName): boolean;
  /** Whether an operation that exits by one control may exit; absent: it may. */
  mayExit?(operation: OperationName): boolean;
  /**
   * True if the exception makes a VM exit. `errorCode` is undefined if it has none; `type` is the
   * interruption type, a hardware exception if absent.
   */
  interceptsException(vector: number, errorCode: number | undefined, type?: number): boolean;
  /** Whether page faults neither exit nor are told to anyone, until run() is left; absent: no. */
  passesPageFaults?(): boolean;
  /** The same of a fault that is about to become part of a double or triple fault. */
  interceptsSecond?(vector: number, errorCode: number | undefined): boolean;
  /** Makes the VM exit of a triple fault. */
  tripleFault(): void;
  /** Makes the VM exit of a task switch to the task-state segment; absent: there is none. */
  taskSwitch?(selector: number, source: TaskSwitchSource): void;
  /** Whether IRET ends the blocking of NMIs; absent: it does. */
  unblocksNmi?(): boolean;
  /** Whether a debug trap has to wait for the VM exit of the monitor trap flag. */
  defersDebugTrap?(): boolean;
  /** What the guest reads of CR0 or CR4, and what a write that does not exit changes. */
  readControlRegister(number: number, value: bigint): bigint;
  writeControlRegister(number: number, old: bigint, value: bigint): bigint;
  /** What RDTSC, RDTSCP and RDMSR of the time-stamp counter read for its value; absent: the same. */
  guestTimeStamp?(value: bigint): bigint;
}

/** What asked for a task switch: SDM Vol. 3C 27.2.1, Table 27-2. */
export const TASK_SWITCH_SOURCE = { call: 0, iret: 1, jmp: 2, gate: 3 } as const;
export type TaskSwitchSource = (typeof TASK_SWITCH_SOURCE)[keyof typeof TASK_SWITCH_SOURCE];

/** Whether a machine address lies in a page that stands in for a missing one. */
export const isStandIn = ({ standIns }: Cpu, maddr: number): boolean => {
  if (standIns === undefined) return false;
  const page = maddr - (maddr & OFFSET);
  return page === standIns.read || page === standIns.written || page === standIns.table;
};

/**
 * Exceptions and IRETQ in their usual form, as an engine has them. Each does all, or nothing and
 * gives false; what it does is the same as without it.
 */
export interface UsualEvents {
  /** A hardware exception, whose interception is done with; the error code is -1 if it has none. */
  deliver(vector: number, errorCode: number, resumes: boolean): boolean;
  returnFromInterrupt(): boolean;
}

/** Machine addresses of the pages that stand in for frames that the second stage has not. */
export interface StandIns {
  readonly read: Maddr;
  readonly written: Maddr;
  /** For the entries that a page walk reads. */
  readonly table: Maddr;
  /** Whether they stand in at a guest-physical address. */
  readonly covers: (gpa: number) => boolean;
}

/**
 * - `execute`: an access that the second stage refuses makes a VM exit.
 * - `probe`: the instruction may not come to this access; a refused one makes nothing, and is made
 *   again by the precise engine.
 */
export type AccessMode = 'execute' | 'probe';

export interface Cpu {
  readonly memory: MachineMemory;
  stage: SecondStage;
  /**
   * While software emulates an instruction: what the second stage gives for data that it has not,
   * which nobody may remember.
   */
  standIns?: StandIns | undefined;
  /** Absent: `execute`. */
  accessMode?: AccessMode | undefined;
  /** Undefined outside VMX non-root operation. */
  nonRoot: NonRoot | undefined;
  instructionLength: number;
  /** The instruction that runs, whose operands VM exits tell of. */
  instruction?: DecodedInstruction | undefined;
  /** The IRET that runs has ended the blocking of NMIs. */
  nmiUnblocked?: boolean;
  /** The event that is being delivered, in the format of interruption information; 0: none. */
  delivering: number;
  deliveringErrorCode: number;
  /** The image of RFLAGS that the event pushes has RF set: it is a fault. */
  deliveringResumes?: boolean;
  /** The time-stamp counter now. */
  timeStamp: () => bigint;
  /** Paging has changed: what engines know of translations and decoded code is stale. */
  invalidate: () => void;
  /** The host address of an access within one page, if the engine remembers it; else 0. */
  remembered?: (linear: number, access: PagingAccess) => number;
  /** Counts TLB misses, for the reference engine. */
  readonly tlb?: TlbModel;
  usual?: UsualEvents | undefined;
  /** Memory with decoded code or remembered paging entries has been written. */
  noteWrite?: (host: number, lengthBytes: number) => void;
  /** Memory whose accesses are to be told of. */
  readonly watches?: Watches;
}

export const word = ({ memory }: Cpu, slot: number): number => memory.words[slot >>> 2] ?? 0;
export const setWord = ({ memory }: Cpu, slot: number, value: number): void => {
  memory.words[slot >>> 2] = value;
};
/** The slot is within the memory; `?? 0n` here makes Node 20's compiler abort on hot callers. */
export const quad = ({ memory }: Cpu, slot: number): bigint => memory.quads[slot >>> 3] as bigint;
export const setQuad = ({ memory }: Cpu, slot: number, value: bigint): void => {
  memory.quads[slot >>> 3] = value;
};
export const cplOf = (cpu: Cpu): number => word(cpu, state.CPL);
export const isLongMode = (cpu: Cpu): boolean => (word(cpu, state.EFER) & 0x400) !== 0;
export const is64Bit = (cpu: Cpu): boolean => word(cpu, state.CODE_WIDTH) === 64;

const HAS_ERROR_CODE = 1;

/** Makes a fault pending; the outcome is `fault`. */
export const raise = (cpu: Cpu, exception: ExceptionName, errorCode?: number): Outcome => {
  setWord(cpu, state.FAULT_VECTOR, vectorOf(exception));
  setWord(cpu, state.FAULT_ERROR, errorCode ?? 0);
  setWord(cpu, state.FAULT_FLAGS, errorCode === undefined ? 0 : HAS_ERROR_CODE);
  return OUTCOME.fault;
};

/** The vector and error code of the pending fault. */
export const pendingFault = (cpu: Cpu): { vector: number; errorCode: number | undefined } => ({
  vector: word(cpu, state.FAULT_VECTOR),
  errorCode:
    (word(cpu, state.FAULT_FLAGS) & HAS_ERROR_CODE) === 0
      ? undefined
      : word(cpu, state.FAULT_ERROR),
});

/** An access did not come through: a fault is pending, or a VM exit has been made. */
export type Failure = typeof OUTCOME.fault | typeof OUTCOME.exit;
const PAGE_BYTES = 4096;
const OFFSET = PAGE_BYTES - 1;

/**
 * The host address of an access within one page, at a linear address as a number (paging.ts); or
 * the negated Failure.
 */
export const hostAt = (cpu: Cpu, linear: number, access: PagingAccess): number => {
  cpu.tlb?.access(linear, word(cpu, state.CR3) >>> 12);
  const known = cpu.remembered?.(linear, access) ?? 0;
  if (known !== 0) return known;
  const result = translateLinear(cpu.memory, cpu.stage, linear, access);
  if (result >= cpu.memory.ramBytes) return -raise(cpu, 'GP', 0);
  if (result >= 0) return hostAddressOf(result as Maddr);
  if (result === WALK_EXIT) return -OUTCOME.exit;
  setQuad(cpu, state.FAULT_ADDRESS, linearOfNumber(linear));
  return -raise(cpu, 'PF', errorCodeOf(result));
};
export const failureOf = (host: number): Failure => -host as Failure;

/** Host addresses of `bytes` bytes, one for each page that they touch. */
const piecesOf = (
  cpu: Cpu,
  linear: bigint,
  bytes: number,
  access: PagingAccess,
): { pieces: Piece[] } | { failure: Failure } => {
  const pieces: Piece[] = [];
  for (let done = 0; done < bytes; ) {
    const at = linearNumber(linear + BigInt(done));
    const room = PAGE_BYTES - (at & OFFSET);
    const host = hostAt(cpu, at, access);
    if (host < 0) return { failure: failureOf(host) };
    const length = Math.min(room, bytes - done);
    pieces.push({ host, bytes: length });
    done += length;
  }
  return { pieces };
};

const isPowerOfTwo = (bytes: number): boolean => (bytes & (bytes - 1)) === 0;

/** One, two, four or eight bytes at a host address. */
const valueAt = ({ memory: { view } }: Cpu, host: number, bytes: number): bigint => {
  switch (bytes) {
    case 1:
      return BigInt(view.getUint8(host));
    case 2:
      return BigInt(view.getUint16(host, true));
    case 4:
      return BigInt(view.getUint32(host, true));
    default:
      return view.getBigUint64(host, true);
  }
};

const setValueAt = (
  { memory: { view } }: Cpu,
  host: number,
  bytes: number,
  value: bigint,
): void => {
  switch (bytes) {
    case 1:
      view.setUint8(host, Number(value & 0xffn));
      break;
    case 2:
      view.setUint16(host, Number(value & 0xffffn), true);
      break;
    case 4:
      view.setUint32(host, Number(value & 0xffff_ffffn), true);
      break;
    default:
      view.setBigUint64(host, value, true);
  }
};

/** Whether an access can be made in one go: within a page, and with nobody to be told of it. */
const isPlain = (cpu: Cpu, at: number, bytes: number): boolean =>
  bytes <= 8 &&
  isPowerOfTwo(bytes) &&
  (at & OFFSET) + bytes <= PAGE_BYTES &&
  cpu.watches?.isActive !== true;

/** Reads up to 16 bytes, little-endian. */
export const readLinear = (
  cpu: Cpu,
  linear: bigint,
  bytes: number,
  access: PagingAccess,
): { value: bigint } | { failure: Failure } => {
  const at = linearNumber(linear);
  if (isPlain(cpu, at, bytes)) {
    const host = hostAt(cpu, at, access);
    return host < 0 ? { failure: failureOf(host) } : { value: valueAt(cpu, host, bytes) };
  }
  const found = piecesOf(cpu, linear, bytes, access);
  if ('failure' in found) return found;
  let value = 0n;
  let shift = 0n;
  for (const piece of found.pieces) {
    for (let i = 0; i < piece.bytes; i += 1) {
      value |= BigInt(cpu.memory.bytes[piece.host + i] ?? 0) << shift;
      shift += 8n;
    }
  }
  cpu.watches?.noteRead(linear, found.pieces, value);
  return { value };
};

/** Whether a write would come through; undefined if so. */
export const probeWrite = (
  cpu: Cpu,
  linear: bigint,
  bytes: number,
  access: PagingAccess,
): Failure | undefined => {
  const found = piecesOf(cpu, linear, bytes, writing(access));
  return 'failure' in found ? found.failure : undefined;
};

const writing = (access: PagingAccess): PagingAccess =>
  access.write ? access : { ...access, write: true };

/** Writes up to 16 bytes; a Failure if nothing was written. */
export const writeLinear = (
  cpu: Cpu,
  linear: bigint,
  bytes: number,
  value: bigint,
  access: PagingAccess,
): Failure | undefined => {
  const at = linearNumber(linear);
  if (isPlain(cpu, at, bytes)) {
    const host = hostAt(cpu, at, writing(access));
    if (host < 0) return failureOf(host);
    setValueAt(cpu, host, bytes, value);
    tellOfWrite(cpu, host, bytes);
    return undefined;
  }
  const found = piecesOf(cpu, linear, bytes, writing(access));
  if ('failure' in found) return found.failure;
  cpu.watches?.noteWrite(linear, found.pieces, value);
  let rest = value;
  for (const piece of found.pieces) {
    for (let i = 0; i < piece.bytes; i += 1) {
      cpu.memory.bytes[piece.host + i] = Number(rest & 0xffn);
      rest >>= 8n;
    }
    tellOfWrite(cpu, piece.host, piece.bytes);
  }
  return undefined;
};

const REMEMBERED = PAGE_HAS_CODE | PAGE_HAS_TABLE | PAGE_HAS_CODE_TABLE;

/** Tells the engine of a write within one page that it may have to know of. */
export const tellOfWrite = ({ memory, noteWrite }: Cpu, host: number, bytes: number): void => {
  const flags = memory.bytes[pageFlagSlot(host)] ?? 0;
  if ((flags & REMEMBERED) !== 0) noteWrite?.(host, bytes);
};

/** Accesses of the processor's own, to descriptor tables and task-state segments. */
export const SYSTEM_READ: PagingAccess = {
  write: false,
  execute: false,
  user: false,
  implicit: true,
};

const DATA: readonly PagingAccess[] = [0, 1, 2, 3].map((bits) => ({
  write: (bits & 1) !== 0,
  execute: false,
  user: (bits & 2) !== 0,
}));
const PLAIN: PagingAccess = { write: false, execute: false, user: false };

/** A data access with the rights of user mode or of supervisor mode. */
export const accessOf = (write: boolean, user: boolean): PagingAccess =>
  DATA[(write ? 1 : 0) | (user ? 2 : 0)] ?? PLAIN;

/** Data accesses of the running privilege level. */
export const dataAccess = (cpu: Cpu, write: boolean): PagingAccess =>
  accessOf(write, cplOf(cpu) === 3);
