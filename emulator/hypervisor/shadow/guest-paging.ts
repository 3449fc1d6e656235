/**
 * How a guest has its linear addresses translated, by its own control registers, and its
 * paging-structure entries as software reads them.
 * Source: SDM Vol. 3A 4.1.1 "Four Paging Modes", 4.3 to 4.5.
 */
import type { PagingState } from '../guest-walk.ts';

export type PagingMode = 'unpaged' | '32-bit' | 'pae' | '4-level';

export interface GuestPaging {
  readonly mode: PagingMode;
  /** Guest-physical address of the top table; of PAE paging, where the pointers were read. */
  readonly top: number;
  /** The PDPTE registers of PAE paging. */
  readonly pointers: readonly bigint[];
  /** CR0.WP, CR4.SMEP, CR4.SMAP. */
  readonly writeProtect: boolean;
  readonly smep: boolean;
  readonly smap: boolean;
  /** Whether bit 63 of an entry forbids execution; else it is reserved. */
  readonly executeDisable: boolean;
  /** Whether PDEs of 32-bit paging may map 4 MiB: CR4.PSE. */
  readonly largePages: boolean;
}

export const PRESENT = 1n;
export const WRITABLE = 2n;
export const USER = 4n;
export const ACCESSED = 1n << 5n;
export const DIRTY = 1n << 6n;
export const LARGE = 1n << 7n;
export const EXECUTE_DISABLE = 1n << 63n;
const ADDRESS = 0x000f_ffff_ffff_f000n;
/** MAXPHYADDR is 46. */
const RESERVED_ADDRESS = 0x000f_c000_0000_0000n;

const CR0_WP = 1n << 16n;
const CR0_PG = 1n << 31n;
const CR4_PSE = 1n << 4n;
const CR4_PAE = 1n << 5n;
const CR4_SMEP = 1n << 20n;
const CR4_SMAP = 1n << 21n;
const EFER_LMA = 1n << 10n;
const EFER_NXE = 1n << 11n;

const modeOf = ({ cr0, cr4, efer }: PagingState): PagingMode => {
  if ((cr0 & CR0_PG) === 0n) return 'unpaged';
  if ((efer & EFER_LMA) !== 0n) return '4-level';
  return (cr4 & CR4_PAE) === 0n ? '32-bit' : 'pae';
};

export const guestPagingOf = (state: PagingState, pointers: readonly bigint[]): GuestPaging => {
  const { cr0, cr3, cr4, efer } = state;
  const mode = modeOf(state);
  const topMask =
    mode === '4-level'
      ? ADDRESS
      : mode === 'pae'
        ? 0xffff_ffe0n
        : mode === '32-bit'
          ? 0xffff_f000n
          : 0n;
  return {
    mode,
    top: Number(cr3 & topMask),
    pointers: mode === 'pae' ? pointers : [],
    writeProtect: (cr0 & CR0_WP) !== 0n,
    smep: (cr4 & CR4_SMEP) !== 0n,
    smap: (cr4 & CR4_SMAP) !== 0n,
    executeDisable: (efer & EFER_NXE) !== 0n && mode !== '32-bit',
    largePages: (cr4 & CR4_PSE) !== 0n,
  };
};

export const entryBytesOf = (mode: PagingMode): 4 | 8 => (mode === '32-bit' ? 4 : 8);

/** The lowest bit of a linear address that an entry of this level translates. */
export const shiftOf = (mode: PagingMode, level: number): number =>
  12 + (mode === '32-bit' ? 10 : 9) * (level - 1);

/** Index into a table; `linear` may be negative, see linearNumber() in cpu/paging.ts. */
export const indexOf = (mode: PagingMode, level: number, linear: number): number => {
  // Only the low bits of the quotient count, for negative ones too.
  const frame = Math.floor(linear / 2 ** shiftOf(mode, level));
  return frame & (mode === '32-bit' ? 1023 : 511);
};

/** What decides how the entries of a table are read. */
export interface EntryFormat {
  readonly mode: PagingMode;
  readonly executeDisable: boolean;
  readonly largePages: boolean;
}

/** Whether a present entry maps a page of more than 4 KiB. */
export const isLargeEntry = ({ mode, largePages }: EntryFormat, level: number, entry: bigint) =>
  (entry & LARGE) !== 0n &&
  (level === 2 ? mode !== '32-bit' || largePages : level === 3 && mode === '4-level');

/** Whether a present entry has a reserved bit set: SDM Vol. 3A 4.7, RSVD flag. */
export const hasReservedBits = (format: EntryFormat, level: number, entry: bigint): boolean => {
  const { mode, executeDisable } = format;
  if (mode === '32-bit') return false;
  if ((entry & RESERVED_ADDRESS) !== 0n) return true;
  if ((entry & EXECUTE_DISABLE) !== 0n && !executeDisable) return true;
  if (level === 4) return (entry & LARGE) !== 0n;
  // Bit 12 of a large entry is its PAT bit.
  const below = ((1n << BigInt(shiftOf(mode, level))) - 1n) & ~0x1fffn;
  return isLargeEntry(format, level, entry) && (entry & below) !== 0n;
};

/** Guest-physical address of the table or page that an entry points to. */
export const addressOf = ({ mode }: EntryFormat, entry: bigint, shift = 12): number => {
  const mask = mode === '32-bit' ? 0xffff_f000n : ADDRESS;
  return Number(entry & mask & ~((1n << BigInt(shift)) - 1n));
};
