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
