/**
 * The hypervisor's slots of an L4 table, 256 to 271: what the guest had there is overwritten.
 *
 *   256   M2P, readable by all of the guest
 *   258   the table itself
 *   260   the domain's own mappings: descriptor tables
 *
 * The rest would be the hypervisor's own code and data, which are not in machine memory here.
 */
import { ACCESSED, DIRTY, FIRST_XEN_SLOT, LAST_XEN_SLOT, PRESENT, WRITABLE } from './entries.ts';
import { type Mmu, wordOf } from './mmu.ts';

const M2P_SLOT = 256;
const LINEAR_SLOT = 258;
export const PER_DOMAIN_SLOT = 260;
/** Readable and writable for the hypervisor alone, without execution. */
const HYPERVISOR_RW = PRESENT | WRITABLE | ACCESSED | DIRTY;
const EXECUTE_DISABLE_HIGH = 0x8000_0000 | 0;

/** A table that becomes an L4 shows the M2P only if user-mode tables are to hide it: see showM2p. */
export const fillXenSlots = (mmu: Mmu, table: number, domain: number): void => {
  const { words } = mmu.memory;
  words.fill(0, wordOf(table, FIRST_XEN_SLOT), wordOf(table, LAST_XEN_SLOT + 1));
  setSlot(mmu, table, LINEAR_SLOT, table);
  const own = mmu.perDomainTable(domain);
  if (own !== undefined) setSlot(mmu, table, PER_DOMAIN_SLOT, own);
  if (mmu.hidesM2p(domain)) setM2p(mmu, table, mmu.m2p.slotEntry);
  mmu.written(table * 4096 + FIRST_XEN_SLOT * 8, (LAST_XEN_SLOT + 1 - FIRST_XEN_SLOT) * 8);
};

/** A table is used as a kernel's: the M2P is there. */
export const showM2p = (mmu: Mmu, table: number): void => {
  setM2p(mmu, table, mmu.m2p.slotEntry);
  mmu.written(table * 4096 + M2P_SLOT * 8, 8);
};

/** A table is used as a user's of a guest that wants the M2P hidden from it. */
export const hideM2p = (mmu: Mmu, table: number): void => {
  setM2p(mmu, table, 0n);
  mmu.written(table * 4096 + M2P_SLOT * 8, 8);
};

const setM2p = ({ memory: { quads } }: Mmu, table: number, entry: bigint): void => {
  quads[wordOf(table, M2P_SLOT) >>> 1] = entry;
};

const setSlot = ({ memory: { words } }: Mmu, table: number, slot: number, mfn: number): void => {
  const at = wordOf(table, slot);
  words[at] = (mfn << 12) | HYPERVISOR_RW;
  words[at + 1] = EXECUTE_DISABLE_HIGH | (mfn >>> 20);
};
