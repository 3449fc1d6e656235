/**
 * What an L1 entry holds: a reference to the frame it maps, and one to its being writable if it
 * maps it so.
 */
import type { ErrorName } from '../../hypercalls/hypercall.ts';
import { entryOf, frameOf, PRESENT, refusedBits, WRITABLE } from './entries.ts';
import { exists, type Mmu, nameOfFrame, refuseEntry } from './mmu.ts';
import { PAGE_TYPES } from './page-types.ts';

/** The frame of an entry of all ones, which is no address that anybody means. */
const NO_FRAME = 2 ** 40 - 1;

/**
 * Takes what a present entry of a table of `owner`'s holds; the frame is to be `frameOwner`'s, who
 * is another domain only if a privileged one maps it. Nothing is taken if it is refused.
 *
 * Errors: EINVAL for bits that may not be set; EPERM for frames outside of memory; EBUSY for frames
 * of others, and for a writable mapping of what may not be written.
 */
export const takeL1Entry = (
  mmu: Mmu,
  low: number,
  high: number,
  owner: number,
  frameOwner: number,
): ErrorName | undefined => {
  const mfn = frameOf(low, high);
  const { frames, pages } = mmu;
  const real = frames.owners[mfn];
  const isFit = refusedBits(1, low) === 0 && real === frameOwner;
  if (!isFit) return refuseL1Entry(mmu, low, high, owner, frameOwner);
  const countsWrites = (low & WRITABLE) !== 0 && (real === owner || !mmu.isTranslated(real));
  if (countsWrites && !pages.takeWritable(mfn)) {
    return refuseL1Entry(mmu, low, high, owner, frameOwner);
  }
  frames.hold(mfn);
  return undefined;
};

const refuseL1Entry = (
  mmu: Mmu,
  low: number,
  high: number,
  owner: number,
  frameOwner: number,
): ErrorName => {
  const mfn = frameOf(low, high);
  const { frames, pages } = mmu;
  const bits = refusedBits(1, low);
  const refused = (error: ErrorName, reason: string): ErrorName =>
    refuseEntry(mmu, error, 1, low, high, mfn, reason);
  if (bits !== 0) {
    return refused('EINVAL', `Bits 0x${bits.toString(16)} may not be set in an L1 entry.`);
  }
  const what = nameOfFrame(mmu, mfn);
  if (!exists(mmu, mfn)) {
    const error = mfn === NO_FRAME ? 'EINVAL' : 'EPERM';
    return refused(error, `The entry maps ${what}: domain ${owner} may map no device.`);
  }
  if (frames.owners[mfn] !== frameOwner) {
    return refused('EBUSY', `The entry maps ${what}, not one of domain ${frameOwner}.`);
  }
  const type = PAGE_TYPES[pages.types[mfn] ?? 0];
  return refused(
    'EBUSY',
    `The entry maps ${what} writable, which is in use as ${type}, ${pages.counts[mfn]} times.`,
  );
};

/** Gives back what an L1 entry of a table of `owner`'s held. */
export const dropL1Entry = (mmu: Mmu, low: number, high: number, owner: number): void => {
  if ((low & PRESENT) === 0) return;
  const mfn = frameOf(low, high);
  if (!exists(mmu, mfn)) {
    throw new Error(`L1 entry 0x${entryOf(low, high).toString(16)} maps no memory.`);
  }
  const { frames, pages } = mmu;
  const real = frames.owners[mfn] ?? 0;
  if ((low & WRITABLE) !== 0 && (real === owner || !mmu.isTranslated(real))) {
    pages.dropWritable(mfn);
  }
  frames.letGo(mfn);
};
