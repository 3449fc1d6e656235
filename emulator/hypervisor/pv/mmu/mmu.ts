/**
 * What the parts of direct paging share: machine memory, the counts of its frames, and why the last
 * operation was refused.
 */

import { RAM } from '../../../cpu/state.ts';
import type { Mfn } from '../../../memory/addresses.ts';
import type { MachineMemory } from '../../../memory/machine-memory.ts';
import { type Frames, OWNER_FREE } from '../../frames.ts';
import type { ErrorName } from '../../hypercalls/hypercall.ts';
import { entryOf } from './entries.ts';
import type { M2p } from './m2p.ts';
import type { PageTypes } from './page-types.ts';

/** Why the hypervisor does not do what a guest asked for. */
export interface Refusal {
  readonly error: ErrorName;
  /** The frame it is about: a table, or what an entry leads to. */
  readonly mfn: number;
  /** Of the table with the entry, 1 to 4; 0 if it is not about an entry. */
  readonly level: number;
  readonly entry: bigint | undefined;
  /** A sentence. */
  readonly reason: string;
}

export interface Mmu {
  readonly memory: MachineMemory;
  readonly frames: Frames;
  readonly pages: PageTypes;
  readonly m2p: M2p;
  /** Tells the processor of machine memory that was written. */
  written(maddr: number, lengthBytes: number): void;
  /** Whether the domain does not see machine frames: it is not PV. */
  isTranslated(domain: number): boolean;
  /** The machine frame at a gfn of a domain that is not PV. */
  frameOfGfn(domain: number, gfn: number): Mfn | undefined;
  /** The L3 table for slot 260 of a domain's L4 tables; undefined: none. */
  perDomainTable(domain: number): Mfn | undefined;
  /** VMASST_TYPE_m2p_strict: user-mode tables do not show the M2P. */
  hidesM2p(domain: number): boolean;
  /** The last one; whoever finds it still there after an operation has failed tells of it. */
  refusal: Refusal | undefined;
}

/** Refuses something that is not about an entry. */
export const refuse = (mmu: Mmu, error: ErrorName, mfn: number, reason: string): ErrorName => {
  mmu.refusal = { error, mfn, level: 0, entry: undefined, reason };
  return error;
};

export const refuseEntry = (
  mmu: Mmu,
  error: ErrorName,
  level: number,
  low: number,
  high: number,
  mfn: number,
  reason: string,
): ErrorName => {
  mmu.refusal = { error, mfn, level, entry: entryOf(low, high), reason };
  return error;
};

/** Index of the low half of an entry in the words of machine memory. */
export const wordOf = (mfn: number, slot: number): number => ((RAM + mfn * 4096) >>> 2) + slot * 2;

export const exists = ({ frames }: Mmu, mfn: number): boolean => mfn < frames.owners.length;

/** get_page: a reference to a frame of this domain's; false if it has no such frame. */
export const holdOwn = ({ frames }: Mmu, mfn: number, domain: number): boolean => {
  if (mfn >= frames.owners.length || frames.owners[mfn] !== domain) return false;
  frames.hold(mfn);
  return true;
};

const hex = (value: number): string => `0x${value.toString(16)}`;

/** "frame 0x123 of domain 2". */
export const nameOfFrame = ({ frames }: Mmu, mfn: number): string => {
  const owner = frames.owners[mfn];
  if (owner === undefined) return `frame ${hex(mfn)}, which is not in the machine's memory`;
  if (owner === OWNER_FREE) return `frame ${hex(mfn)}, which is free`;
  return owner < 0x7ff0
    ? `frame ${hex(mfn)} of domain ${owner}`
    : `frame ${hex(mfn)} of the hypervisor`;
};
