/**
 * Breakpoints at data.
 */
import type { BreakpointPlace } from './breakpoint.ts';

/** The engine does not report accesses to data, so that a watch can not bind. */
export const problemOfData = (place: BreakpointPlace): string | undefined =>
  place.kind === 'data' ? 'This engine does not report accesses to data.' : undefined;
