/**
 * The checks of VM entry on the VMX controls. One that fails makes VMLAUNCH or VMRESUME fail with
 * VM-instruction error 7; the guest is not entered.
 * Source: SDM Vol. 3C 26.2.1 "Checks on VMX Controls"; 30.4, Table 30-1.
 */
import { allowedBitsOf, CONTROL_FIELDS, type ControlField } from './controls.ts';
import {
  type EntryFields,
  type EntryRule,
  hasAny,
  isBeyondPhysical,
  isFrameAddress,
} from './entry-rules.ts';

/** VM entry with invalid control fields: SDM Vol. 3C Table 30-1. */
export const INVALID_CONTROLS = 7;

const CR3_TARGETS = 4n;
const VALID = 1n << 31n;
const HAS_CODE = 1n << 11n;
const RESERVED_INFORMATION = 0x7fff_f000n;
const NMI = 2n;
const HARDWARE_EXCEPTION = 3n;
const OTHER_EVENT = 7n;
const SOFTWARE_TYPES: readonly bigint[] = [4n, 5n, 6n];
/** #DF, #TS, #NP, #SS, #GP, #PF, #AC. */
const VECTORS_WITH_CODE: readonly bigint[] = [8n, 10n, 11n, 12n, 13n, 14n, 17n];
const LONGEST_INSTRUCTION = 15n;
const MSR_ENTRY_BYTES = 16n;
const EPTP_UNCACHEABLE = 0n;
const EPTP_WRITE_BACK = 6n;
/** A page walk of four levels. */
const EPTP_WALK = 3n;
const EPTP_RESERVED = 0xf80n;

/** Reserved bits of a field of controls: those that must be 1, and those that must be 0. */
const reservedBits = (control: ControlField): EntryRule => ({
  words: `The ${control.title} have reserved bits that are not as the processor wants them.`,
  breaks: ({ get, has }) => {
    if (control.isSecondary === true && !has('activate secondary controls')) return false;
    const value = get(control.field);
    const mustBeOne = BigInt(control.mustBeOne);
    return (value & mustBeOne) !== mustBeOne || hasAny(value, ~BigInt(allowedBitsOf(control)));
  },
});

const executionRules: readonly EntryRule[] = [
  {
    breaks: ({ get }) => get('CR3_TARGET_COUNT') > CR3_TARGETS,
    words: 'The CR3-target count is above 4.',
  },
  {
    breaks: ({ get, has }) =>
      has('use I/O bitmaps') && !['IO_BITMAP_A', 'IO_BITMAP_B'].map(get).every(isFrameAddress),
    words: 'An I/O-bitmap address is not that of a frame.',
  },
  {
    breaks: ({ get, has }) => has('use MSR bitmaps') && !isFrameAddress(get('MSR_BITMAPS')),
    words: 'The MSR-bitmap address is not that of a frame.',
  },
  {
    breaks: ({ has }) => has('virtual NMIs') && !has('NMI exiting'),
    words: '"virtual NMIs" needs "NMI exiting".',
  },
  {
    breaks: ({ has }) => has('NMI-window exiting') && !has('virtual NMIs'),
    words: '"NMI-window exiting" needs "virtual NMIs".',
  },
  {
    breaks: ({ get, has }) => has('enable VPID') && get('VPID') === 0n,
    words: '"enable VPID" is set, so the VPID must not be 0.',
  },
  {
    breaks: ({ get, has }) => has('enable EPT') && !isEptPointer(get('EPT_POINTER')),
    words: 'The EPT pointer has an unknown memory type, walk length or reserved bits set.',
  },
  {
    breaks: ({ has }) => has('unrestricted guest') && !has('enable EPT'),
    words: '"unrestricted guest" needs "enable EPT".',
  },
];

const isEptPointer = (pointer: bigint): boolean => {
  const type = pointer & 7n;
  return (
    (type === EPTP_UNCACHEABLE || type === EPTP_WRITE_BACK) &&
    ((pointer >> 3n) & 7n) === EPTP_WALK &&
    !hasAny(pointer, EPTP_RESERVED) &&
    !isBeyondPhysical(pointer)
  );
};

