/**
 * One breakpoint as a client asks for it, on whatever carrier, and what became of it.
 */
import type { DebugProtocol } from '@vscode/debugprotocol';
import type { BreakpointPlace } from '../../emulator/index.ts';

/** What holds for breakpoints of every carrier. */
export interface BreakpointTerms {
  readonly condition?: string | undefined;
  readonly hitCondition?: string | undefined;
  readonly logMessage?: string | undefined;
}

/** Where a breakpoint stops: the places of the emulator's table, and how to show it. */
export interface BreakpointTarget {
  /** Several if a line or a name stands for several addresses. */
  readonly places: readonly BreakpointPlace[];
  /** Why there are no places. */
  readonly problem?: string;
  readonly source?: DebugProtocol.Source;
  readonly line?: number;
  readonly column?: number;
  readonly instructionReference?: string;
}

export interface BreakpointRequest extends BreakpointTerms {
  /** The same for a request that is made again, so that its hits are kept. */
  readonly key: string;
  /** Called once per machine, since addresses may differ after a restart. */
  readonly target: () => BreakpointTarget;
}

/** DAP's reasons of a `stopped` event. */
export type Carrier =
  | 'breakpoint'
  | 'function breakpoint'
  | 'instruction breakpoint'
  | 'data breakpoint'
  | 'exception'
  | 'event';
