/**
 * Frames that PV domains give back and get: extents of 2^order frames in a row, named by their
 * machine frames. Source: Xen public/memory.h, struct xen_memory_reservation.
 */
import { type Mfn, maddrOf } from '../../../memory/addresses.ts';
import { hostAddressOf } from '../../../memory/machine-memory.ts';
import type { XenDomain } from '../../domain.ts';
import type { Hypervisor } from '../../hypervisor.ts';
import { directPagingOf } from './direct-paging.ts';
import { SHARED } from './page-types.ts';

const ADDRESS_BITS = 0xffn;
const EXACT_NODE = 0x2_0000n;
const PAGE_BITS = 12n;

/**
 * XENMEMF_: the first frame that is too high for the addresses asked for, Infinity without a limit;
 * undefined if a domain may not ask for that.
 */
export const frameLimitOf = (memFlags: bigint): number | undefined => {
  const bits = memFlags & ADDRESS_BITS;
  if ((memFlags & EXACT_NODE) !== 0n) return undefined;
  if (bits === 0n) return Number.POSITIVE_INFINITY;
  return bits <= PAGE_BITS ? undefined : 2 ** Number(bits - PAGE_BITS);
};

/** Zeroed frames in a row that go by no number yet; undefined: the domain may not, or none is there. */
export const allocateExtent = (
  hypervisor: Hypervisor,
  domain: XenDomain,
  pages: number,
  limit: number,
): Mfn | undefined =>
  domain.pages + pages > domain.maximumPages
    ? undefined
    : allocateFrames(hypervisor, domain, pages, limit);

/** The same without a look at what the domain has. Frames that become free are counted by themselves. */
export const allocateFrames = (
  { hardware, frames }: Hypervisor,
  domain: XenDomain,
  pages: number,
  limit: number,
): Mfn | undefined => {
  const first = frames.allocate(domain.id, pages);
  if (first === undefined) return undefined;
  domain.pages += pages;
  if (first + pages > limit) {
    frames.release(first, pages);
    return undefined;
  }
  const start = hostAddressOf(maddrOf(first));
  hardware.memory.bytes.fill(0, start, start + pages * 4096);
  hardware.noteWrite(maddrOf(first), pages * 4096);
  return first;
};

/**
 * guest_remove_page: the domain has the frame no more; it is free once nobody maps it. False if it
 * is none of the domain's.
 */
export const removeFrame = (hypervisor: Hypervisor, domain: XenDomain, mfn: number): boolean => {
  const { frames } = hypervisor;
  if (frames.owners[mfn] !== domain.id) return false;
  const { mmu, takeBack } = directPagingOf(hypervisor);
  if (((mmu.pages.flags[mfn] ?? 0) & SHARED) !== 0) takeBack(mfn as Mfn);
  else if (!frames.isLeaving(mfn)) frames.release(mfn as Mfn);
  return true;
};

/** steal_page: whether a frame is the domain's alone, with no use of it anywhere. */
export const isUnused = (hypervisor: Hypervisor, domain: XenDomain, mfn: number): boolean => {
  const { frames } = hypervisor;
  const { flags } = directPagingOf(hypervisor).mmu.pages;
  return (
    frames.owners[mfn] === domain.id &&
    frames.references[mfn] === 0 &&
    ((flags[mfn] ?? 0) & SHARED) === 0
  );
};
