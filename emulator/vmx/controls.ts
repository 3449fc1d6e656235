/**
 * The controls of VMX that the processor offers, by the SDM's names, and the bits that must be 1.
 * Source: SDM Vol. 3C 24.6 to 24.8, Tables 24-5 to 24-13; Vol. 3D Appendix A.3 to A.5 (the TRUE
 * capability MSRs).
 */
import { vmcsEncodingOf } from './vmcs-fields.ts';

/** A field of controls: the bits that must be 1, and the position of each control. */
export interface ControlField {
  readonly field: string;
  readonly title: string;
  readonly mustBeOne: number;
  /** Without "activate secondary controls" all of them are 0. */
  readonly isSecondary?: boolean;
  readonly bits: Readonly<Record<string, number>>;
}

const pin = {
  field: 'PIN_BASED_CONTROLS',
  title: 'pin-based VM-execution controls',
  mustBeOne: 0x16,
  bits: {
    'external-interrupt exiting': 0,
    'NMI exiting': 3,
    'virtual NMIs': 5,
    'activate VMX-preemption timer': 6,
  },
} as const satisfies ControlField;

const primary = {
  field: 'PRIMARY_PROCESSOR_BASED_CONTROLS',
  title: 'primary processor-based VM-execution controls',
  mustBeOne: 0x0400_6172,
  bits: {
    'interrupt-window exiting': 2,
    'use TSC offsetting': 3,
    'HLT exiting': 7,
    'INVLPG exiting': 9,
    'RDPMC exiting': 11,
    'RDTSC exiting': 12,
    'CR3-load exiting': 15,
    'CR3-store exiting': 16,
    'CR8-load exiting': 19,
    'CR8-store exiting': 20,
    'NMI-window exiting': 22,
    'MOV-DR exiting': 23,
    'unconditional I/O exiting': 24,
    'use I/O bitmaps': 25,
    'monitor trap flag': 27,
    'use MSR bitmaps': 28,
    'PAUSE exiting': 30,
    'activate secondary controls': 31,
  },
} as const satisfies ControlField;

const secondary = {
  field: 'SECONDARY_PROCESSOR_BASED_CONTROLS',
  title: 'secondary processor-based VM-execution controls',
  mustBeOne: 0,
  isSecondary: true,
  bits: {
    'enable EPT': 1,
    'descriptor-table exiting': 2,
    'enable RDTSCP': 3,
    'enable VPID': 5,
    'WBINVD exiting': 6,
    'unrestricted guest': 7,
    'enable INVPCID': 12,
    'use TSC scaling': 25,
  },
} as const satisfies ControlField;

const exit = {
  field: 'EXIT_CONTROLS',
  title: 'primary VM-exit controls',
  mustBeOne: 0x3_6dfb,
  bits: {
    'save debug controls': 2,
    'host address-space size': 9,
    'acknowledge interrupt on exit': 15,
    'save IA32_PAT': 18,
    'load IA32_PAT on exit': 19,
    'save IA32_EFER': 20,
    'load IA32_EFER on exit': 21,
    'save VMX-preemption timer value': 22,
  },
} as const satisfies ControlField;

const entry = {
  field: 'ENTRY_CONTROLS',
  title: 'VM-entry controls',
  mustBeOne: 0x11fb,
  bits: {
    'load debug controls': 2,
    'IA-32e mode guest': 9,
    'load IA32_PAT': 14,
    'load IA32_EFER': 15,
  },
} as const satisfies ControlField;

export type ControlName =
  | keyof typeof pin.bits
  | keyof typeof primary.bits
  | keyof typeof secondary.bits
  | keyof typeof exit.bits
  | keyof typeof entry.bits;

export const CONTROL_FIELDS: readonly ControlField[] = [pin, primary, secondary, exit, entry];

/** Where a control is: encoding of its field, and its bit there as a 32-bit mask. */
export interface ControlPlace {
  readonly field: number;
  readonly bit: number;
  readonly isSecondary: boolean;
}

const places = new Map<string, ControlPlace>(
  CONTROL_FIELDS.flatMap((group) =>
    Object.entries(group.bits).map(([name, position]): [string, ControlPlace] => [
      name,
      {
        field: vmcsEncodingOf(group.field),
        bit: 1 << position,
        isSecondary: group === secondary,
      },
    ]),
  ),
);

export const controlOf = (name: ControlName): ControlPlace => {
  const place = places.get(name);
  if (place === undefined) throw new Error(`There is no control "${name}".`);
  return place;
};

/** The bits of a field of controls that may be 1; all others must be 0. */
export const allowedBitsOf = ({ mustBeOne, bits }: ControlField): number =>
  Object.values(bits).reduce((sum, position) => (sum | (1 << position)) >>> 0, mustBeOne);
