/**
 * The per-domain area of a PV domain's address spaces, in L4 slot 260: each vCPU's GDT and LDT, as
 * the processor reads them. Its tables are the hypervisor's; level 3 cannot read it.
 * Source: xen/include/asm-x86/config.h, PERDOMAIN_VIRT_START.
 */
import { type Mfn, maddrOf } from '../../memory/addresses.ts';
import { hostAddressOf, type MachineMemory } from '../../memory/machine-memory.ts';
import { GUEST_GDT_PAGES, gdtPageOf, RESERVED_DESCRIPTORS, VCPU_PAGES } from './layout.ts';

const ENTRIES = 512;
/** Present, writable, accessed, dirty; supervisor. The page of zeros is read-only. */
const TABLE = 0x63n;
const PAGE = 0x8000_0000_0000_0063n;
const READ_ONLY_PAGE = 0x8000_0000_0000_0021n;

export interface PerDomainArea {
  /** The L3 table for slot 260. */
  readonly root: Mfn;
  /** L1 tables, 512 pages each. */
  readonly tables: readonly Mfn[];
  /** Xen's own page of every GDT. */
  readonly xenGdt: Mfn;
  /** What is seen where a GDT has no page: null descriptors. */
  readonly zero: Mfn;
}

const slotOf = (table: Mfn, index: number): number => (hostAddressOf(maddrOf(table)) >>> 3) + index;

/** `frame` gives zeroed frames of the hypervisor's. */
export const createPerDomainArea = (
  memory: MachineMemory,
  vcpus: number,
  frame: () => Mfn,
): PerDomainArea => {
  const { quads } = memory;
  const [root, level2, xenGdt, zero] = [frame(), frame(), frame(), frame()];
  const count = Math.ceil((vcpus * VCPU_PAGES) / ENTRIES);
  const tables = Array.from({ length: count }, frame);
  quads[slotOf(root, 0)] = (BigInt(level2) << 12n) | TABLE;
  tables.forEach((table, index) => {
    quads[slotOf(level2, index)] = (BigInt(table) << 12n) | TABLE;
  });
  for (const [entry, descriptor] of Object.entries(RESERVED_DESCRIPTORS)) {
    quads[slotOf(xenGdt, Number(entry))] = descriptor;
  }
  const area: PerDomainArea = { root, tables, xenGdt, zero };
  for (let vcpu = 0; vcpu < vcpus; vcpu += 1) {
    for (let page = 0; page < GUEST_GDT_PAGES; page += 1) {
      setPage(memory, area, gdtPageOf(vcpu) + page, zero);
    }
    setPage(memory, area, gdtPageOf(vcpu) + GUEST_GDT_PAGES, xenGdt);
  }
  return area;
};

/** Maps a page of the area, or unmaps it. */
export const setPage = (
  { quads }: MachineMemory,
  { tables, zero }: PerDomainArea,
  page: number,
  mfn: Mfn | undefined,
): void => {
  const table = tables[Math.floor(page / ENTRIES)];
  if (table === undefined) throw new RangeError(`The per-domain area has no page ${page}.`);
  quads[slotOf(table, page % ENTRIES)] =
    mfn === undefined ? 0n : (BigInt(mfn) << 12n) | (mfn === zero ? READ_ONLY_PAGE : PAGE);
};

/** The frame that a page of the area shows; undefined: none. */
export const pageOf = (
  { quads }: MachineMemory,
  { tables }: PerDomainArea,
  page: number,
): Mfn | undefined => {
  const table = tables[Math.floor(page / ENTRIES)];
  const entry = table === undefined ? 0n : (quads[slotOf(table, page % ENTRIES)] ?? 0n);
  return (entry & 1n) === 0n ? undefined : (Number((entry >> 12n) & 0xff_ffff_ffffn) as Mfn);
};
