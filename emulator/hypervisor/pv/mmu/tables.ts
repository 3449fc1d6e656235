/**
 * Tables: a frame becomes a page table when the first entry leads to it or it is pinned, and then
 * takes a reference for each of its own entries; it stops being one with its last use, and gives
 * them back. The type of a table is its level, and entries lead one level down, so that this goes
 * four levels deep at most.
 */
import type { ErrorName } from '../../hypercalls/hypercall.ts';
import { isDescriptorPage } from './descriptors.ts';
import {
  adjustedHigh,
  adjustedLow,
  ENTRIES,
  frameOf,
  isGuestSlot,
  PRESENT,
  refusedBits,
  WRITABLE,
} from './entries.ts';
import { dropL1Entry, takeL1Entry } from './l1-entries.ts';
import { holdOwn, type Mmu, nameOfFrame, refuse, refuseEntry, wordOf } from './mmu.ts';
import { L4_TABLE, PAGE_TYPES, SEG_DESC_PAGE, VALIDATED, WRITABLE_PAGE } from './page-types.ts';
import { fillXenSlots } from './xen-slots.ts';

/**
 * get_page_type: one more use of a frame as `type`. At the first its contents are checked.
 * Nothing is taken if it is refused: EINVAL if the frame is something else now, or what its
 * contents are refused for.
 */
export const takeType = (mmu: Mmu, mfn: number, type: number): ErrorName | undefined => {
  const { types, counts, flags, linear } = mmu.pages;
  const count = counts[mfn] ?? 0;
  if (count > 0) {
    if (types[mfn] !== type || ((flags[mfn] ?? 0) & VALIDATED) === 0) {
      const is = PAGE_TYPES[types[mfn] ?? 0];
      return refuse(
        mmu,
        'EINVAL',
        mfn,
        `${sentence(nameOfFrame(mmu, mfn))} is in use as ${is}, ${count} times, and cannot become ${PAGE_TYPES[type]}.`,
      );
    }
    counts[mfn] = count + 1;
    return undefined;
  }
  const isKnown = types[mfn] === type && ((flags[mfn] ?? 0) & VALIDATED) !== 0;
  counts[mfn] = 1;
  if (isKnown) return undefined;
  types[mfn] = type;
  flags[mfn] = (flags[mfn] ?? 0) & ~VALIDATED;
  linear[mfn] = 0;
  const error = validate(mmu, mfn, type);
  if (error !== undefined) {
    types[mfn] = 0;
    counts[mfn] = 0;
    return error;
  }
  flags[mfn] = (flags[mfn] ?? 0) | VALIDATED;
  return undefined;
};

/** put_page_type: one use less; `from` is the table whose entry is given up. */
export const dropType = (mmu: Mmu, mfn: number, from?: number): void => {
  const { types, counts, flags, linear } = mmu.pages;
  const count = counts[mfn] ?? 0;
  if (count === 0) throw new Error(`Frame ${mfn} has no type reference that could be dropped.`);
  const type = types[mfn] ?? 0;
  if (from !== undefined && types[from] === type) {
    linear[mfn] = (linear[mfn] ?? 0) + 1;
    linear[from] = (linear[from] ?? 0) - 1;
  }
  if (count === 1 && type <= L4_TABLE) {
    flags[mfn] = (flags[mfn] ?? 0) & ~VALIDATED;
    for (let slot = ENTRIES - 1; slot >= 0; slot -= 1) dropSlot(mmu, mfn, type, slot);
  }
  counts[mfn] = count - 1;
};

/** get_page_and_type: a reference to an own frame and one to its type. */
export const takeTable = (
  mmu: Mmu,
  mfn: number,
  type: number,
  domain: number,
): ErrorName | undefined => {
  if (!holdOwn(mmu, mfn, domain)) {
    return refuse(
      mmu,
      'EINVAL',
      mfn,
      `${sentence(nameOfFrame(mmu, mfn))} cannot become ${PAGE_TYPES[type]} of domain ${domain}.`,
    );
  }
  const error = takeType(mmu, mfn, type);
  if (error !== undefined) mmu.frames.letGo(mfn);
  return error;
};

export const dropTable = (mmu: Mmu, mfn: number): void => {
  dropType(mmu, mfn);
  mmu.frames.letGo(mfn);
};

