/**
 * The M2P: for each machine frame the guest frame number that it goes by, as 64-bit numbers in
 * machine memory. PV guests read it at 0xffff_8000_0000_0000, slot 256 of their PML4s.
 * Source: Xen public/arch-x86/xen-x86_64.h, MACH2PHYS_VIRT_START; public/memory.h,
 * XENMEM_machphys_mapping.
 */
import type { Gfn, Mfn } from '../../../memory/addresses.ts';
import { maddrOf } from '../../../memory/addresses.ts';
import { hostAddressOf, type MachineMemory } from '../../../memory/machine-memory.ts';
import { FRAMES_PER_LARGE_PAGE, type Frames, NO_GFN, OWNER_HYPERVISOR } from '../../frames.ts';

export const MACH2PHYS_VIRT_START = 0xffff_8000_0000_0000n;
export const MACH2PHYS_VIRT_END = 0xffff_8040_0000_0000n;
/** What the table says of a frame that goes by no number. */
export const INVALID_M2P_ENTRY = 0xffff_ffff_ffff_ffffn;

const ENTRY_BYTES = 8;
const ENTRIES_PER_PAGE = 4096 / ENTRY_BYTES;
/** Present, user, accessed; and execute-disable in bit 63: read-only for all. */
const READ_ONLY = 0x25n | (1n << 63n);
const LARGE = 1n << 7n;
const NO_FRAME_HIGH = 2 ** 20;

export interface M2p {
  /** The L3 table for slot 256 of a PML4. */
  readonly table: Mfn;
  /** The entry that leads to it. */
  readonly slotEntry: bigint;
  /** Frames of the table itself, in a row. */
  readonly first: Mfn;
  readonly pages: number;
  /** Goes up with every change. */
  readonly changes: number;
  /** The guest frame number of a machine frame; undefined if it has none. */
  gfn(mfn: number): Gfn | undefined;
  /** The entry as it stands; PV guests may write any number into those of their own frames. */
  entry(mfn: number): bigint;
  set(mfn: number, gfn: bigint | number): void;
  clear(mfn: number): void;
  /** Tells `frames.gfns` what the entry says. */
  note(mfn: number): void;
}

/** A table of invalid entries; `written` is told of every entry that changes. */
export const createM2p = (
  { quads, words, ramBytes }: MachineMemory,
  frames: Frames,
  written: (maddr: number, lengthBytes: number) => void,
): M2p => {
  const needed = Math.ceil(ramBytes / 4096 / ENTRIES_PER_PAGE);
  const usesLarge = needed >= FRAMES_PER_LARGE_PAGE;
  const pages = usesLarge
    ? Math.ceil(needed / FRAMES_PER_LARGE_PAGE) * FRAMES_PER_LARGE_PAGE
    : needed;
  const allocate = (count: number): Mfn => {
    const mfn = frames.allocate(OWNER_HYPERVISOR, count);
    if (mfn === undefined) throw new Error('The machine has no frame left for the M2P.');
    return mfn;
  };
  const slotOf = (mfn: number, index = 0): number =>
    (hostAddressOf(maddrOf(mfn as Mfn)) >>> 3) + index;
  const first = allocate(pages);
  quads.fill(INVALID_M2P_ENTRY, slotOf(first), slotOf(first + pages));
  const table = (): Mfn => {
    const mfn = allocate(1);
    quads.fill(0n, slotOf(mfn), slotOf(mfn + 1));
    return mfn;
  };
  const pointTo = (mfn: number): bigint => (BigInt(mfn) << 12n) | READ_ONLY;
  const directory = table();
  if (usesLarge) {
    for (let page = 0; page < pages; page += FRAMES_PER_LARGE_PAGE) {
      quads[slotOf(directory, page / FRAMES_PER_LARGE_PAGE)] = pointTo(first + page) | LARGE;
    }
  } else {
    const leaves = table();
    for (let page = 0; page < pages; page += 1) quads[slotOf(leaves, page)] = pointTo(first + page);
    quads[slotOf(directory)] = pointTo(leaves);
  }
  const top = table();
  quads[slotOf(top)] = pointTo(directory);

  const start = slotOf(first);
  let changes = 0;
  const gfnAt = (mfn: number): Gfn | undefined => {
    const high = (words[(start + mfn) * 2 + 1] ?? -1) >>> 0;
    if (high >= NO_FRAME_HIGH) return undefined;
    return (high * 2 ** 32 + ((words[(start + mfn) * 2] ?? 0) >>> 0)) as Gfn;
  };
  const note = (mfn: number): void => {
    const gfn = gfnAt(mfn) ?? NO_GFN;
    frames.gfns[mfn] = Math.min(gfn, NO_GFN);
    changes += 1;
  };
  const set = (mfn: number, gfn: bigint | number): void => {
    const at = start + mfn;
    const entry = BigInt.asUintN(64, BigInt(gfn));
    if (quads[at] === entry) return;
    quads[at] = entry;
    note(mfn);
    written(maddrOf(first) + mfn * ENTRY_BYTES, ENTRY_BYTES);
  };
  return {
    table: top,
    slotEntry: pointTo(top),
    first,
    pages,
    get changes() {
      return changes;
    },
    gfn: gfnAt,
    entry: (mfn) => quads[start + mfn] ?? INVALID_M2P_ENTRY,
    set,
    clear: (mfn) => set(mfn, INVALID_M2P_ENTRY),
    note,
  };
};
