/**
 * The form of the rules that VM entry checks: SDM Vol. 3C 26.2 "Checks on VMX Controls and
 * Host-State Area", 26.3.1 "Checks on the Guest State Area".
 */
import { PHYSICAL_ADDRESS_BITS } from '../cpu/paging.ts';
import type { ControlName } from './controls.ts';

/** The VMCS as rules see it. */
export interface EntryFields {
  /** A field by its name in the field table. */
  get(name: string): bigint;
  /** Whether a control is 1; secondary controls are 0 unless activated. */
  has(control: ControlName): boolean;
}

export interface EntryRule {
  readonly breaks: (vmcs: EntryFields) => boolean;
  /** What is wrong, as a sentence. */
  readonly words: string;
}

/** The sentence of the first rule that the VMCS breaks; undefined if it breaks none. */
export const brokenRule = (rules: readonly EntryRule[], vmcs: EntryFields): string | undefined =>
  rules.find(({ breaks }) => breaks(vmcs))?.words;

/** Whether some of the bits are set. */
export const hasAny = (value: bigint, bits: bigint): boolean => (value & bits) !== 0n;

export const isCanonical = (value: bigint): boolean =>
  BigInt.asUintN(64, BigInt.asIntN(48, value)) === value;

const PHYSICAL_WIDTH = BigInt(PHYSICAL_ADDRESS_BITS);

/** Whether an address has bits that no physical address has. */
export const isBeyondPhysical = (address: bigint): boolean => address >> PHYSICAL_WIDTH !== 0n;

/** Whether an address is that of a whole frame of machine memory. */
export const isFrameAddress = (address: bigint): boolean =>
  (address & 0xfffn) === 0n && !isBeyondPhysical(address);
