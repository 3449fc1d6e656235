/**
 * The per-domain area of a PV domain's address spaces, in L4 slot 260: each vCPU's GDT and LDT, as
 * the processor reads them. Its tables are the hypervisor's; level 3 cannot read it.
 * Source: xen/include/asm-x86/config.h, PERDOMAIN_VIRT_START.
 */
import { type Mfn, maddrOf } from '../../memory/addresses.ts';
import { hostAddressOf, type MachineMemory } from '../../memory/machine-memory.ts';
import { FIRST_RESERVED_ENTRY, RESERVED_DESCRIPTORS, VCPU_PAGES } from './layout.ts';

const ENTRIES = 512;
/** Present, writable, accessed, dirty; supervisor. */
const TABLE = 0x63n;
const PAGE = 0x8000_0000_0000_0063n;

export interface PerDomainArea {
  /** The L3 table for slot 260. */
  readonly root: Mfn;
  /** L1 tables, 512 pages each. */
  readonly tables: readonly Mfn[];
  /** Xen's own page of every GDT. */
  readonly xenGdt: Mfn;
}

const slotOf = (table: Mfn, index: number): number => (hostAddressOf(maddrOf(table)) >>> 3) + index;

/** `frame` gives zeroed frames of the hypervisor's. */
export const createPerDomainArea = (
  memory: MachineMemory,
  vcpus: number,
  frame: () => Mfn,
): PerDomainArea => {
  const { quads } = memory;
  const [root, level2, xenGdt] = [frame(), frame(), frame()];
  const count = Math.ceil((vcpus * VCPU_PAGES) / ENTRIES);
  const tables = Array.from({ length: count }, frame);
  quads[slotOf(root, 0)] = (BigInt(level2) << 12n) | TABLE;
  tables.forEach((table, index) => {
    quads[slotOf(level2, index)] = (BigInt(table) << 12n) | TABLE;
  });
  for (const [entry, descriptor] of Object.entries(RESERVED_DESCRIPTORS)) {
    quads[slotOf(xenGdt, Number(entry))] = descriptor;
  }
  for (let vcpu = 0; vcpu < vcpus; vcpu += 1) {
    const page = vcpu * VCPU_PAGES + FIRST_RESERVED_ENTRY / ENTRIES;
    setPage(memory, { root, tables, xenGdt }, page, xenGdt);
  }
  return { root, tables, xenGdt };
};

/** Maps a page of the area, or unmaps it. */
export const setPage = (
  { quads }: MachineMemory,
  { tables }: PerDomainArea,
  page: number,
  mfn: Mfn | undefined,
): void => {
  const table = tables[Math.floor(page / ENTRIES)];
  if (table === undefined) throw new RangeError(`The per-domain area has no page ${page}.`);
  quads[slotOf(table, page % ENTRIES)] = mfn === undefined ? 0n : (BigInt(mfn) << 12n) | PAGE;
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
