/**
 * Linear to machine addresses: the guest's paging (32-bit, PAE, 4-level), each step of which goes
 * through a second stage (EPT), with accessed and dirty bits and all permission checks.
 * Source: SDM Vol. 3A ch. 4 "Paging"; error codes: 4.7 "Page-Fault Exceptions".
 * Table entries are read as two 32-bit halves; addresses are numbers below 2^52.
 */
import type { Maddr } from '../memory/addresses.ts';
import { hostAddressOf, type MachineMemory } from '../memory/machine-memory.ts';
import * as state from './state.ts';

/**
 * What is done at an address; `user` is the privilege of the access. An implicit access is one of
 * the processor's own, to descriptor tables and task-state segments: SMAP heeds no RFLAGS.AC then.
 */
export interface PagingAccess {
  readonly implicit?: boolean;
  readonly write: boolean;
  readonly execute: boolean;
  readonly user: boolean;
}

/**
 * A linear address as a number: canonical ones are exact as signed 48-bit numbers, so that the
 * upper half is negative.
 */
export const linearNumber = (linear: bigint): number => Number(BigInt.asIntN(64, linear));
export const linearOfNumber = (linear: number): bigint => BigInt.asUintN(64, BigInt(linear));

/**
 * What a walk gives: the machine address; or WALK_EXIT if the second stage has made a VM exit; or
 * a page fault, which errorCodeOf() reads.
 */
export type Translation = number;
export const WALK_EXIT: Translation = -1;
const FAULTS = -2;
const faultOf = (errorCode: number): Translation => FAULTS - errorCode;
export const isWalkFault = (result: Translation): boolean => result <= FAULTS;
export const errorCodeOf = (fault: Translation): number => FAULTS - fault;

/** Guest-physical to machine addresses. */
export interface SecondStage {
  /**
   * The machine address of `gpa`, or undefined if a VM exit has been made. `linear` is the linear
   * address for which it is asked, if there is one; `forTable` tells that a paging-structure entry
   * is accessed.
   */
  translate(
    gpa: number,
    access: PagingAccess,
    linear: number | undefined,
    forTable: boolean,
  ): Maddr | undefined;
  /** Told before accessed and dirty bits are set in a guest's entry. */
  beforeEntryWrite?(maddr: Maddr, linear: number): void;
}

/** Without VMX the guest-physical address is the machine address. */
export const noSecondStage: SecondStage = { translate: (gpa) => gpa as Maddr };

const CR0_WP = 1 << 16;
const CR0_PG = 1 << 31;
const CR4_PSE = 1 << 4;
const CR4_PAE = 1 << 5;
const CR4_SMEP = 1 << 20;
const CR4_SMAP = 1 << 21;
const EFER_LMA = 1 << 10;
const EFER_NXE = 1 << 11;
const RFLAGS_AC = 1 << 18;

const PRESENT = 1;
const WRITABLE = 2;
const USER = 4;
const ACCESSED = 0x20;
const DIRTY = 0x40;
const LARGE = 0x80;
const NX_HIGH = 0x8000_0000 | 0;
/** Bits 51:MAXPHYADDR are reserved; MAXPHYADDR is 46. Bits 62:52 are ignored. */
export const PHYSICAL_ADDRESS_BITS = 46;
const RESERVED_HIGH = 0x000f_ffff & ~((1 << (PHYSICAL_ADDRESS_BITS - 32)) - 1);
/** With PAE paging bits 62:52 are reserved too. */
const RESERVED_HIGH_PAE = RESERVED_HIGH | 0x7ff0_0000;
/** Bit 21 of an entry that maps 4 MiB is reserved; bits 20:13 are bits 39:32 of the address. */
const LARGE_32_RESERVED = 1 << 21;

const ERROR_PRESENT = 1;
const ERROR_WRITE = 2;
const ERROR_USER = 4;
const ERROR_RESERVED = 8;
const ERROR_FETCH = 16;

const TABLE_READ: PagingAccess = { write: false, execute: false, user: false };
const TABLE_WRITE: PagingAccess = { write: true, execute: false, user: false };
const TWO_32 = 2 ** 32;
/** Levels of 4-level paging; PAE and 32-bit paging walk the last two. */
const LEVELS = 4;

