/**
 * Extended page tables: guest-physical to machine addresses, walked in machine memory.
 * Source: SDM Vol. 3C 28.3.2 "EPT Translation Mechanism", 28.3.3 "EPT-Induced VM Exits"; exit
 * qualification: 27.2.1, Table 27-7 "Exit Qualification for EPT Violations".
 */
import { indexAt, type PagingAccess, PHYSICAL_ADDRESS_BITS } from '../cpu/paging.ts';
import type { Maddr } from '../memory/addresses.ts';
import { hostAddressOf, type MachineMemory } from '../memory/machine-memory.ts';

export const EPT_READ = 1;
export const EPT_WRITE = 2;
export const EPT_EXECUTE = 4;

export interface EptViolation {
  readonly kind: 'violation';
  /** What was tried. */
  readonly access: number;
  /** The AND of the entries' bits 2:0, 0 if one of them is not present. */
  readonly permissions: number;
}

export type EptResult =
  | { readonly kind: 'page'; readonly maddr: Maddr; readonly pageBytes: number }
  | EptViolation
  | { readonly kind: 'misconfiguration' };

const SHIFTS = [39, 30, 21, 12] as const;
const LARGE = 0x80;
const TWO_32 = 2 ** 32;
const ACCESSED = 0x100;
const DIRTY = 0x200;
const EPTP_ACCESSED_DIRTY = 0x40;
/** Memory types 2, 3 and 7 are reserved. */
const RESERVED_TYPES = 0b1000_1100;
const RESERVED_HIGH = 0x000f_ffff & ~((1 << (PHYSICAL_ADDRESS_BITS - 32)) - 1);

/** Where the entries of the walk are, by level, for the bits that are set at its end. */
const visitedHosts = new Float64Array(SHIFTS.length);

/** Walks the tables of `eptPointer` (its low and high halves) for an access. */
export const walkEpt = (
  { words }: MachineMemory,
  eptPointerLow: number,
  eptPointerHigh: number,
  gpa: number,
  access: PagingAccess,
  forTable: boolean,
): EptResult => {
  const setsBits = (eptPointerLow & EPTP_ACCESSED_DIRTY) !== 0;
  // With accessed and dirty flags, accesses to paging-structure entries are treated as writes.
  const writes = access.write || (setsBits && forTable);
  let table = frameBase(eptPointerLow, eptPointerHigh);
  let permissions = EPT_READ | EPT_WRITE | EPT_EXECUTE;
  const wanted = access.execute ? EPT_EXECUTE : writes ? EPT_READ | EPT_WRITE : EPT_READ;
  const tried = access.write && !(setsBits && forTable) ? EPT_WRITE : wanted;
  const violation = (allowed: number): EptResult => ({
    kind: 'violation',
    access: tried,
    permissions: allowed,
  });
  if (gpa >= 2 ** 48) return violation(0);
  for (let level = 0; level < SHIFTS.length; level += 1) {
    const shift = SHIFTS[level] ?? 0;
    const index = indexAt(gpa | 0, Math.floor(gpa / TWO_32), shift, 8);
    const host = hostAddressOf((table + index * 8) as Maddr);
    const low = words[host >>> 2] ?? 0;
    const high = words[(host + 4) >>> 2] ?? 0;
    const isLeaf = shift === 12 || ((low & LARGE) !== 0 && shift !== 39);
    if ((low & 7) === 0) return violation(0);
    if (isMisconfigured(low, high, shift, isLeaf)) return { kind: 'misconfiguration' };
    permissions &= low;
    visitedHosts[level] = host;
    table = frameBase(low, high);
    if (!isLeaf) continue;
    if ((permissions & wanted) !== wanted) return violation(permissions);
    if (setsBits) setAccessedAndDirty(words, level, writes);
    const pageBytes = 1 << shift;
    const base = table - (low & 0xffff_f000 & (pageBytes - 1));
    return { kind: 'page', maddr: (base + (gpa & (pageBytes - 1))) as Maddr, pageBytes };
  }
  return violation(0);
};

/**
 * The exit qualification of an EPT violation. Bit 7: the guest linear address is valid, which it is
 * not for the load of PDPTE registers; bit 8: the access was to the translated address itself.
 */
export const violationQualification = (
  { access, permissions }: EptViolation,
  hasLinear: boolean,
  forTable: boolean,
): number => access | (permissions << 3) | (hasLinear ? 0x80 | (forTable ? 0 : 0x100) : 0);

const frameBase = (low: number, high: number): number =>
  (high & 0x000f_ffff) * TWO_32 + ((low & 0xffff_f000) >>> 0);

const isMisconfigured = (low: number, high: number, shift: number, isLeaf: boolean): boolean => {
  // Writable without readable. Execute-only is not supported here, so it is one too.
  if ((low & EPT_READ) === 0) return true;
  if ((high & RESERVED_HIGH) !== 0) return true;
  if (!isLeaf) return (low & (shift === 39 ? 0xf8 : 0x78)) !== 0;
  if (((RESERVED_TYPES >> ((low >> 3) & 7)) & 1) === 1) return true;
  return shift !== 12 && (low & ((1 << shift) - 1) & ~0xfff) !== 0;
};

const setAccessedAndDirty = (words: Int32Array, last: number, write: boolean): void => {
  for (let level = 0; level <= last; level += 1) {
    const slot = (visitedHosts[level] ?? 0) >>> 2;
    words[slot] = (words[slot] ?? 0) | ACCESSED | (level === last && write ? DIRTY : 0);
  }
};
