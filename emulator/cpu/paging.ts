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

/** A translation, or why there is none. */
export type Translation =
  | { readonly kind: 'page'; readonly maddr: Maddr }
  | { readonly kind: 'fault'; readonly errorCode: number }
  /** The second stage has made a VM exit. */
  | { readonly kind: 'exit' };

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
    linear: bigint | undefined,
    forTable: boolean,
  ): Maddr | undefined;
  /** Told before accessed and dirty bits are set in a guest's entry. */
  beforeEntryWrite?(maddr: Maddr, linear: bigint): void;
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

const ERROR_PRESENT = 1;
const ERROR_WRITE = 2;
const ERROR_USER = 4;
const ERROR_RESERVED = 8;
const ERROR_FETCH = 16;

interface Geometry {
  readonly entryBytes: 4 | 8;
  /** Lowest address bit that each level indexes by, from the top level down. */
  readonly shifts: readonly number[];
  readonly indexBits: number;
}

const FOUR_LEVEL: Geometry = { entryBytes: 8, shifts: [39, 30, 21, 12], indexBits: 9 };
const PAE: Geometry = { entryBytes: 8, shifts: [21, 12], indexBits: 9 };
const TWO_LEVEL: Geometry = { entryBytes: 4, shifts: [22, 12], indexBits: 10 };

/** An entry that the walk has read: where it is and its low half. */
interface VisitedEntry {
  readonly gpa: number;
  readonly host: number;
  readonly low: number;
}

const TABLE_READ: PagingAccess = { write: false, execute: false, user: false };
const TABLE_WRITE: PagingAccess = { write: true, execute: false, user: false };
const EXIT: Translation = { kind: 'exit' };

/** Translates a linear address for an access; sets accessed and dirty bits as the processor does. */
export const translateLinear = (
  memory: MachineMemory,
  stage: SecondStage,
  linear: bigint,
  access: PagingAccess,
): Translation => {
  const { words } = memory;
  const word = (slot: number): number => words[slot >>> 2] ?? 0;
  const cr0 = word(state.CR0);
  if ((cr0 & CR0_PG) === 0)
    return throughStage(stage, Number(linear & 0xffff_ffffn), access, linear);
  const cr4 = word(state.CR4);
  const efer = word(state.EFER);
  const isLong = (efer & EFER_LMA) !== 0;
  const geometry = isLong ? FOUR_LEVEL : (cr4 & CR4_PAE) !== 0 ? PAE : TWO_LEVEL;
  const executeDisable = (efer & EFER_NXE) !== 0 && geometry.entryBytes === 8;
  const fault = (error: number): Translation => {
    const fetch = access.execute && (executeDisable || (cr4 & CR4_SMEP) !== 0) ? ERROR_FETCH : 0;
    const write = access.write ? ERROR_WRITE : 0;
    return { kind: 'fault', errorCode: error | fetch | write | (access.user ? ERROR_USER : 0) };
  };

  let table = topTable(memory, geometry, linear, isLong);
  if (table === undefined) return fault(0);
  let rights = WRITABLE | USER;
  let executable = true;
  const visited: VisitedEntry[] = [];
  for (const [level, shift] of geometry.shifts.entries()) {
    const index = Number((linear >> BigInt(shift)) & BigInt((1 << geometry.indexBits) - 1));
    const entryGpa: number = table + index * geometry.entryBytes;
    const entryMaddr = stage.translate(entryGpa, TABLE_READ, linear, true);
    if (entryMaddr === undefined) return EXIT;
    const host = hostAddressOf(entryMaddr);
    const low = word(host);
    const high = geometry.entryBytes === 8 ? word(host + 4) : 0;
    if ((low & PRESENT) === 0) return fault(0);
    const isLast = level === geometry.shifts.length - 1;
    const mayBeLarge = shift === 30 ? true : shift === 21 || (cr4 & CR4_PSE) !== 0;
    const isLarge = !isLast && (low & LARGE) !== 0 && shift !== 39 && mayBeLarge;
    if (hasReservedBits(low, high, shift, isLarge, geometry, executeDisable)) {
      return fault(ERROR_PRESENT | ERROR_RESERVED);
    }
    rights &= low;
    if ((high & NX_HIGH) !== 0 && executeDisable) executable = false;
    visited.push({ gpa: entryGpa, host, low });
    table = (high & 0x000f_ffff) * 2 ** 32 + ((low & 0xffff_f000) >>> 0);
    if (!isLast && !isLarge) continue;
    const isUserPage = (rights & USER) !== 0;
    const rflags = word(state.RFLAGS_REST);
    if (!isAllowed(access, isUserPage, (rights & WRITABLE) !== 0, executable, cr0, cr4, rflags)) {
      return fault(ERROR_PRESENT);
    }
    if (!setAccessedAndDirty(memory, stage, visited, access.write, linear)) return EXIT;
    const pageBytes = 2 ** shift;
    const offset = Number(linear & BigInt(pageBytes - 1));
    return throughStage(stage, Math.floor(table / pageBytes) * pageBytes + offset, access, linear);
  }
  return fault(0);
};

const throughStage = (
  stage: SecondStage,
  gpa: number,
  access: PagingAccess,
  linear: bigint,
): Translation => {
  const maddr = stage.translate(gpa, access, linear, false);
  return maddr === undefined ? EXIT : { kind: 'page', maddr };
};

/** Guest-physical address of the first table; undefined if a PAE top entry is not present. */
const topTable = (
  { words }: MachineMemory,
  geometry: Geometry,
  linear: bigint,
  isLong: boolean,
): number | undefined => {
  const pair = (slot: number): number =>
    ((words[(slot + 4) >>> 2] ?? 0) & 0x000f_ffff) * 2 ** 32 +
    (((words[slot >>> 2] ?? 0) & 0xffff_f000) >>> 0);
  if (isLong) return pair(state.CR3);
  if (geometry === TWO_LEVEL) return ((words[state.CR3 >>> 2] ?? 0) & 0xffff_f000) >>> 0;
  const slot = state.PDPTES + Number((linear >> 30n) & 3n) * 8;
  return ((words[slot >>> 2] ?? 0) & PRESENT) === 0 ? undefined : pair(slot);
};

const hasReservedBits = (
  low: number,
  high: number,
  shift: number,
  isLarge: boolean,
  { entryBytes }: Geometry,
  executeDisable: boolean,
): boolean => {
  if (entryBytes === 4) return false;
  if ((high & RESERVED_HIGH) !== 0) return true;
  if ((high & NX_HIGH) !== 0 && !executeDisable) return true;
  if (shift === 39 && (low & LARGE) !== 0) return true;
  // The address of a large page is aligned; bit 12 of a large entry is its PAT bit.
  return isLarge && (low & (2 ** shift - 1) & ~0x1fff) !== 0;
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
  { words }: MachineMemory,
  stage: SecondStage,
  visited: readonly VisitedEntry[],
  write: boolean,
  linear: bigint,
): boolean => {
  for (const [level, { gpa, host, low }] of visited.entries()) {
    const isLast = level === visited.length - 1;
    const wanted = low | ACCESSED | (isLast && write ? DIRTY : 0);
    if (wanted === low) continue;
    const maddr = stage.translate(gpa, TABLE_WRITE, linear, true);
    if (maddr === undefined) return false;
    stage.beforeEntryWrite?.(maddr, linear);
    words[host >>> 2] = wanted;
  }
  return true;
};