/** Told of the last step of walks in long mode; rights are the writable and user bits, ANDed. */
export interface LastLevels {
  /** It was in this table; rights are those of the levels above. */
  keepTable(linear: number, table: number, rights: number): void;
  /** It has found a page of 2 MiB or more; `gpa` is the address that was asked for. */
  keepPage(linear: number, gpa: number, rights: number, isDirty: boolean): void;
}

/** Where the entries of the walk are, by level, for the bits that are set at its end. */
const visitedGpas = new Float64Array(LEVELS);
const visitedHosts = new Int32Array(LEVELS);

/**
 * Translates a linear address (see linearNumber) for an access; sets accessed and dirty bits as
 * the processor does. It allocates nothing: engines call it whenever they know no better.
 */
export const translateLinear = (
  { words }: MachineMemory,
  stage: SecondStage,
  linear: number,
  access: PagingAccess,
  last?: LastLevels,
): Translation => {
  const low = linear | 0;
  const high = Math.floor(linear / TWO_32) | 0;
  const cr0 = words[state.CR0 >>> 2] ?? 0;
  if ((cr0 & CR0_PG) === 0) return throughStage(stage, low >>> 0, access, linear);
  const cr4 = words[state.CR4 >>> 2] ?? 0;
  const efer = words[state.EFER >>> 2] ?? 0;
  const isLong = (efer & EFER_LMA) !== 0;
  const entryBytes = isLong || (cr4 & CR4_PAE) !== 0 ? 8 : 4;
  const executeDisable = (efer & EFER_NXE) !== 0 && entryBytes === 8;
  const tellsFetch = access.execute && (executeDisable || (cr4 & CR4_SMEP) !== 0);
  const cause =
    (tellsFetch ? ERROR_FETCH : 0) |
    (access.write ? ERROR_WRITE : 0) |
    (access.user ? ERROR_USER : 0);

  const first = isLong ? 0 : 2;
  let table = isLong
    ? tableAt(words, state.CR3)
    : entryBytes === 4
      ? ((words[state.CR3 >>> 2] ?? 0) & 0xffff_f000) >>> 0
      : topPaeTable(words, low);
  if (table < 0) return faultOf(cause);
  let rights = WRITABLE | USER;
  let executable = true;
  for (let level = first; level < LEVELS; level += 1) {
    const shift = entryBytes === 4 ? (level === 2 ? 22 : 12) : 39 - 9 * level;
    const entryGpa = table + indexAt(low, high, shift, entryBytes) * entryBytes;
    const entryMaddr = stage.translate(entryGpa, TABLE_READ, linear, true);
    if (entryMaddr === undefined) return WALK_EXIT;
    const host = hostAddressOf(entryMaddr);
    const entryLow = words[host >>> 2] ?? 0;
    const entryHigh = entryBytes === 8 ? (words[(host + 4) >>> 2] ?? 0) : 0;
    if ((entryLow & PRESENT) === 0) return faultOf(cause);
    const isLast = level === LEVELS - 1;
    const rightsAbove = rights;
    const tableOfEntry = table;
    const mayBeLarge = shift === 30 || shift === 21 || (shift === 22 && (cr4 & CR4_PSE) !== 0);
    const isLarge = !isLast && mayBeLarge && (entryLow & LARGE) !== 0;
    const hasReserved =
      entryBytes === 4
        ? isLarge && (entryLow & LARGE_32_RESERVED) !== 0
        : hasReservedBits(entryLow, entryHigh, shift, isLarge, executeDisable, isLong);
    if (hasReserved) return faultOf(cause | ERROR_PRESENT | ERROR_RESERVED);
    rights &= entryLow;
    if ((entryHigh & NX_HIGH) !== 0 && executeDisable) executable = false;
    visitedGpas[level] = entryGpa;
    visitedHosts[level] = host;
    table = (entryHigh & 0x000f_ffff) * TWO_32 + ((entryLow & 0xffff_f000) >>> 0);
    if (!isLast && !isLarge) continue;
    const isUserPage = (rights & USER) !== 0;
    const rflags = words[state.RFLAGS_REST >>> 2] ?? 0;
    if (!isAllowed(access, isUserPage, (rights & WRITABLE) !== 0, executable, cr0, cr4, rflags)) {
      return faultOf(cause | ERROR_PRESENT);
    }
    if (!setAccessedAndDirty(words, stage, first, level, access.write, linear)) return WALK_EXIT;
    const offsetMask = (1 << shift) - 1;
    const above = shift === 22 ? ((entryLow >>> 13) & 0xff) * TWO_32 : 0;
    const base = above + table - ((entryLow & 0xffff_f000 & offsetMask) >>> 0);
    const gpa = base + ((low & offsetMask) >>> 0);
    if (isLong && last !== undefined) {
      const isDirty = access.write || (entryLow & DIRTY) !== 0;
      if (isLast) last.keepTable(linear, tableOfEntry, rightsAbove & (WRITABLE | USER));
      else last.keepPage(linear, gpa, rights & (WRITABLE | USER), isDirty);
    }
    return throughStage(stage, gpa, access, linear);
  }
  return faultOf(cause);
};

