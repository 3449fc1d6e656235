/**
 * What a shadow page stands for: a table of the guest as one paging mode reads it, at one level; or
 * a stretch of guest-physical memory, "direct", where the guest has a large page or no paging.
 *
 * Shadow entries have the format of PAE and 4-level paging, 512 a page. A table of 32-bit paging has
 * 1024 entries of which each maps 4 MiB or 4 KiB: it takes four shadow pages at level 2, each entry
 * twice, and two at level 1; the quadrant tells which.
 *
 * The role holds what changes the meaning of an entry: mode, EFER.NXE, CR4.PSE. CR4.SMEP and SMAP are
 * not in it, since the processor checks them by the guest's own U/S bits; nor is CR0.WP, since it is
 * always set under shadow paging.
 */
import type { Maddr, Mfn } from '../../memory/addresses.ts';
import type { MachineMemory } from '../../memory/machine-memory.ts';
import {
  ACCESSED,
  addressOf,
  DIRTY,
  type EntryFormat,
  EXECUTE_DISABLE,
  entryBytesOf,
  type GuestPaging,
  hasReservedBits,
  isLargeEntry,
  type PagingMode,
  PRESENT,
  shiftOf,
  USER,
  WRITABLE,
} from './guest-paging.ts';
import { readEntry } from './guest-tables.ts';

export interface Role {
  readonly level: number;
  /** Undefined: direct. */
  readonly format: EntryFormat | undefined;
  readonly quadrant: number;
}

/** What an entry of a shadow page leads to. */
export interface Target {
  readonly gfn: number;
  /** Of the shadow page below; undefined: the entry maps the frame itself. */
  readonly role: Role | undefined;
  /** Bits of WRITABLE, USER, EXECUTE_DISABLE. */
  readonly rights: bigint;
}

const ENTRIES = 512;
const ALL_RIGHTS = WRITABLE | USER;
const MODES: readonly PagingMode[] = ['unpaged', '32-bit', 'pae', '4-level'];
const ROLES = 1024;

export const directRole = (level: number): Role => ({ level, format: undefined, quadrant: 0 });

export const formatOf = ({ mode, executeDisable, largePages }: GuestPaging): EntryFormat => ({
  mode,
  executeDisable,
  largePages: mode === '32-bit' && largePages,
});

/** A number for the role, below 1024. */
const roleNumber = ({ level, format, quadrant }: Role): number =>
  format === undefined
    ? level
    : level |
      8 |
      (MODES.indexOf(format.mode) << 4) |
      (format.executeDisable ? 0x40 : 0) |
      (format.largePages ? 0x80 : 0) |
      (quadrant << 8);

/** One number for frame and role. */
export const keyOf = (gfn: number, role: Role): number => gfn * ROLES + roleNumber(role);

export const fromKey = (key: number): { readonly gfn: number; readonly role: Role } => {
  const bits = key % ROLES;
  const format: EntryFormat = {
    mode: MODES[(bits >> 4) & 3] ?? 'unpaged',
    executeDisable: (bits & 0x40) !== 0,
    largePages: (bits & 0x80) !== 0,
  };
  const isDirect = (bits & 8) === 0;
  return {
    gfn: Math.floor(key / ROLES),
    role: { level: bits & 7, format: isDirect ? undefined : format, quadrant: bits >> 8 },
  };
};

/** The guest's entry that an entry of a shadow page is made from. */
export const guestIndexOf = ({ level, format, quadrant }: Role, index: number): number => {
  if (format?.mode !== '32-bit') return index;
  return level === 2 ? quadrant * 256 + (index >> 1) : quadrant * ENTRIES + index;
};

/** The entries of a shadow page that are made from a guest's entry. */
export const shadowIndexesOf = (
  { level, format, quadrant }: Role,
  guestIndex: number,
): readonly number[] => {
  if (format?.mode !== '32-bit') return [guestIndex];
  const within = guestIndex - quadrant * (level === 2 ? 256 : ENTRIES);
  if (within < 0 || within >= (level === 2 ? 256 : ENTRIES)) return [];
  return level === 2 ? [within * 2, within * 2 + 1] : [within];
};

/** The guest's entry behind an entry of a shadow page; of direct pages there is none. */
export const guestEntryOf = (
  memory: MachineMemory,
  role: Role,
  table: Mfn | undefined,
  index: number,
): bigint => {
  if (role.format === undefined) return 0n;
  const bytes = entryBytesOf(role.format.mode);
  const at = guestIndexOf(role, index) * bytes;
  return readEntry(memory, table === undefined ? undefined : ((table * 4096 + at) as Maddr), bytes);
};

/**
 * Where an entry of a shadow page leads; undefined: nowhere, because the guest's entry is not
 * present or not valid, or its accessed bit is still to be set. Until the dirty bit of a page is set
 * its entry is not writable.
 */
export const targetOf = (
  memory: MachineMemory,
  gfn: number,
  role: Role,
  table: Mfn | undefined,
  index: number,
): Target | undefined => {
  const { level, format } = role;
  if (format === undefined) {
    const below = gfn + index * ENTRIES ** (level - 1);
    return { gfn: below, role: level > 1 ? directRole(level - 1) : undefined, rights: ALL_RIGHTS };
  }
  const entry = guestEntryOf(memory, role, table, index);
  const isUsable = (entry & PRESENT) !== 0n && (entry & ACCESSED) !== 0n;
  if (!isUsable || hasReservedBits(format, level, entry)) return undefined;
  const isLarge = isLargeEntry(format, level, entry);
  const mayWrite = level > 1 && !isLarge ? true : (entry & DIRTY) !== 0n;
  const mask = (mayWrite ? ALL_RIGHTS : USER) | (format.mode === '32-bit' ? 0n : EXECUTE_DISABLE);
  const rights = entry & mask;
  const half = format.mode === '32-bit' && level === 2 ? index & 1 : 0;
  if (isLarge) {
    const first = addressOf(format, entry, shiftOf(format.mode, level)) / 4096;
    return { gfn: first + half * ENTRIES, role: directRole(level - 1), rights };
  }
  const below = level === 1 ? undefined : { level: level - 1, format, quadrant: half };
  return { gfn: addressOf(format, entry) / 4096, role: below, rights };
};

/** Where an entry of the top of unpaged, 32-bit and PAE paging leads; there are four. */
export const topTargetOf = (paging: GuestPaging, index: number): Target | undefined => {
  const format = formatOf(paging);
  switch (paging.mode) {
    case 'unpaged':
      return { gfn: index * ENTRIES ** 2, role: directRole(2), rights: ALL_RIGHTS };
    case '32-bit': {
      const role = { level: 2, format, quadrant: index };
      return { gfn: paging.top / 4096, role, rights: ALL_RIGHTS };
    }
    default: {
      const pointer = paging.pointers[index] ?? 0n;
      if ((pointer & PRESENT) === 0n) return undefined;
      const role = { level: 2, format, quadrant: 0 };
      return { gfn: addressOf(paging, pointer) / 4096, role, rights: ALL_RIGHTS };
    }
  }
};