/** Takes what a present entry of level 2 to 4 holds. */
export const takeUpperEntry = (
  mmu: Mmu,
  table: number,
  level: number,
  low: number,
  high: number,
  domain: number,
): ErrorName | undefined => {
  const mfn = frameOf(low, high);
  const bits = refusedBits(level, low);
  if (bits !== 0) {
    const what = bits & 0x80 ? ': PV guests have no large pages' : '';
    return refuseEntry(
      mmu,
      'EINVAL',
      level,
      low,
      high,
      mfn,
      `Bits 0x${bits.toString(16)} may not be set in an L${level} entry${what}.`,
    );
  }
  const error = takeTable(mmu, mfn, level - 1, domain);
  if (error !== 'EINVAL') return error;
  if (!takeLinear(mmu, table, level, low, mfn, domain)) return error;
  mmu.refusal = undefined;
  return undefined;
};

/**
 * A table may lead to itself, or to another of its level, read-only: so a guest sees its tables as
 * one array of entries. Only one step: a table used so has no such entries of its own.
 */
const takeLinear = (
  mmu: Mmu,
  table: number,
  level: number,
  low: number,
  mfn: number,
  domain: number,
): boolean => {
  if ((low & WRITABLE) !== 0) return false;
  if (mfn === table) return true;
  const { types, counts, flags, linear } = mmu.pages;
  if (mmu.frames.owners[table] !== domain || !holdOwn(mmu, mfn, domain)) return false;
  const isTable = types[mfn] === level && ((flags[mfn] ?? 0) & VALIDATED) !== 0;
  const entries = linear[table] ?? 0;
  const uses = linear[mfn] ?? 0;
  if (!isTable || counts[mfn] === 0 || entries < 0 || uses > 0 || uses <= -0x7fff) {
    mmu.frames.letGo(mfn);
    return false;
  }
  linear[table] = entries + 1;
  linear[mfn] = uses - 1;
  counts[mfn] = (counts[mfn] ?? 0) + 1;
  return true;
};

/** Gives back what an entry of level 2 to 4 held. */
export const dropUpperEntry = (mmu: Mmu, table: number, low: number, high: number): void => {
  const mfn = frameOf(low, high);
  if ((low & PRESENT) === 0 || mfn === table) return;
  dropType(mmu, mfn, table);
  mmu.frames.letGo(mfn);
};

const dropSlot = (mmu: Mmu, table: number, level: number, slot: number): void => {
  if (!isGuestSlot(level, slot)) return;
  const { words } = mmu.memory;
  const at = wordOf(table, slot);
  const low = words[at] ?? 0;
  const high = words[at + 1] ?? 0;
  if (level === 1) dropL1Entry(mmu, low, high, mmu.frames.owners[table] ?? 0);
  else dropUpperEntry(mmu, table, low, high);
};

const validate = (mmu: Mmu, mfn: number, type: number): ErrorName | undefined => {
  if (type === WRITABLE_PAGE) return undefined;
  if (type !== SEG_DESC_PAGE) return promote(mmu, mfn, type);
  if (isDescriptorPage(mmu, mfn)) return undefined;
  return refuse(
    mmu,
    'EINVAL',
    mfn,
    `${sentence(nameOfFrame(mmu, mfn))} holds a descriptor that PV guests may not have.`,
  );
};

/** Takes what all entries of a table hold, and sets the bits that the hypervisor wants in them. */
const promote = (mmu: Mmu, table: number, level: number): ErrorName | undefined => {
  const { words } = mmu.memory;
  const domain = mmu.frames.owners[table] ?? 0;
  let isChanged = false;
  for (let slot = 0; slot < ENTRIES; slot += 1) {
    const at = wordOf(table, slot);
    const low = words[at] ?? 0;
    if ((low & PRESENT) === 0 || !isGuestSlot(level, slot)) continue;
    const high = words[at + 1] ?? 0;
    const error =
      level === 1
        ? takeL1Entry(mmu, low, high, domain, domain)
        : takeUpperEntry(mmu, table, level, low, high, domain);
    if (error !== undefined) {
      while (slot > 0) {
        slot -= 1;
        dropSlot(mmu, table, level, slot);
      }
      if (isChanged) mmu.written(table * 4096, 4096);
      return error;
    }
    const newLow = adjustedLow(level, low, high);
    const newHigh = adjustedHigh(level, low, high);
    if (newLow === low && newHigh === high) continue;
    words[at] = newLow;
    words[at + 1] = newHigh;
    isChanged = true;
  }
  if (level === 4) fillXenSlots(mmu, table, domain);
  if (isChanged) mmu.written(table * 4096, 4096);
  return undefined;
};

const sentence = (text: string): string => text.charAt(0).toUpperCase() + text.slice(1);
