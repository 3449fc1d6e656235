/**
 * Which page of a domain goes to the swap device next.
 */
import type { Gfn } from '../../../memory/addresses.ts';
import type { SavedPart } from '../../hypervisor.ts';

/** A domain's pages as a policy sees them. */
export interface Candidates {
  /** Pages are below this gfn. */
  readonly end: number;
  readonly nowNs: number;
  /** Whether the page is in memory, and nothing keeps it there. */
  mayGo(gfn: number): boolean;
  /** Whether the page was accessed since this was last asked. */
  takeAccessed(gfn: number): boolean;
  /** Whether it was accessed; asking again gives the same. */
  isAccessed(gfn: number): boolean;
  /** After bits were taken: the processor has to set them again. */
  settle(): void;
}

export interface Replacement extends SavedPart {
  /** A page that may go; undefined if none may. */
  choose(): Gfn | undefined;
}

export interface ReplacementPolicy {
  readonly name: string;
  readonly title: string;
  /** `seed` makes the choices of one domain differ from another's. */
  create(pages: Candidates, seed: number): Replacement;
}

/** The first page from `start` on, around, that may go. */
export const firstFrom = (pages: Candidates, start: number): Gfn | undefined => {
  for (let step = 0; step < pages.end; step += 1) {
    const gfn = (start + step) % pages.end;
    if (pages.mayGo(gfn)) return gfn as Gfn;
  }
  return undefined;
};
