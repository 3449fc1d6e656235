/**
 * The grant table of a domain: entries in frames that the hypervisor shares with it, by which it lets
 * other domains map, copy or take its pages; what of them is in use; and what the domain itself has
 * mapped of others. Entries of version 2 have their reading and writing flags in frames of their own.
 * Source: Xen public/grant_table.h; docs/misc/grant-tables.txt.
 */
import { type Maddr, type Mfn, maddrOf } from '../../memory/addresses.ts';
import { hostAddressOf } from '../../memory/machine-memory.ts';
import type { XenDomain } from '../domain.ts';
import { OWNER_HYPERVISOR } from '../frames.ts';
import { type Hypervisor, writeMaddr } from '../hypervisor.ts';
import { directPagingOf } from '../pv/mmu/direct-paging.ts';

/** GTF_ flags. */
export const GTF = {
  invalid: 0,
  permitAccess: 1,
  acceptTransfer: 2,
  transitive: 3,
  typeMask: 3,
  readOnly: 4,
  reading: 8,
  writing: 16,
  subPage: 0x100,
  transferCommitted: 4,
  transferCompleted: 8,
} as const;

/** Entries that the toolstack fills: GNTTAB_RESERVED_CONSOLE, GNTTAB_RESERVED_XENSTORE. */
export const CONSOLE_REFERENCE = 0;
export const XENSTORE_REFERENCE = 1;
export const RESERVED_ENTRIES = 8;
/** gnttab_max_frames. */
export const MAXIMUM_FRAMES = 64;

/** How often an entry is in use, by kind. */
export interface ActiveEntry {
  hostReads: number;
  hostWrites: number;
  deviceReads: number;
  deviceWrites: number;
  /** Who uses it. */
  domain: number;
  mfn: Mfn;
  start: number;
  lengthBytes: number;
  /** A part of a page, or a grant of another's grant: it can be copied, not mapped. */
  isSubPage: boolean;
  /** Where the page comes from, if the entry is transitive. */
  sourceDomain: number;
  sourceReference: number;
}

export const pinsOf = (entry: ActiveEntry): number =>
  entry.hostReads + entry.hostWrites + entry.deviceReads + entry.deviceWrites;

/** What this domain has mapped: GNTMAP_ flags. */
export interface GrantMapping {
  readonly domain: number;
  readonly reference: number;
  flags: number;
}

export interface GrantTable {
  version: 1 | 2;
  readonly shared: Mfn[];
  readonly status: Mfn[];
  /** By reference; no entry: not in use. */
  readonly active: Map<number, ActiveEntry>;
  /** By handle. */
  readonly mappings: Map<number, GrantMapping>;
}

export const createGrantTable = (): GrantTable => ({
  version: 1,
  shared: [],
  status: [],
  active: new Map(),
  mappings: new Map(),
});

const entryBytes = ({ version }: GrantTable): number => (version === 1 ? 8 : 16);
const STATUS_PER_FRAME = 2048;

export const entriesOf = (table: GrantTable): number =>
  (table.shared.length * 4096) / entryBytes(table);

/** Status frames for a number of frames of version 2. */
export const statusFramesFor = (frames: number): number =>
  Math.ceil((frames * 256) / STATUS_PER_FRAME);

/** Grows the table to a number of frames; false if that is more than it may have, or none is free. */
export const growTable = (hypervisor: Hypervisor, domain: XenDomain, frames: number): boolean => {
  if (frames > MAXIMUM_FRAMES) return false;
  const table = domain.grants;
  const status = table.version === 2 ? statusFramesFor(Math.max(frames, table.shared.length)) : 0;
  // No entry is without its status, even if there are not enough frames.
  return (
    extend(hypervisor, domain, table.status, status) &&
    extend(hypervisor, domain, table.shared, frames)
  );
};

/** A PV domain maps the frames by its own tables, so that they have to be its own. */
const extend = (hypervisor: Hypervisor, domain: XenDomain, list: Mfn[], count: number): boolean => {
  while (list.length < count) {
    const mfn = hypervisor.frames.allocate(OWNER_HYPERVISOR);
    if (mfn === undefined) return false;
    clearFrame(hypervisor, mfn);
    if (domain.pv !== undefined) {
      directPagingOf(hypervisor).shareFrame(mfn, domain.id, 'read-write');
    }
    list.push(mfn);
  }
  return true;
};

/** A frame of the table is the hypervisor's again, and free. */
export const releaseFrame = (hypervisor: Hypervisor, domain: XenDomain, mfn: Mfn): void => {
  if (domain.pv !== undefined) directPagingOf(hypervisor).takeBack(mfn);
  hypervisor.frames.release(mfn);
};

/** The domain is gone. */
export const releaseTable = (hypervisor: Hypervisor, domain: XenDomain): void => {
  const { shared, status } = domain.grants;
  for (const mfn of [...shared.splice(0), ...status.splice(0)]) {
    releaseFrame(hypervisor, domain, mfn);
  }
};

export const clearFrame = (hypervisor: Hypervisor, mfn: Mfn): void =>
  writeMaddr(hypervisor, maddrOf(mfn), new Uint8Array(4096));

