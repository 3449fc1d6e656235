/**
 * Pins: a guest holds a frame to its being a page table, whether an entry leads to it or not.
 * Source: Xen public/xen.h, MMUEXT_PIN_L1_TABLE to MMUEXT_UNPIN_TABLE.
 */
import type { ErrorName } from '../../hypercalls/hypercall.ts';
import { holdOwn, type Mmu, nameOfFrame, refuse } from './mmu.ts';
import { PINNED } from './page-types.ts';
import { dropTable, takeTable } from './tables.ts';

/** EINVAL if the frame is not the domain's or is pinned already, or what it is refused for. */
export const pin = (
  mmu: Mmu,
  mfn: number,
  level: number,
  domain: number,
): ErrorName | undefined => {
  const error = takeTable(mmu, mfn, level, domain);
  if (error !== undefined) return error;
  const { flags } = mmu.pages;
  if (((flags[mfn] ?? 0) & PINNED) !== 0) {
    dropTable(mmu, mfn);
    return refuse(mmu, 'EINVAL', mfn, `${nameOfFrame(mmu, mfn)} is pinned already.`);
  }
  flags[mfn] = (flags[mfn] ?? 0) | PINNED;
  return undefined;
};

/** EINVAL if the frame is not the domain's or is not pinned. */
export const unpin = (mmu: Mmu, mfn: number, domain: number): ErrorName | undefined => {
  if (!holdOwn(mmu, mfn, domain)) {
    return refuse(mmu, 'EINVAL', mfn, `Domain ${domain} has no pinned ${nameOfFrame(mmu, mfn)}.`);
  }
  const { flags } = mmu.pages;
  const isPinned = ((flags[mfn] ?? 0) & PINNED) !== 0;
  if (isPinned) {
    flags[mfn] = (flags[mfn] ?? 0) & ~PINNED;
    dropTable(mmu, mfn);
  }
  mmu.frames.letGo(mfn);
  if (isPinned) return undefined;
  return refuse(mmu, 'EINVAL', mfn, `${nameOfFrame(mmu, mfn)} is not pinned.`);
};
