/**
 * Changes of one entry of a page table: the new entry takes what it needs, is written, and the old
 * one gives back what it held.
 */
import type { ErrorName } from '../../hypercalls/hypercall.ts';
import {
  ACCESSED,
  adjustedHigh,
  adjustedLow,
  DIRTY,
  frameOf,
  isGuestSlot,
  isSameMapping,
  PRESENT,
  refusedBits,
  withFrame,
} from './entries.ts';
import { dropL1Entry, takeL1Entry } from './l1-entries.ts';
import { type Mmu, nameOfFrame, refuse, refuseEntry, wordOf } from './mmu.ts';
import { PAGE_TYPES, VALIDATED, WRITABLE_PAGE } from './page-types.ts';
import { dropUpperEntry, takeUpperEntry } from './tables.ts';

export interface EntryUpdate {
  /** The frame with the entry, and which of its 512 it is. */
  readonly table: number;
  readonly slot: number;
  readonly low: number;
  readonly high: number;
  /** The domain whose table it is, and whose frames the entry may map. */
  readonly owner: number;
  readonly frameOwner: number;
  /** Accessed and dirty bits that are set stay so. */
  readonly preservesUse: boolean;
  /** A domain that is not PV has its frames named by gfn. */
  readonly isTranslated: boolean;
}

/**
 * Puts a value into a frame of a domain's: a checked entry if the frame is a page table, a plain
 * number if it is not. The caller has seen that the frame is the domain's.
 *
 * Errors: those of the entry (takeL1Entry, takeUpperEntry); EINVAL for the hypervisor's slots, and
 * for frames that are neither tables nor may be written.
 */
export const updateFrame = (mmu: Mmu, update: EntryUpdate): ErrorName | undefined => {
  const { table } = update;
  const { types, counts, flags } = mmu.pages;
  const type = types[table] ?? 0;
  if (counts[table] === 0 || type === WRITABLE_PAGE) {
    types[table] = WRITABLE_PAGE;
    flags[table] = (flags[table] ?? 0) | VALIDATED;
    write(mmu, update, update.low, update.high);
    return undefined;
  }
  switch (type) {
    case 1:
      return updateL1Entry(mmu, update);
    case 2:
    case 3:
    case 4:
      return updateUpperEntry(mmu, update, type);
    default:
      return refuse(
        mmu,
        'EINVAL',
        table,
        `The update is of ${nameOfFrame(mmu, table)}, which is in use as ${PAGE_TYPES[type]}.`,
      );
  }
};

/** mod_l1_entry. */
export const updateL1Entry = (mmu: Mmu, update: EntryUpdate): ErrorName | undefined => {
  const { table, slot, owner, frameOwner } = update;
  const { words } = mmu.memory;
  const at = wordOf(table, slot);
  const oldLow = words[at] ?? 0;
  const oldHigh = words[at + 1] ?? 0;
  const given = translated(mmu, update);
  if (given === undefined) {
    const { low, high } = update;
    const gfn = frameOf(low, high);
    return refuseEntry(mmu, 'EINVAL', 1, low, high, gfn, `Domain ${frameOwner} has no such gfn.`);
  }
  const low = adjustedLow(1, given.low, given.high);
  const high = adjustedHigh(1, given.low, given.high);
  if ((low & PRESENT) !== 0) {
    if (isSameMapping(oldLow, oldHigh, low, high) && refusedBits(1, update.low) === 0) {
      write(mmu, update, low, high);
      return undefined;
    }
    const error = takeL1Entry(mmu, low, high, owner, frameOwner);
    if (error !== undefined) return error;
  }
  write(mmu, update, low, high);
  dropL1Entry(mmu, oldLow, oldHigh, owner);
  return undefined;
};

/** The entry with the machine frame of a gfn; undefined if there is none. */
const translated = (
  mmu: Mmu,
  update: EntryUpdate,
): { readonly low: number; readonly high: number } | undefined => {
  const { low, high, owner, frameOwner, isTranslated } = update;
  const mayDiffer = isTranslated && frameOwner !== owner && (low & PRESENT) !== 0;
  if (!mayDiffer || !mmu.isTranslated(frameOwner)) return update;
  const mfn = mmu.frameOfGfn(frameOwner, frameOf(low, high));
  return mfn === undefined ? undefined : withFrame(low, high, mfn);
};

/** mod_l2_entry to mod_l4_entry. */
const updateUpperEntry = (mmu: Mmu, update: EntryUpdate, level: number): ErrorName | undefined => {
  const { table, slot, owner, frameOwner } = update;
  const { words } = mmu.memory;
  const at = wordOf(table, slot);
  const oldLow = words[at] ?? 0;
  const oldHigh = words[at + 1] ?? 0;
  if (frameOwner !== owner || !isGuestSlot(level, slot)) {
    return refuseEntry(
      mmu,
      'EINVAL',
      level,
      update.low,
      update.high,
      table,
      frameOwner === owner
        ? `Slot ${slot} of an L4 table is the hypervisor's.`
        : `Only L1 entries may lead to frames of domain ${frameOwner}.`,
    );
  }
  const low = adjustedLow(level, update.low, update.high);
  const { high } = update;
  if ((low & PRESENT) !== 0) {
    if (isSameMapping(oldLow, oldHigh, low, high) && refusedBits(level, low) === 0) {
      write(mmu, update, low, high);
      return undefined;
    }
    const error = takeUpperEntry(mmu, table, level, low, high, owner);
    if (error !== undefined) return error;
  }
  write(mmu, update, low, high);
  dropUpperEntry(mmu, table, oldLow, oldHigh);
  return undefined;
};

const write = (
  mmu: Mmu,
  { table, slot, preservesUse }: EntryUpdate,
  low: number,
  high: number,
): void => {
  const { words } = mmu.memory;
  const at = wordOf(table, slot);
  words[at] = preservesUse ? low | ((words[at] ?? 0) & (ACCESSED | DIRTY)) : low;
  words[at + 1] = high;
  mmu.written(table * 4096 + slot * 8, 8);
};