/** Machine address of an entry that is within the table. */
const entryAt = (table: GrantTable, reference: number): Maddr => {
  const at = reference * entryBytes(table);
  const mfn = table.shared[Math.floor(at / 4096)];
  if (mfn === undefined) throw new Error(`Grant reference ${reference} is beyond the table.`);
  return maddrOf(mfn, at % 4096);
};

/** A number of the entry, at a byte offset in it. */
export const readEntry = (
  { hardware }: Hypervisor,
  table: GrantTable,
  reference: number,
  offset: number,
  bytes: 2 | 4 | 8,
): number => {
  const at = hostAddressOf(entryAt(table, reference)) + offset;
  const { view } = hardware.memory;
  if (bytes === 2) return view.getUint16(at, true);
  return bytes === 4 ? view.getUint32(at, true) : Number(view.getBigUint64(at, true));
};

export const writeEntry = (
  hypervisor: Hypervisor,
  table: GrantTable,
  reference: number,
  offset: number,
  bytes: 2 | 4 | 8,
  value: number,
): void => {
  const buffer = new Uint8Array(8);
  new DataView(buffer.buffer).setBigUint64(0, BigInt(value), true);
  writeMaddr(hypervisor, entryAt(table, reference) + offset, buffer.subarray(0, bytes));
};

export const flagsOf = (hypervisor: Hypervisor, table: GrantTable, reference: number): number =>
  readEntry(hypervisor, table, reference, 0, 2);
export const granteeOf = (hypervisor: Hypervisor, table: GrantTable, reference: number): number =>
  readEntry(hypervisor, table, reference, 2, 2);

/** The gfn that an entry grants, or accepts a page at; of a PV domain it is an mfn. */
export const frameOfEntry = (
  hypervisor: Hypervisor,
  table: GrantTable,
  reference: number,
): number =>
  table.version === 1
    ? readEntry(hypervisor, table, reference, 4, 4)
    : readEntry(hypervisor, table, reference, 8, 8);

/** Where the reading and writing flags of an entry are. */
const statusAt = (table: GrantTable, reference: number): Maddr => {
  if (table.version === 1) return entryAt(table, reference);
  const mfn = table.status[Math.floor(reference / STATUS_PER_FRAME)];
  if (mfn === undefined) throw new Error(`Grant reference ${reference} has no status.`);
  return maddrOf(mfn, (reference % STATUS_PER_FRAME) * 2);
};

export const readStatus = (
  { hardware }: Hypervisor,
  table: GrantTable,
  reference: number,
): number => hardware.memory.view.getUint16(hostAddressOf(statusAt(table, reference)), true);

export const writeStatus = (
  hypervisor: Hypervisor,
  table: GrantTable,
  reference: number,
  flags: number,
): void =>
  writeMaddr(
    hypervisor,
    statusAt(table, reference),
    Uint8Array.of(flags & 0xff, (flags >> 8) & 0xff),
  );

/** Exchanges two entries with their status. */
export const swapEntries = (
  hypervisor: Hypervisor,
  table: GrantTable,
  first: number,
  second: number,
): void => {
  const { bytes } = hypervisor.hardware.memory;
  const swap = (a: Maddr, b: Maddr, length: number): void => {
    const [own, other] = [a, b].map((at) =>
      bytes.slice(hostAddressOf(at), hostAddressOf(at) + length),
    );
    if (own === undefined || other === undefined) return;
    writeMaddr(hypervisor, a, other);
    writeMaddr(hypervisor, b, own);
  };
  swap(entryAt(table, first), entryAt(table, second), entryBytes(table));
  if (table.version === 2) swap(statusAt(table, first), statusAt(table, second), 2);
};

/** Fills one of the reserved entries, as the domain builder does: `domain` may map the frame. */
export const seedEntry = (
  hypervisor: Hypervisor,
  { grants }: XenDomain,
  reference: number,
  domain: number,
  frame: number,
): void => {
  writeEntry(hypervisor, grants, reference, 4, 4, frame);
  writeEntry(hypervisor, grants, reference, 2, 2, domain);
  writeEntry(hypervisor, grants, reference, 0, 2, GTF.permitAccess);
};

export interface SavedGrants {
  readonly version: 1 | 2;
  readonly shared: readonly number[];
  readonly status: readonly number[];
  readonly active: readonly (readonly [number, ActiveEntry])[];
  readonly mappings: readonly (readonly [number, GrantMapping])[];
}

export const saveGrants = (table: GrantTable): SavedGrants => ({
  version: table.version,
  shared: [...table.shared],
  status: [...table.status],
  active: [...table.active],
  mappings: [...table.mappings],
});

export const restoreGrants = (table: GrantTable, saved: SavedGrants): void => {
  table.version = saved.version;
  table.shared.splice(0, table.shared.length, ...(saved.shared as readonly Mfn[]));
  table.status.splice(0, table.status.length, ...(saved.status as readonly Mfn[]));
  table.active.clear();
  for (const [reference, entry] of saved.active) table.active.set(reference, { ...entry });
  table.mappings.clear();
  for (const [handle, mapping] of saved.mappings) table.mappings.set(handle, { ...mapping });
};
