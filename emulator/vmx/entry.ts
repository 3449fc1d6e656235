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
  dr7: vmcsEncodingOf('GUEST_DR7'),
  gdtrBase: vmcsEncodingOf('GUEST_GDTR_BASE'),
  idtrBase: vmcsEncodingOf('GUEST_IDTR_BASE'),
  gdtrLimit: vmcsEncodingOf('GUEST_GDTR_LIMIT'),
  idtrLimit: vmcsEncodingOf('GUEST_IDTR_LIMIT'),
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

const isCanonical = (value: bigint): boolean =>
  BigInt.asUintN(64, BigInt.asIntN(48, value)) === value;

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
  {
    breaks: (read) => {
      const injection = read(F.injection);
      const type = (injection >> 8n) & 7n;
      return has(injection, 1n << 31n) && (type === 1n || has(injection, 0x7fff_f000n));
    },
    words: 'The injected event has a reserved type or reserved bits set.',
  },
  {
    breaks: (read) => {
      const injection = read(F.injection);
      const isNmi = ((injection >> 8n) & 7n) === 2n;
      return has(injection, 1n << 31n) && isNmi && (injection & 0xffn) !== 2n;
    },
    words: 'An NMI is injected with a vector other than 2.',
  },
  {
    breaks: (read) => has(read(F.efer), ~0xd01n),
    words: 'IA32_EFER has reserved bits set.',
  },
  {
    breaks: (read) => has(read(F.interruptibility), ~0x1fn),
    words: 'The interruptibility state has reserved bits set.',
  },
  {
    breaks: (read) => has(read(F.interruptibility), 1n) && !has(read(F.rflags), 0x200n),
    words: 'Blocking by STI is set while RFLAGS.IF is clear.',
  },
  {
    breaks: (read) => read(F.activity) !== 0n && has(read(F.interruptibility), 3n),
    words: 'Blocking by STI or MOV SS is set while the processor is not active.',
  },
  { breaks: (read) => read(F.dr7) >> 32n !== 0n, words: 'DR7 has bits beyond 31 set.' },
  {
    breaks: (read) => !isCanonical(read(F.gdtrBase)) || !isCanonical(read(F.idtrBase)),
    words: 'The base of GDTR or IDTR is not canonical.',
  },
  {
    breaks: (read) => read(F.gdtrLimit) > 0xffffn || read(F.idtrLimit) > 0xffffn,
    words: 'The limit of GDTR or IDTR has bits beyond 15 set.',
  },
  {
    breaks: (read) => {
      const isLong = has(read(F.entry), IA32E_GUEST) && has(read(F.csRights), 1n << 13n);
      return isLong ? !isCanonical(read(F.rip)) : read(F.rip) >> 32n !== 0n;
    },
    words: 'RIP is beyond what the code segment allows.',
  },
  { breaks: (read) => read(F.link) !== NONE, words: 'The VMCS link pointer must be all ones.' },
];

/** Why VM entry fails; undefined if it succeeds. */
export const objectionToEntry = (read: Read): string | undefined =>
  RULES.find(({ breaks }) => breaks(read))?.words;
