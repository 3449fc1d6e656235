/**
 * The checks of VM entry on the guest-state area and the entry controls: the first rule that a
 * VMCS breaks, in words. SDM Vol. 3C 26.2.1.3 "VM-Entry Control Fields", 26.3.1 "Checks on the
 * Guest State Area".
 */
import { vmcsEncodingOf } from './vmcs-fields.ts';

type Read = (encoding: number) => bigint;

const F = {
  entry: vmcsEncodingOf('ENTRY_CONTROLS'),
  cr0: vmcsEncodingOf('GUEST_CR0'),
  cr3: vmcsEncodingOf('GUEST_CR3'),
  cr4: vmcsEncodingOf('GUEST_CR4'),
  efer: vmcsEncodingOf('GUEST_IA32_EFER'),
  rflags: vmcsEncodingOf('GUEST_RFLAGS'),
  rip: vmcsEncodingOf('GUEST_RIP'),
  csRights: vmcsEncodingOf('GUEST_CS_ACCESS_RIGHTS'),
  trRights: vmcsEncodingOf('GUEST_TR_ACCESS_RIGHTS'),
  activity: vmcsEncodingOf('GUEST_ACTIVITY_STATE'),
  interruptibility: vmcsEncodingOf('GUEST_INTERRUPTIBILITY_STATE'),
  link: vmcsEncodingOf('VMCS_LINK_POINTER'),
  injection: vmcsEncodingOf('ENTRY_INTERRUPTION_INFORMATION'),
} as const;

const IA32E_GUEST = 1n << 9n;
const CR0_PE = 1n;
const CR0_PG = 1n << 31n;
const CR4_PAE = 1n << 5n;
const CR4_VMXE = 1n << 13n;
const EFER_LME = 1n << 8n;
const EFER_LMA = 1n << 10n;
const NONE = 0xffff_ffff_ffff_ffffn;

interface Rule {
  readonly breaks: (read: Read) => boolean;
  readonly words: string;
}

const has = (value: bigint, bit: bigint): boolean => (value & bit) !== 0n;

const RULES: readonly Rule[] = [
  {
    breaks: (read) => has(read(F.cr0), CR0_PG) && !has(read(F.cr0), CR0_PE),
    words: 'CR0.PG is set and CR0.PE is clear.',
  },
  {
    breaks: (read) => !has(read(F.cr4), CR4_VMXE),
    words: 'CR4.VMXE must be set in the guest-state area.',
  },
  {
    breaks: (read) =>
      has(read(F.entry), IA32E_GUEST) && !(has(read(F.cr0), CR0_PG) && has(read(F.cr4), CR4_PAE)),
    words: '"IA-32e mode guest" is set, so CR0.PG and CR4.PAE must be set.',
  },
  {
    breaks: (read) => has(read(F.efer), EFER_LMA) !== has(read(F.entry), IA32E_GUEST),
    words: 'IA32_EFER.LMA differs from "IA-32e mode guest".',
  },
  {
    breaks: (read) =>
      has(read(F.cr0), CR0_PG) && has(read(F.efer), EFER_LMA) !== has(read(F.efer), EFER_LME),
    words: 'CR0.PG is set and IA32_EFER.LME differs from IA32_EFER.LMA.',
  },
  {
    breaks: (read) => read(F.cr3) >> 46n !== 0n,
    words: 'CR3 has bits beyond the physical-address width.',
  },
  { breaks: (read) => !has(read(F.rflags), 2n), words: 'Bit 1 of RFLAGS must be 1.' },
  {
    breaks: (read) => has(read(F.rflags), 0xffff_ffff_ffc0_8028n),
    words: 'RFLAGS has reserved bits set.',
  },
  {
    breaks: (read) => !has(read(F.csRights), 0x10n),
    words: 'CS must be a code or data segment (S = 1).',
  },
  { breaks: (read) => !has(read(F.csRights), 0x80n), words: 'CS must be present.' },
  {
    breaks: (read) => {
      const rights = read(F.csRights);
      return has(read(F.entry), IA32E_GUEST) && has(rights, 1n << 13n) && has(rights, 1n << 14n);
    },
    words: 'CS.L and CS.D/B are both set.',
  },
  {
    breaks: (read) =>
      has(read(F.trRights), 1n << 16n) || ![3n, 11n].includes(read(F.trRights) & 15n),
    words: 'TR must be usable and a busy TSS.',
  },
  { breaks: (read) => read(F.activity) > 3n, words: 'The activity state must be 0 to 3.' },
  {
    breaks: (read) => (read(F.interruptibility) & 3n) === 3n,
    words: 'Blocking by STI and by MOV SS are both set.',
  },
  {
    breaks: (read) =>
      has(read(F.injection), 1n << 31n) &&
      (read(F.injection) & 0x700n) === 0n &&
      !has(read(F.rflags), 0x200n),
    words: 'An external interrupt is injected while RFLAGS.IF is clear.',
  },
  { breaks: (read) => read(F.link) !== NONE, words: 'The VMCS link pointer must be all ones.' },
];

/** Why VM entry fails; undefined if it succeeds. */
export const objectionToEntry = (read: Read): string | undefined =>
  RULES.find(({ breaks }) => breaks(read))?.words;
