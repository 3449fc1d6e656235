/**
 * The hypervisor's own way through a PV guest's tables, in software: no accessed bits, no faults.
 * Linear addresses are signed numbers (linearNumber of cpu/paging.ts).
 * Source: SDM Vol. 3A 4.5.4 "Linear-Address Translation with 4-Level Paging".
 */
import { frameOf, PRESENT, WRITABLE } from './entries.ts';
import { exists, type Mmu, wordOf } from './mmu.ts';

const LARGE = 0x80;
const LEVELS = 4;
const NOT_MAPPED = -1;
const TWO_32 = 2 ** 32;
/** End of the canonical lower half, and of the hypervisor's part of the upper one. */
const LOWER_END = 2 ** 47;
const HYPERVISOR_END = -120 * 2 ** 40;

/** isGuestAddress of layout.ts, for bytes that do not reach the end of a half. */
export const isGuestNumber = (linear: number): boolean =>
  linear < LOWER_END && linear >= HYPERVISOR_END;

const slotOf = (low: number, high: number, level: number): number => {
  switch (level) {
    case 4:
      return (high >>> 7) & 0x1ff;
    case 3:
      return ((high << 2) | (low >>> 30)) & 0x1ff;
    case 2:
      return (low >>> 21) & 0x1ff;
    default:
      return (low >>> 12) & 0x1ff;
  }
};

/**
 * Machine address of a linear one by the tables below `root`; -1 if a level is not present, or if
 * it is to be written and may not be.
 */
export const translate = (mmu: Mmu, root: number, linear: number, isWrite: boolean): number => {
  const low = linear | 0;
  const high = Math.floor(linear / TWO_32) | 0;
  const { words, ramBytes } = mmu.memory;
  let table = root;
  let rights = WRITABLE;
  for (let level = LEVELS; level > 0; level -= 1) {
    const at = wordOf(table, slotOf(low, high, level));
    const entryLow = words[at] ?? 0;
    if ((entryLow & PRESENT) === 0) return NOT_MAPPED;
    const mfn = frameOf(entryLow, words[at + 1] ?? 0);
    rights &= entryLow;
    if (level === 1 || (entryLow & LARGE) !== 0) {
      if (isWrite && rights === 0) return NOT_MAPPED;
      const maddr = mfn * 4096 + (level === 1 ? low & 0xfff : low & 0x1f_ffff);
      return maddr < ramBytes ? maddr : NOT_MAPPED;
    }
    if (!exists(mmu, mfn)) return NOT_MAPPED;
    table = mfn;
  }
  return NOT_MAPPED;
};

/** The L1 table with the entry for a linear address; -1 if a level above is not present. */
export const l1TableOf = (mmu: Mmu, root: number, linear: number): number => {
  const low = linear | 0;
  const high = Math.floor(linear / TWO_32) | 0;
  const { words } = mmu.memory;
  let table = root;
  for (let level = LEVELS; level > 1; level -= 1) {
    const at = wordOf(table, slotOf(low, high, level));
    const entryLow = words[at] ?? 0;
    if ((entryLow & (PRESENT | LARGE)) !== PRESENT) return NOT_MAPPED;
    table = frameOf(entryLow, words[at + 1] ?? 0);
    if (!exists(mmu, table)) return NOT_MAPPED;
  }
  return table;
};
