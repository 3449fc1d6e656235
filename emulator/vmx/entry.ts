/**
 * The checks of VM entry: the first rule that a VMCS breaks, in words, and how the entry fails.
 * Source: SDM Vol. 3C 26.2 "Checks on VMX Controls and Host-State Area", 26.3.1 "Checks on the Guest
 * State Area", 26.8 "VM-Entry Failures During or After Loading Guest State". The host-state area is
 * not checked: the hypervisor that is returned to is no code of this machine.
 */
import { CONTROL_RULES } from './control-rules.ts';
import { type ControlName, type ControlPlace, controlOf } from './controls.ts';
import { brokenRule, type EntryFields } from './entry-rules.ts';
import { GUEST_STATE_RULES, hasBadPointers } from './guest-state-rules.ts';
import { brokenSegmentRule } from './segment-rules.ts';
import { vmcsEncodingOf } from './vmcs-fields.ts';

/**
 * Bad controls: VMfailValid, the guest is not entered. Bad guest state: a VM exit with reason 33 and
 * this qualification (SDM Vol. 3C 26.8).
 */
export type EntryRefusal =
  | { readonly kind: 'controls'; readonly words: string }
  | { readonly kind: 'guest-state'; readonly words: string; readonly qualification: bigint };

const NO_DETAILS = 0n;
const NO_POINTER = 0xffff_ffff_ffff_ffffn;
/** There is no VMCS shadowing, and no SMM, for which it could point to a VMCS. */
const BAD_LINK: EntryRefusal = {
  kind: 'guest-state',
  words: 'The VMCS link pointer must be all ones.',
  qualification: 4n,
};

/** The refusal of the page-directory pointers, which are in the VMCS or in memory. */
export const BAD_POINTERS: EntryRefusal = {
  kind: 'guest-state',
  words: 'A present page-directory-pointer-table entry has reserved bits set.',
  qualification: 2n,
};
/** Why VM entry with these fields fails; undefined if it succeeds. */
export const refusalOfEntry = (read: (encoding: number) => bigint): EntryRefusal | undefined => {
  const vmcs = fieldsOf(read);
  const controls = brokenRule(CONTROL_RULES, vmcs);
  return controls === undefined ? refusalOfGuest(vmcs) : { kind: 'controls', words: controls };
};

/** What is wrong with the guest-state area, for one who has the exit; undefined if nothing is. */
export const objectionToGuestState = (read: (encoding: number) => bigint): string | undefined =>
  refusalOfGuest(fieldsOf(read))?.words;

const refusalOfGuest = (vmcs: EntryFields): EntryRefusal | undefined => {
  const words = brokenRule(GUEST_STATE_RULES, vmcs) ?? brokenSegmentRule(vmcs);
  if (words !== undefined) return { kind: 'guest-state', words, qualification: NO_DETAILS };
  if (vmcs.get('VMCS_LINK_POINTER') !== NO_POINTER) return BAD_LINK;
  return hasBadPointers(vmcs) ? BAD_POINTERS : undefined;
};

const ACTIVATION = controlOf('activate secondary controls');

/** Fields are read once, however many rules look at them. */
const fieldsOf = (read: (encoding: number) => bigint): EntryFields => {
  const known = new Map<string, bigint>();
  const controls = new Map<number, number>();
  const get = (name: string): bigint => {
    let value = known.get(name);
    if (value === undefined) {
      value = read(vmcsEncodingOf(name));
      known.set(name, value);
    }
    return value;
  };
  const isSet = ({ field, bit }: ControlPlace): boolean => {
    let value = controls.get(field);
    if (value === undefined) {
      value = Number(read(field) & 0xffff_ffffn);
      controls.set(field, value);
    }
    return (value & bit) !== 0;
  };
  return {
    get,
    has: (name: ControlName) => {
      const place = controlOf(name);
      return (!place.isSecondary || isSet(ACTIVATION)) && isSet(place);
    },
  };
};
