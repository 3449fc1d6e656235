/**
 * The hypervisor's own walk of a guest's page tables, in software and without a trace: no accessed
 * bits, no faults. Source: SDM Vol. 3A 4.2 to 4.5 (32-bit, PAE and 4-level paging).
 */
import type { WalkLevel, WalkResult } from '../machine.ts';
import { type Gpa, gfnOf, gva, type Maddr, type Mfn } from '../memory/addresses.ts';
import { hostAddressOf, type MachineMemory } from '../memory/machine-memory.ts';
import { type P2m, type P2mEntry, permissionsOf } from './p2m.ts';

/** What a guest's page tables lead to: guest-physical memory, or a PV guest's machine frames. */
export interface WalkStage extends Pick<P2m, 'lookup' | 'path'>, Partial<Pick<P2m, 'absentPage'>> {
  readonly isMachine?: true;
}

export const MACHINE_FRAMES: WalkStage = {
  isMachine: true,
  lookup: (gfn) => ({
    type: 'ram',
    mfn: gfn as number as Mfn,
    access: 7,
    pageBytes: 4096,
    entry: 0n,
  }),
  path: () => [],
};

export interface PagingState {
  readonly cr0: bigint;
  readonly cr3: bigint;
  readonly cr4: bigint;
  readonly efer: bigint;
  /** The PDPTE registers of PAE paging. */
  readonly pointers: readonly bigint[];
}

const CR0_PG = 1n << 31n;
const CR4_PAE = 1n << 5n;
const EFER_LMA = 1n << 10n;
const PRESENT = 1n;
const LARGE = 1n << 7n;
const XD = 1n << 63n;
const ADDRESS = 0x000f_ffff_ffff_f000n;

export const ENTRY_BITS: readonly (readonly [number, string])[] = [
  [0, 'P'],
  [1, 'R/W'],
  [2, 'U/S'],
  [3, 'PWT'],
  [4, 'PCD'],
  [5, 'A'],
  [6, 'D'],
  [7, 'PS'],
  [8, 'G'],
  [63, 'XD'],
];

type TableName = 'PML4E' | 'PDPTE' | 'PDE' | 'PTE';

/** Machine address of a guest-physical one; undefined where there is no readable memory. */
export const maddrOfGpa = (p2m: Pick<P2m, 'lookup'>, gpa: number): Maddr | undefined => {
  const { mfn } = p2m.lookup(gfnOf(gpa as Gpa));
  return mfn === undefined ? undefined : ((mfn * 4096 + (gpa % 4096)) as Maddr);
};

/**
 * Every level from a linear address to machine memory, with a verdict in words. The EPT entries of
 * each guest-physical address on the way come before what is read there, if `withEpt`.
 */
