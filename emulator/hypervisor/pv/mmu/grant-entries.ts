/**
 * Granted pages in the page tables of PV guests. The hypervisor writes the entry, which names
 * another domain's frame as no guest could; it holds the frame, and its being writable, as every
 * entry does. And pages that PV guests transfer.
 * Source: Xen public/grant_table.h, struct gnttab_map_grant_ref, GNTMAP_contains_pte.
 */
import { linearNumber } from '../../../cpu/paging.ts';
import type { Mfn } from '../../../memory/addresses.ts';
import type { XenDomain, XenVcpu } from '../../domain.ts';
import { OWNER_HYPERVISOR } from '../../frames.ts';
import { GNTMAP, type Installer } from '../../grants/map.ts';
import type { GrantStatus } from '../../grants/status.ts';
import type { PageMover } from '../../grants/transfer.ts';
import type { Hypervisor } from '../../hypervisor.ts';
import { isGuestAddress } from '../layout.ts';
import { directPagingOf } from './direct-paging.ts';
import {
  ACCESSED,
  adjustedHigh,
  adjustedLow,
  DIRTY,
  frameOf,
  PRESENT,
  USER,
  WRITABLE,
} from './entries.ts';
import { isUnused } from './extents.ts';
import { dropL1Entry } from './l1-entries.ts';
import { wordOf } from './mmu.ts';
import { L1_TABLE } from './page-types.ts';
import { l1TableOf } from './translate.ts';

const EXECUTE_DISABLE_HIGH = 0x8000_0000 | 0;

interface Place {
  readonly table: number;
  readonly slot: number;
}

/** The entry of an own L1 table that an address means; undefined if there is none. */
const placeOf = (
  hypervisor: Hypervisor,
  vcpu: XenVcpu,
  address: bigint,
  isMachine: boolean,
): Place | undefined => {
  const { mmu, roots } = directPagingOf(hypervisor);
  if (!isMachine && !isGuestAddress(address)) return undefined;
  const table = isMachine
    ? Number(address >> 12n)
    : l1TableOf(mmu, roots(vcpu).kernel, linearNumber(address));
  const slot = isMachine ? (address & 0xfffn) / 8n : (address >> 12n) & 511n;
  const isTable =
    mmu.frames.owners[table] === vcpu.domain.id &&
    mmu.pages.types[table] === L1_TABLE &&
    (mmu.pages.counts[table] ?? 0) > 0;
  const isAligned = !isMachine || address % 8n === 0n;
  return isTable && isAligned ? { table, slot: Number(slot) } : undefined;
};

/**
 * Entries at the address of a request; when a mapping ends, the entry at `replacement` is put in its
 * place, if that is not 0.
 */
export const directInstaller = (
  hypervisor: Hypervisor,
  vcpu: XenVcpu,
  address: bigint,
  replacement = 0n,
): Installer => {
  const { mmu } = directPagingOf(hypervisor);
  const { words } = mmu.memory;
  const owner = vcpu.domain.id;
  const write = ({ table, slot }: Place, low: number, high: number): void => {
    const at = wordOf(table, slot);
    words[at] = low;
    words[at + 1] = high;
    mmu.written(table * 4096 + slot * 8, 8);
  };
  const read = ({ table, slot }: Place): readonly [number, number] => {
    const at = wordOf(table, slot);
    return [words[at] ?? 0, words[at + 1] ?? 0];
  };
  const install = (mfn: Mfn, flags: number): GrantStatus => {
    const place = placeOf(hypervisor, vcpu, address, (flags & GNTMAP.containsPte) !== 0);
    if (place === undefined) return 'general_error';
    const isWritable = (flags & GNTMAP.readOnly) === 0;
    const counts = isWritable && !mmu.isTranslated(mmu.frames.owners[mfn] ?? 0);
    if (counts && !mmu.pages.takeWritable(mfn)) return 'general_error';
    mmu.frames.hold(mfn);
    const bits =
      PRESENT |
      ACCESSED |
      DIRTY |
      (isWritable ? WRITABLE : 0) |
      ((flags & GNTMAP.application) === 0 ? 0 : USER);
    const low = (mfn << 12) | bits;
    const high = Math.floor(mfn / 2 ** 20) | EXECUTE_DISABLE_HIGH;
    const [oldLow, oldHigh] = read(place);
    write(place, adjustedLow(1, low, high), adjustedHigh(1, low, high));
    dropL1Entry(mmu, oldLow, oldHigh, owner);
    return 'okay';
  };
  const remove = (mfn: Mfn, flags: number): GrantStatus => {
    const isMachine = (flags & GNTMAP.containsPte) !== 0;
    const place = placeOf(hypervisor, vcpu, address, isMachine);
    if (place === undefined || (isMachine && replacement !== 0n)) return 'general_error';
    const [low, high] = read(place);
    const wanted = PRESENT | ((flags & GNTMAP.readOnly) === 0 ? WRITABLE : 0);
    const isIt = frameOf(low, high) === mfn && (low & (PRESENT | WRITABLE)) === wanted;
    const other = replacement === 0n ? undefined : placeOf(hypervisor, vcpu, replacement, false);
    if (!isIt || (replacement !== 0n && other === undefined)) return 'general_error';
    const [newLow, newHigh] = other === undefined ? [0, 0] : read(other);
    if (other !== undefined) write(other, 0, 0);
    write(place, newLow, newHigh);
    dropL1Entry(mmu, low, high, owner);
    return 'okay';
  };
  return { install, remove };
};

/** Pages that PV guests give away, named by machine frame, and get. */
export const directMover = (hypervisor: Hypervisor): PageMover => {
  const { frames } = hypervisor;
  const { mmu } = directPagingOf(hypervisor);
  return {
    take(domain: XenDomain, mfn: number) {
      if (frames.owners[mfn] !== domain.id) return 'bad_page';
      if (!isUnused(hypervisor, domain, mfn)) return 'general_error';
      mmu.m2p.clear(mfn);
      // Nobody's: if it is lost, it counts once.
      frames.give(mfn as Mfn, OWNER_HYPERVISOR);
      domain.pages -= 1;
      return mfn as Mfn;
    },
    give(domain, gfn, mfn) {
      frames.give(mfn, domain.id);
      mmu.pages.types[mfn] = 0;
      mmu.pages.flags[mfn] = 0;
      domain.pages += 1;
      mmu.m2p.set(mfn, gfn);
      return true;
    },
  };
};
