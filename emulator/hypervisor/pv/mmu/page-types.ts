/**
 * What each machine frame is used as, and how often. A frame has one type at a time; while its
 * type count is not 0 it can get no other. So no page table is writable, and no writable page is a
 * page table. References to frames are counted in hypervisor/frames.ts.
 * The names are those of Xen's PGT_ constants.
 */
import { fillFromRuns, type RunLengths, runLengthsOf } from '../../../memory/run-lengths.ts';
import type { Frames } from '../../frames.ts';
import type { SavedPart, SavedValue } from '../../hypervisor.ts';

/** The order is the number. */
export const PAGE_TYPES = [
  'none',
  'l1_page_table',
  'l2_page_table',
  'l3_page_table',
  'l4_page_table',
  'seg_desc_page',
  'shared_page',
  'writable_page',
] as const;
export type PageType = (typeof PAGE_TYPES)[number];

export const NO_TYPE = 0;
export const L1_TABLE = 1;
export const L4_TABLE = 4;
export const SEG_DESC_PAGE = 5;
export const WRITABLE_PAGE = 7;

/** Bits of a frame's flags: its contents fit its type; the guest holds it to its type. */
export const VALIDATED = 1;
export const PINNED = 2;
/** A page of the hypervisor's that the owner may map: it is never freed, and keeps its type. */
export const SHARED = 4;

export interface PageTypes extends SavedPart {
  readonly types: Uint8Array;
  readonly counts: Uint32Array;
  readonly flags: Uint8Array;
  /** Positive: entries of this table that lead to tables of its own level; negative: such uses of it. */
  readonly linear: Int16Array;
  /** Takes a type reference for a writable mapping; false if the frame is something else now. */
  takeWritable(mfn: number): boolean;
  dropWritable(mfn: number): void;
  /** Whether takeWritable would do it. */
  mayWrite(mfn: number): boolean;
}

export const createPageTypes = ({ owners, onFree }: Frames): PageTypes => {
  const types = new Uint8Array(owners.length);
  const counts = new Uint32Array(owners.length);
  const flags = new Uint8Array(owners.length);
  const linear = new Int16Array(owners.length);
  onFree((mfn) => {
    if (counts[mfn] !== 0) {
      throw new Error(`Frame ${mfn} is freed with ${counts[mfn]} references of its type.`);
    }
    types[mfn] = NO_TYPE;
    flags[mfn] = 0;
    linear[mfn] = 0;
  });
  return {
    types,
    counts,
    flags,
    linear,
    takeWritable(mfn) {
      const count = counts[mfn] ?? 0;
      if (count > 0 && types[mfn] !== WRITABLE_PAGE) return false;
      types[mfn] = WRITABLE_PAGE;
      flags[mfn] = (flags[mfn] ?? 0) | VALIDATED;
      counts[mfn] = count + 1;
      return true;
    },
    dropWritable(mfn) {
      const count = counts[mfn] ?? 0;
      if (count === 0 || types[mfn] !== WRITABLE_PAGE) {
        throw new Error(`Frame ${mfn} has no writable reference that could be dropped.`);
      }
      counts[mfn] = count - 1;
    },
    mayWrite: (mfn) => counts[mfn] === 0 || types[mfn] === WRITABLE_PAGE,
    save: () => [types, counts, flags, linear].map(runLengthsOf),
    restore(saved: SavedValue) {
      const runs = saved as unknown as readonly RunLengths[];
      [types, counts, flags, linear].forEach((array, index) => {
        fillFromRuns(array, runs[index] ?? []);
      });
    },
  };
};