export const walkGuest = (
  memory: MachineMemory,
  p2m: WalkStage,
  state: PagingState,
  address: bigint,
  withEpt = false,
): WalkResult => {
  const levels: WalkLevel[] = [];
  const pushEpt = (gpa: number): void => {
    if (withEpt) levels.push(...eptLevels(p2m, gpa));
  };
  const target = gva(address);
  const stop = (verdict: string): WalkResult => ({
    gva: target,
    levels,
    gpa: undefined,
    maddr: undefined,
    pageBytes: undefined,
    permissions: '---',
    verdict,
  });
  const finish = (gpa: number, pageBytes: number, rights: Rights, how: string): WalkResult => {
    const second = p2m.lookup(gfnOf(gpa as Gpa));
    pushEpt(gpa);
    const combined = combine(rights, second);
    const maddr = maddrOfGpa(p2m, gpa);
    return {
      gva: target,
      levels,
      gpa: p2m.isMachine === true ? undefined : (gpa as Gpa),
      maddr,
      pageBytes: Math.min(pageBytes, second.pageBytes),
      permissions: combined,
      verdict:
        maddr === undefined
          ? `${how} leads to gpa 0x${gpa.toString(16)}, which the P2M calls ${second.type}: an access is an EPT violation.`
          : p2m.isMachine === true
            ? `${how} leads to machine address 0x${maddr.toString(16)}, ${combined}.`
            : `${how} leads to gpa 0x${gpa.toString(16)}, machine address 0x${maddr.toString(16)}, ${combined}.`,
    };
  };
  const all: Rights = { write: true, user: true, execute: true };
  if ((state.cr0 & CR0_PG) === 0n) {
    return finish(Number(address & 0xffff_ffffn), 4096, all, 'Paging is off; the address');
  }
  const long = (state.efer & EFER_LMA) !== 0n;
  const pae = (state.cr4 & CR4_PAE) !== 0n;
  if (long && BigInt.asUintN(64, BigInt.asIntN(48, address)) !== target) {
    return stop(`0x${target.toString(16)} is not canonical: an access is #GP(0) or #SS(0).`);
  }
  const names: TableName[] = long
    ? ['PML4E', 'PDPTE', 'PDE', 'PTE']
    : pae
      ? ['PDPTE', 'PDE', 'PTE']
      : ['PDE', 'PTE'];
  const indexBits = long || pae ? 9 : 10;
  const entryBytes = long || pae ? 8 : 4;
  let table = Number(state.cr3 & (long ? ADDRESS : pae ? 0xffff_ffe0n : 0xffff_f000n));
  const isRegister = (name: TableName): boolean => name === 'PDPTE' && pae && !long;
  let rights = all;
  for (const [depth, name] of names.entries()) {
    const shift = 12 + indexBits * (names.length - 1 - depth);
    const index = Number((target >> BigInt(shift)) & BigInt(2 ** indexBits - 1));
    const entryAddress = table + index * entryBytes;
    const entry = isRegister(name)
      ? (state.pointers[index] ?? 0n)
      : readEntry(memory, p2m, entryAddress, entryBytes);
    pushEpt(entryAddress);
    if (entry === undefined) {
      const second = p2m.lookup(gfnOf(entryAddress as Gpa));
      return stop(
        `The ${name} would be at gpa 0x${entryAddress.toString(16)}, which is ${second.type}: an EPT violation.`,
      );
    }
    levels.push({
      table: name,
      entryAddress,
      entry,
      bits: ENTRY_BITS.filter(([bit]) => (entry >> BigInt(bit)) & 1n).map(([, bit]) => bit),
      gpa: undefined,
    });
    if ((entry & PRESENT) === 0n) {
      const kind = p2m.isMachine === true ? 'maddr' : 'gpa';
      return stop(`The ${name} at ${kind} 0x${entryAddress.toString(16)} is not present: #PF.`);
    }
    if (!isRegister(name)) {
      rights = {
        write: rights.write && (entry & 2n) !== 0n,
        user: rights.user && (entry & 4n) !== 0n,
        execute: rights.execute && (entry & XD) === 0n,
      };
    }
    const isLarge = (name === 'PDE' || (name === 'PDPTE' && long)) && (entry & LARGE) !== 0n;
    if (name === 'PTE' || isLarge) {
      const pageBytes = 2 ** shift;
      const base = Number(entry & ADDRESS & ~BigInt(pageBytes - 1));
      return finish(base + Number(target & BigInt(pageBytes - 1)), pageBytes, rights, 'The walk');
    }
    table = Number(entry & ADDRESS);
  }
  return stop('The walk has no end.');
};

const readEntry = (
  memory: MachineMemory,
  p2m: WalkStage,
  gpa: number,
  entryBytes: 4 | 8,
): bigint | undefined => {
  const maddr = maddrOfGpa(p2m, gpa);
  if (maddr !== undefined && maddr + entryBytes > memory.ramBytes) return undefined;
  const away = maddr === undefined ? p2m.absentPage?.(gfnOf(gpa as Gpa)) : undefined;
  if (maddr === undefined && away === undefined) return undefined;
  const view =
    away === undefined ? memory.view : new DataView(away.buffer, away.byteOffset, away.length);
  const at = maddr === undefined ? gpa % 4096 : hostAddressOf(maddr);
  return entryBytes === 8 ? view.getBigUint64(at, true) : BigInt(view.getUint32(at, true));
};

interface Rights {
  readonly write: boolean;
  readonly user: boolean;
  readonly execute: boolean;
}

const combine = (rights: Rights, { access }: P2mEntry): string => {
  const own = (rights.write ? 7 : 5) & (rights.execute ? 7 : 3);
  return `${permissionsOf(own & access)}${rights.user ? 'u' : 's'}`;
};

/** Bits of EPT entries: SDM Vol. 3C 28.3.2, Tables 28-1 to 28-7. */
const EPT_BITS: readonly (readonly [number, string])[] = [
  [0, 'R'],
  [1, 'W'],
  [2, 'X'],
  [7, 'PS'],
  [8, 'A'],
  [9, 'D'],
];

const eptLevels = (p2m: Pick<P2m, 'path'>, gpa: number): WalkLevel[] =>
  p2m.path(gfnOf(gpa as Gpa)).map(({ table, maddr, entry }) => ({
    table,
    entryAddress: maddr,
    entry,
    bits: EPT_BITS.filter(([bit]) => (entry >> BigInt(bit)) & 1n).map(([, name]) => name),
    gpa: gpa as Gpa,
  }));
