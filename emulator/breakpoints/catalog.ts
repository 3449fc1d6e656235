/**
 * Every kind of breakpoint.
 */
import { problemOfAddress } from './address.ts';
import type { BreakpointContext, BreakpointPlace } from './breakpoint.ts';
import { problemOfData } from './data.ts';

export interface BreakpointKind {
  readonly title: string;
  /** Why a breakpoint of this kind can not bind; undefined if it can. */
  problemOf(place: BreakpointPlace, context: BreakpointContext): string | undefined;
}

export const BREAKPOINT_KINDS: Readonly<Record<BreakpointPlace['kind'], BreakpointKind>> = {
  address: { title: 'Instruction', problemOf: problemOfAddress },
  event: { title: 'Event', problemOf: () => undefined },
  data: { title: 'Data', problemOf: problemOfData },
};
