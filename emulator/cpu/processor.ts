/**
 * The processor as engines see it: everything that is not the plain execution of instructions.
 * Engines (emulator/engine) execute meanings; address translation, faults, operations and VM
 * exits are the processor's (emulator/cpu, emulator/vmx). Both work on the state in memory
 * (state.ts). Hot functions take and return numbers; nothing is allocated on the common path.
 */
import type { OperationName } from '../../isa/index.ts';
import type { MachineMemory } from '../memory/machine-memory.ts';

/** What an operation, an access or the delivery of an event came to. */
export const OUTCOME = {
  /** Completed; the engine advances RIP by the instruction's length and retires it. */
  next: 0,
  /** Completed, RIP is set; the engine retires the instruction. */
  jumped: 1,
  /** Nothing was committed; the pending fault (FAULT_VECTOR, ...) is to be delivered. */
  fault: 2,
  /** Nothing was committed; a VM exit has been made: the VMCS is filled, non-root operation left. */
  exit: 3,
  /** The processor is in the shutdown state (triple fault outside non-root operation). */
  shutdown: 4,
} as const;
export type Outcome = (typeof OUTCOME)[keyof typeof OUTCOME];

/** Bits of `access` of translate(). The low byte is the length in bytes, 1 to 64. */
export const ACCESS_WRITE = 0x100;
export const ACCESS_EXECUTE = 0x200;
/** A system access (descriptor tables, TSS): supervisor whatever the CPL is. */
export const ACCESS_SYSTEM = 0x400;

/** Why translate() gave no address. */
export const LEAVE_REASONS = {
  none: 0,
  /** The pending fault is set. */
  fault: 1,
  /** The access needs the precise path: it crosses a page, is watched, writes to code, ... */
  precise: 2,
  /** A VM exit has been made (an EPT violation or misconfiguration). */
  exit: 3,
  /** Used by generated code: */
  needBlock: 4,
  budget: 5,
  operation: 6,
  breakpoint: 7,
} as const;

/** Bits of the word ATTENTION in state.ts. */
export const ATTENTION_BITS = {
  /** An event may have become deliverable (IF set, blocking ended, window exiting). */
  events: 1,
  /** The activity state is not "active". */
  halted: 2,
  /** A single-step trap (TF or monitor trap flag) or a debug exception is due. */
  trap: 4,
  /** Paging, mode or code changed: what engines remember of blocks may be stale. */
  mode: 8,
  /** A device or the hypervisor asks the run loop to return (a stop requested by an observer). */
  stop: 16,
} as const;

export interface Processor {
  readonly memory: MachineMemory;

  /**
   * Translates a linear address for the running vCPU and fills the TLB; sets accessed and dirty
   * bits. Returns a host address in the WebAssembly memory (>= RAM), or 0 with LEAVE_REASON set to
   * `fault`, `precise` or `exit`. This is the `slow` import of generated code.
   * An access that crosses a page, touches a watched page or writes to a page with decoded code
   * is `precise`; a precise engine passes pieces that do not cross (see translatePiece).
   */
  translate(gva: bigint, access: number): number;

  /**
   * As translate, for the precise path: the access lies within one page; watched pages and code
   * pages translate too (observers are told by noteAccess). 0 means `fault` or `exit`.
   */
  translatePiece(gva: bigint, access: number): number;

  /** Tells observers (watchpoints, decoded code) of a precise access that has been committed. */
  noteAccess(gva: bigint, hostAddress: number, lengthBytes: number, access: number): void;

  /** Runs a named operation on the ARGUMENTS; the index is from operationIndex(). */
  operate(operation: number): Outcome;
  operationIndex(name: OperationName): number;

  /** Makes a fault pending. An error code of undefined means none. */
  raiseFault(vector: number, errorCode?: number): Outcome;

  /**
   * Delivers the pending fault through the IDT, or as a VM exit if the exception bitmap says so;
   * contributory faults become #DF, then shutdown. RIP and the instruction length are those of
   * the faulting instruction. Returns `jumped`, `exit` or `shutdown`.
   */
  deliverFault(): Outcome;

  /**
   * Looks after ATTENTION at an instruction boundary: pending debug traps, interrupt-window and
   * NMI-window exits, monitor trap flag, halted. Returns `next` (go on), `jumped`, `exit`, or
   * `shutdown`. Clears the bits it has dealt with; `halted` stays until an event wakes the CPU.
   */
  attend(): Outcome;

  /** The instruction length is needed by operations (next RIP, exits): engines set it first. */
  instructionLength: number;
}
