/**
 * The hypervisor's own way through a PV guest's tables, in software: no accessed bits, no faults.
 * Source: SDM Vol. 3A 4.5.4 "Linear-Address Translation with 4-Level Paging".
 */
import { frameOf, PRESENT, WRITABLE } from './entries.ts';
import { exists, type Mmu, wordOf } from './mmu.ts';

const LARGE = 0x80;
const LEVELS = 4;
/** The hypervisor's part of the address space: guests may not give addresses there. */
const HYPERVISOR_VIRT_START = 0xffff_8000_0000_0000n;
const HYPERVISOR_VIRT_END = 0xffff_8800_0000_0000n;
const LOWER_HALF_END = 0x0000_8000_0000_0000n;
const NOT_MAPPED = -1;

/** __addr_ok: whether a guest may name this linear address. */
export const isGuestAddress = (linear: bigint): boolean =>
  linear < LOWER_HALF_END || linear >= HYPERVISOR_VIRT_END;

export const isHypervisorAddress = (linear: bigint): boolean =>
  linear >= HYPERVISOR_VIRT_START && linear < HYPERVISOR_VIRT_END;

/** Index of the entry of a level, 4 to 1, for a linear address. */
export const slotOf = (linear: bigint, level: number): number =>
  slotOfHalves(
    Number(linear & 0xffff_ffffn) | 0,
    Number((linear >> 32n) & 0xffff_ffffn) | 0,
    level,
  );

const slotOfHalves = (low: number, high: number, level: number): number => {
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
export const translate = (mmu: Mmu, root: number, linear: bigint, isWrite: boolean): number => {
  const low = Number(linear & 0xffff_ffffn) | 0;
  const high = Number((linear >> 32n) & 0xffff_ffffn) | 0;
  const { words } = mmu.memory;
  let table = root;
  let rights = WRITABLE;
  for (let level = LEVELS; level > 0; level -= 1) {
    const at = wordOf(table, slotOfHalves(low, high, level));
    const entryLow = words[at] ?? 0;
    if ((entryLow & PRESENT) === 0) return NOT_MAPPED;
    const mfn = frameOf(entryLow, words[at + 1] ?? 0);
    rights &= entryLow;
    if (level === 1 || (entryLow & LARGE) !== 0) {
      if (isWrite && rights === 0) return NOT_MAPPED;
      const offset = (low >>> 0) % (level === 1 ? 0x1000 : 0x20_0000);
      const maddr = mfn * 4096 + offset;
      return maddr < mmu.memory.ramBytes ? maddr : NOT_MAPPED;
    }
    if (!exists(mmu, mfn)) return NOT_MAPPED;
    table = mfn;
  }
  return NOT_MAPPED;
};

/** The L1 table with the entry for a linear address; -1 if a level above is not present. */
export const l1TableOf = (mmu: Mmu, root: number, linear: bigint): number => {
  const { words } = mmu.memory;
  let table = root;
  for (let level = LEVELS; level > 1; level -= 1) {
    const at = wordOf(table, slotOf(linear, level));
    const low = words[at] ?? 0;
    if ((low & (PRESENT | LARGE)) !== PRESENT) return NOT_MAPPED;
    table = frameOf(low, words[at + 1] ?? 0);
    if (!exists(mmu, table)) return NOT_MAPPED;
  }
  return table;
};
