/**
 * The walk of a guest's own tables that the processor would make if it used them: with all checks,
 * and with accessed and dirty bits. It gives the guest-physical address, or the page fault that is
 * the guest's to handle. Source: SDM Vol. 3A 4.6 "Access Rights", 4.7 "Page-Fault Exceptions", 4.8
 * "Accessed and Dirty Flags".
 */
import type { Maddr } from '../../memory/addresses.ts';
import { hostAddressOf, type MachineMemory } from '../../memory/machine-memory.ts';
import { maddrOfGpa } from '../guest-walk.ts';
import type { P2m } from '../p2m.ts';
import {
  ACCESSED,
  addressOf,
  DIRTY,
  EXECUTE_DISABLE,
  entryBytesOf,
  type GuestPaging,
  hasReservedBits,
  indexOf,
  isLargeEntry,
  PRESENT,
  shiftOf,
  USER,
  WRITABLE,
} from './guest-paging.ts';

/** An access to a linear address. */
export interface GuestAccess {
  readonly write: boolean;
  readonly execute: boolean;
  readonly user: boolean;
  /** RFLAGS.AC, which lifts SMAP but for accesses of the processor's own to its tables. */
  readonly alignmentCheck: boolean;
}

/** An entry that the walk has read. */
export interface GuestEntry {
  readonly level: number;
  readonly maddr: Maddr;
  readonly value: bigint;
}

export interface GuestTranslation {
  readonly gpa: number;
  /** From the top. */
  readonly entries: readonly GuestEntry[];
  /** Whether the entries allow writes; with CR0.WP clear the supervisor may write all the same. */
  readonly isWritable: boolean;
}

/** The error code of a page fault. */
export interface GuestFault {
  readonly errorCode: number;
}

export const ERROR_PRESENT = 1;
export const ERROR_WRITE = 2;
export const ERROR_USER = 4;
const ERROR_RESERVED = 8;
export const ERROR_FETCH = 16;

/** Bits of the error code that tell of the access. */
export const causeOf = ({ smep, executeDisable }: GuestPaging, access: GuestAccess): number =>
  (access.write ? ERROR_WRITE : 0) |
  (access.user ? ERROR_USER : 0) |
  (access.execute && (executeDisable || smep) ? ERROR_FETCH : 0);

/** The entry at a place; where there is no memory none is present, as for Xen's own walk. */
export const readEntry = (
  memory: MachineMemory,
  maddr: Maddr | undefined,
  entryBytes: 4 | 8,
): bigint => {
  if (maddr === undefined) return 0n;
  const host = hostAddressOf(maddr);
  return entryBytes === 8
    ? (memory.quads[host >>> 3] as bigint)
    : BigInt((memory.words[host >>> 2] ?? 0) >>> 0);
};

/** Changes nothing; see markAccessed. */
export const walkGuestTables = (
  memory: MachineMemory,
  p2m: P2m,
  paging: GuestPaging,
  linear: number,
  access: GuestAccess,
): GuestTranslation | GuestFault => {
  const { mode } = paging;
  if (mode === 'unpaged') return { gpa: linear, entries: [], isWritable: true };
  const cause = causeOf(paging, access);
  const entryBytes = entryBytesOf(mode);
  const entries: GuestEntry[] = [];
  let table = paging.top;
  if (mode === 'pae') {
    const pointer = paging.pointers[indexOf(mode, 3, linear)] ?? 0n;
    if ((pointer & PRESENT) === 0n) return { errorCode: cause };
    table = addressOf(paging, pointer);
  }
  let rights = WRITABLE | USER;
  let isExecutable = true;
  for (let level = mode === '4-level' ? 4 : 2; ; level -= 1) {
    const maddr = maddrOfGpa(p2m, table + indexOf(mode, level, linear) * entryBytes);
    const value = readEntry(memory, maddr, entryBytes);
    if (maddr === undefined || (value & PRESENT) === 0n) return { errorCode: cause };
    if (hasReservedBits(paging, level, value)) {
      return { errorCode: cause | ERROR_PRESENT | ERROR_RESERVED };
    }
    entries.push({ level, maddr, value });
    rights &= value;
    if (entryBytes === 8 && (value & EXECUTE_DISABLE) !== 0n) isExecutable = false;
    if (level > 1 && !isLargeEntry(paging, level, value)) {
      table = addressOf(paging, value);
      continue;
    }
    if (!isAllowed(paging, rights, isExecutable, access)) {
      return { errorCode: cause | ERROR_PRESENT };
    }
    const pageBytes = 2 ** shiftOf(mode, level);
    const offset = ((linear % pageBytes) + pageBytes) % pageBytes;
    return {
      gpa: addressOf(paging, value, shiftOf(mode, level)) + offset,
      entries,
      isWritable: (rights & WRITABLE) !== 0n,
    };
  }
};

const isAllowed = (
  { writeProtect, smep, smap }: GuestPaging,
  rights: bigint,
  isExecutable: boolean,
  { write, execute, user, alignmentCheck }: GuestAccess,
): boolean => {
  const isUserPage = (rights & USER) !== 0n;
  const isWritable = (rights & WRITABLE) !== 0n;
  if (execute && !isExecutable) return false;
  if (user) return isUserPage && (!write || isWritable);
  if (execute) return !(isUserPage && smep);
  if (isUserPage && smap && !alignmentCheck) return false;
  return !write || isWritable || !writeProtect;
};

/** Sets A in every entry of a walk, and D in its last for a write; `wrote` is told of each change. */
export const markAccessed = (
  { words }: MachineMemory,
  { entries }: GuestTranslation,
  write: boolean,
  wrote: (maddr: Maddr) => void,
): void => {
  for (const [at, { maddr, value }] of entries.entries()) {
    const isLast = at === entries.length - 1;
    const wanted = value | ACCESSED | (isLast && write ? DIRTY : 0n);
    if (wanted === value) continue;
    words[hostAddressOf(maddr) >>> 2] = Number(BigInt.asIntN(32, wanted));
    wrote(maddr);
  }
};
