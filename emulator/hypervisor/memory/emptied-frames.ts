/**
 * What free frames were last: pages that a balloon gave back, or that were swapped out. Nothing
 * depends on it; it is for who looks at machine memory.
 */
import type { Mfn } from '../../memory/addresses.ts';
import { type Frames, NO_GFN, OWNER_FREE } from '../frames.ts';
import type { SavedPart, SavedValue } from '../hypervisor.ts';

/** The order is the number. */
const REASONS = ['none', 'ballooned', 'swapped'] as const;
export type EmptiedReason = Exclude<(typeof REASONS)[number], 'none'>;

export interface EmptiedFrame {
  readonly reason: EmptiedReason;
  /** Where the page was. */
  readonly domain: number;
  readonly gfn: number;
}

export interface EmptiedFrames extends SavedPart {
  /** A frame is free, for this reason; one that is not, being held by another, is passed over. */
  note(mfn: Mfn, reason: EmptiedReason, domain: number, gfn: number): void;
  /** Undefined for a frame that is in use, or free for another reason. */
  of(mfn: number): EmptiedFrame | undefined;
  each(visit: (mfn: number, frame: EmptiedFrame) => void): void;
}

type Saved = readonly (readonly [mfn: number, reason: number, domain: number, gfn: number])[];

export const createEmptiedFrames = ({ owners, onFree }: Frames): EmptiedFrames => {
  const reasons = new Uint8Array(owners.length);
  const domains = new Uint16Array(owners.length);
  const gfns = new Uint32Array(owners.length);
  onFree((mfn) => {
    reasons[mfn] = 0;
  });
  const reasonOf = (mfn: number): number => (owners[mfn] === OWNER_FREE ? (reasons[mfn] ?? 0) : 0);
  const of = (mfn: number): EmptiedFrame | undefined => {
    const reason = REASONS[reasonOf(mfn)] ?? 'none';
    if (reason === 'none') return undefined;
    return { reason, domain: domains[mfn] ?? 0, gfn: gfns[mfn] ?? NO_GFN };
  };
  const each: EmptiedFrames['each'] = (visit) => {
    for (let mfn = 0; mfn < reasons.length; mfn += 1) {
      const frame = reasons[mfn] === 0 ? undefined : of(mfn);
      if (frame !== undefined) visit(mfn, frame);
    }
  };
  return {
    note(mfn, reason, domain, gfn) {
      if (owners[mfn] !== OWNER_FREE) return;
      reasons[mfn] = REASONS.indexOf(reason);
      domains[mfn] = domain;
      gfns[mfn] = gfn;
    },
    of,
    each,
    save() {
      const saved: [number, number, number, number][] = [];
      each((mfn, { reason, domain, gfn }) => {
        saved.push([mfn, REASONS.indexOf(reason), domain, gfn]);
      });
      return saved;
    },
    restore(value: SavedValue) {
      reasons.fill(0);
      for (const [mfn, reason, domain, gfn] of value as unknown as Saved) {
        reasons[mfn] = reason;
        domains[mfn] = domain;
        gfns[mfn] = gfn;
      }
    },
  };
};
