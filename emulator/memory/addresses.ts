/**
 * The kinds of address, each its own type, so that one cannot be passed for another.
 *
 *   gva    what an instruction names        bigint, canonical
 *   gpa    what the guest's paging yields   number, < 2^52
 *   maddr  what the P2M yields              number, < 2^52
 *   gfn, mfn   frame numbers of gpa, maddr
 *
 * Physical addresses have at most 52 bits (SDM Vol. 3A 4.1.4 "Enumeration of Paging Features
 * by CPUID"), so a number holds them exactly; but `&`, `|` and `>>` would cut them to 32 bits.
 * Their arithmetic lives here alone.
 */
declare const brand: unique symbol;
export type Branded<Base, Name extends string> = Base & { readonly [brand]: Name };

export type Gva = Branded<bigint, 'gva'>;
export type Gpa = Branded<number, 'gpa'>;
export type Maddr = Branded<number, 'maddr'>;
export type Gfn = Branded<number, 'gfn'>;
export type Mfn = Branded<number, 'mfn'>;

export const PAGE_BYTES = 4096;
export const PAGE_BITS = 12;

export const gva = (value: bigint): Gva => BigInt.asUintN(64, value) as Gva;
export const gfnOf = (address: Gpa): Gfn => Math.floor(address / PAGE_BYTES) as Gfn;
export const mfnOf = (address: Maddr): Mfn => Math.floor(address / PAGE_BYTES) as Mfn;
export const gpaOf = (frame: Gfn, offset = 0): Gpa => (frame * PAGE_BYTES + offset) as Gpa;
export const maddrOf = (frame: Mfn, offset = 0): Maddr => (frame * PAGE_BYTES + offset) as Maddr;
export const offsetInPage = (address: Gpa | Maddr): number => address % PAGE_BYTES;