/** The area of MSRs that an exit or entry stores or loads. */
const msrArea = (name: 'EXIT_MSR_STORE' | 'EXIT_MSR_LOAD' | 'ENTRY_MSR_LOAD'): EntryRule => ({
  words: `The ${name.toLowerCase().replaceAll('_', ' ').replace('msr ', 'MSR-')} area is not aligned, or beyond the physical-address width.`,
  breaks: ({ get }) => {
    const count = get(`${name}_COUNT`);
    if (count === 0n) return false;
    const address = get(`${name}_ADDRESS`);
    return (
      hasAny(address, MSR_ENTRY_BYTES - 1n) ||
      isBeyondPhysical(address) ||
      isBeyondPhysical(address + count * MSR_ENTRY_BYTES - 1n)
    );
  },
});

const exitRules: readonly EntryRule[] = [
  {
    breaks: ({ has }) =>
      has('save VMX-preemption timer value') && !has('activate VMX-preemption timer'),
    words: '"save VMX-preemption timer value" needs "activate VMX-preemption timer".',
  },
  msrArea('EXIT_MSR_STORE'),
  msrArea('EXIT_MSR_LOAD'),
];

/** A rule on the event that is injected; it holds where there is none. */
const injection = (words: string, breaks: (event: bigint, vmcs: EntryFields) => boolean) => ({
  words,
  breaks: (vmcs: EntryFields) => {
    const event = vmcs.get('ENTRY_INTERRUPTION_INFORMATION');
    return hasAny(event, VALID) && breaks(event, vmcs);
  },
});

const typeOf = (event: bigint): bigint => (event >> 8n) & 7n;
const vectorOf = (event: bigint): bigint => event & 0xffn;

/** Whether the event has to have an error code. */
const needsCode = (event: bigint, { get, has }: EntryFields): boolean =>
  (!has('unrestricted guest') || hasAny(get('GUEST_CR0'), 1n)) &&
  typeOf(event) === HARDWARE_EXCEPTION &&
  VECTORS_WITH_CODE.includes(vectorOf(event));

const entryRules: readonly EntryRule[] = [
  injection(
    'The injected event has a reserved type or reserved bits set.',
    (event) => typeOf(event) === 1n || hasAny(event, RESERVED_INFORMATION),
  ),
  injection(
    'An NMI is injected with a vector other than 2.',
    (event) => typeOf(event) === NMI && vectorOf(event) !== 2n,
  ),
  injection(
    'A hardware exception is injected with a vector above 31.',
    (event) => typeOf(event) === HARDWARE_EXCEPTION && vectorOf(event) > 31n,
  ),
  injection(
    'A pending monitor trap flag is injected with a vector other than 0.',
    (event) => typeOf(event) === OTHER_EVENT && vectorOf(event) !== 0n,
  ),
  injection(
    'An error code is injected for an event that has none, or missing for one that has.',
    (event, vmcs) => hasAny(event, HAS_CODE) !== needsCode(event, vmcs),
  ),
  injection(
    'The injected error code has bits beyond 15 set.',
    (event, { get }) => hasAny(event, HAS_CODE) && get('ENTRY_EXCEPTION_ERROR_CODE') > 0xffffn,
  ),
  injection(
    'A software event is injected with an instruction length that is not 1 to 15.',
    (event, { get }) => {
      const length = get('ENTRY_INSTRUCTION_LENGTH');
      const isLength = length >= 1n && length <= LONGEST_INSTRUCTION;
      return SOFTWARE_TYPES.includes(typeOf(event)) && !isLength;
    },
  ),
  msrArea('ENTRY_MSR_LOAD'),
];

export const CONTROL_RULES: readonly EntryRule[] = [
  ...CONTROL_FIELDS.map(reservedBits),
  ...executionRules,
  ...exitRules,
  ...entryRules,
];