const throughStage = (
  stage: SecondStage,
  gpa: number,
  access: PagingAccess,
  linear: number,
): Translation => stage.translate(gpa, access, linear, false) ?? WALK_EXIT;

/** Index into a table, whose level maps from bit `shift` up. */
export const indexAt = (low: number, high: number, shift: number, entryBytes: 4 | 8): number => {
  if (entryBytes === 4) return (low >>> shift) & 0x3ff;
  switch (shift) {
    case 39:
      return (high >>> 7) & 0x1ff;
    case 30:
      return ((high << 2) | (low >>> 30)) & 0x1ff;
    default:
      return (low >>> shift) & 0x1ff;
  }
};

/** The table that CR3 or a PDPTE register points to. */
const tableAt = (words: Int32Array, slot: number): number =>
  ((words[(slot + 4) >>> 2] ?? 0) & 0x000f_ffff) * TWO_32 +
  (((words[slot >>> 2] ?? 0) & 0xffff_f000) >>> 0);

/** -1 if the PDPTE is not present. */
const topPaeTable = (words: Int32Array, low: number): number => {
  const slot = state.PDPTES + (low >>> 30) * 8;
  return ((words[slot >>> 2] ?? 0) & PRESENT) === 0 ? -1 : tableAt(words, slot);
};

const hasReservedBits = (
  low: number,
  high: number,
  shift: number,
  isLarge: boolean,
  executeDisable: boolean,
  isLong: boolean,
): boolean => {
  if ((high & (isLong ? RESERVED_HIGH : RESERVED_HIGH_PAE)) !== 0) return true;
  if ((high & NX_HIGH) !== 0 && !executeDisable) return true;
  if (shift === 39 && (low & LARGE) !== 0) return true;
  // The address of a large page is aligned; bit 12 of a large entry is its PAT bit.
  return isLarge && (low & ((1 << shift) - 1) & ~0x1fff) !== 0;
};

const isAllowed = (
  { write, execute, user, implicit }: PagingAccess,
  isUserPage: boolean,
  isWritable: boolean,
  isExecutable: boolean,
  cr0: number,
  cr4: number,
  rflags: number,
): boolean => {
  if (execute && !isExecutable) return false;
  if (user) return isUserPage && (!write || isWritable);
  if (execute) return !(isUserPage && (cr4 & CR4_SMEP) !== 0);
  const overridden = (rflags & RFLAGS_AC) !== 0 && implicit !== true;
  if (isUserPage && (cr4 & CR4_SMAP) !== 0 && !overridden) return false;
  return !write || isWritable || (cr0 & CR0_WP) === 0;
};

/** Sets A in every entry of the walk and D in the last for a write; false after a VM exit. */
const setAccessedAndDirty = (
  words: Int32Array,
  stage: SecondStage,
  first: number,
  last: number,
  write: boolean,
  linear: number,
): boolean => {
  for (let level = first; level <= last; level += 1) {
    const host = visitedHosts[level] ?? 0;
    const low = words[host >>> 2] ?? 0;
    const wanted = low | ACCESSED | (level === last && write ? DIRTY : 0);
    if (wanted === low) continue;
    const maddr = stage.translate(visitedGpas[level] ?? 0, TABLE_WRITE, linear, true);
    if (maddr === undefined) return false;
    stage.beforeEntryWrite?.(maddr, linear);
    words[host >>> 2] = wanted;
  }
  return true;
};
