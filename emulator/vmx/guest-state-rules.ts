/**
 * The checks of VM entry on the guest-state area but for its segment registers. One that fails makes
 * a VM exit with reason 33.
 * Source: SDM Vol. 3C 26.3.1.1 "Checks on Guest Control Registers, Debug Registers, and MSRs",
 * 26.3.1.3 to 26.3.1.6; what CR0 and CR4 must have: 23.8 "Restrictions on VMX Operation".
 */
import { isPat } from '../cpu/msrs.ts';
import { CR4_DEFINED } from '../cpu/operations/registers.ts';
import {
  type EntryFields,
  type EntryRule,
  hasAny,
  isBeyondPhysical,
  isCanonical,
} from './entry-rules.ts';

const CR0_PE = 1n;
const CR0_NE = 1n << 5n;
const CR0_PG = 1n << 31n;
const CR4_PAE = 1n << 5n;
const CR4_VMXE = 1n << 13n;
const EFER_DEFINED = 0xd01n;
const EFER_LME = 1n << 8n;
const EFER_LMA = 1n << 10n;
/** LBR, BTF, TR, BTS, BTINT, BTS_OFF_OS, BTS_OFF_USR, freeze bits. */
const DEBUGCTL_RESERVED = ~0xffc3n;
const DEBUGCTL_BTF = 2n;
const RFLAGS_RESERVED = 0xffff_ffff_ffc0_8028n;
const RFLAGS_TF = 1n << 8n;
const RFLAGS_IF = 1n << 9n;
const RFLAGS_VM = 1n << 17n;
const CS_LONG = 1n << 13n;
const BLOCKED_BY_STI = 1n;
const BLOCKED_BY_MOV_SS = 2n;
const BLOCKED_BY_STI_OR_MOV_SS = 3n;
const BLOCKED_NMI = 8n;
/** Blocking by SMI needs system-management mode, the enclave bit an enclave: neither is here. */
const BLOCKING_DEFINED = BLOCKED_BY_STI_OR_MOV_SS | BLOCKED_NMI;
const ACTIVE = 0n;
const HLT = 1n;
const SHUTDOWN = 2n;
const WAIT_FOR_SIPI = 3n;
/** B3 to B0, enabled breakpoint, single step. */
const PENDING_DEFINED = 0x500fn;
const PENDING_BS = 1n << 14n;
const VALID = 1n << 31n;
const PDPTE_RESERVED = 0x1e6n;
const PDPTES = ['GUEST_PDPTE0', 'GUEST_PDPTE1', 'GUEST_PDPTE2', 'GUEST_PDPTE3'];

const isLong = ({ has }: EntryFields): boolean => has('IA-32e mode guest');
const usesPaging = ({ get }: EntryFields): boolean => hasAny(get('GUEST_CR0'), CR0_PG);

const registerRules: readonly EntryRule[] = [
  {
    breaks: ({ get }) => get('GUEST_CR0') >> 32n !== 0n || !hasAny(get('GUEST_CR0'), CR0_NE),
    words: 'CR0.NE must be set in the guest-state area, and bits 63:32 clear.',
  },
  {
    breaks: ({ get, has }) =>
      !has('unrestricted guest') && (get('GUEST_CR0') & (CR0_PE | CR0_PG)) !== (CR0_PE | CR0_PG),
    words: 'CR0.PE and CR0.PG must be set without "unrestricted guest".',
  },
  {
    breaks: (vmcs) => usesPaging(vmcs) && !hasAny(vmcs.get('GUEST_CR0'), CR0_PE),
    words: 'CR0.PG is set and CR0.PE is clear.',
  },
  {
    breaks: ({ get }) => !hasAny(get('GUEST_CR4'), CR4_VMXE),
    words: 'CR4.VMXE must be set in the guest-state area.',
  },
  {
    breaks: ({ get }) => hasAny(get('GUEST_CR4'), ~CR4_DEFINED),
    words: 'CR4 has bits set that the processor does not have.',
  },
  {
    breaks: ({ get, has }) =>
      has('load debug controls') && hasAny(get('GUEST_IA32_DEBUGCTL'), DEBUGCTL_RESERVED),
    words: 'IA32_DEBUGCTL has reserved bits set.',
  },
  {
    breaks: (vmcs) => isLong(vmcs) && !(usesPaging(vmcs) && hasAny(vmcs.get('GUEST_CR4'), CR4_PAE)),
    words: '"IA-32e mode guest" is set, so CR0.PG and CR4.PAE must be set.',
  },
  {
    breaks: ({ get }) => isBeyondPhysical(get('GUEST_CR3')),
    words: 'CR3 has bits beyond the physical-address width.',
  },
  {
    breaks: ({ get, has }) => has('load debug controls') && get('GUEST_DR7') >> 32n !== 0n,
    words: 'DR7 has bits beyond 31 set.',
  },
  {
    breaks: ({ get }) =>
      !isCanonical(get('GUEST_IA32_SYSENTER_ESP')) || !isCanonical(get('GUEST_IA32_SYSENTER_EIP')),
    words: 'IA32_SYSENTER_ESP or IA32_SYSENTER_EIP is not canonical.',
  },
  {
    breaks: ({ get, has }) => has('load IA32_PAT') && !isPat(get('GUEST_IA32_PAT')),
    words: 'IA32_PAT has a reserved memory type.',
  },
];

/** Rules that hold if VM entry loads IA32_EFER. */
const eferRules: readonly EntryRule[] = [
  {
    breaks: ({ get, has }) =>
      has('load IA32_EFER') && hasAny(get('GUEST_IA32_EFER'), ~EFER_DEFINED),
    words: 'IA32_EFER has reserved bits set.',
  },
  {
    breaks: (vmcs) =>
      vmcs.has('load IA32_EFER') && hasAny(vmcs.get('GUEST_IA32_EFER'), EFER_LMA) !== isLong(vmcs),
    words: 'IA32_EFER.LMA differs from "IA-32e mode guest".',
  },
  {
    breaks: (vmcs) => {
      const efer = vmcs.get('GUEST_IA32_EFER');
      const differs = hasAny(efer, EFER_LMA) !== hasAny(efer, EFER_LME);
      return vmcs.has('load IA32_EFER') && usesPaging(vmcs) && differs;
    },
    words: 'CR0.PG is set and IA32_EFER.LME differs from IA32_EFER.LMA.',
  },
];

const tableRules: readonly EntryRule[] = [
  {
    breaks: ({ get }) =>
      !isCanonical(get('GUEST_GDTR_BASE')) || !isCanonical(get('GUEST_IDTR_BASE')),
    words: 'The base of GDTR or IDTR is not canonical.',
  },
  {
    breaks: ({ get }) => get('GUEST_GDTR_LIMIT') > 0xffffn || get('GUEST_IDTR_LIMIT') > 0xffffn,
    words: 'The limit of GDTR or IDTR has bits beyond 15 set.',
  },
];

/** Type of the injected event; undefined if there is none. */
const injectedType = ({ get }: EntryFields): bigint | undefined => {
  const event = get('ENTRY_INTERRUPTION_INFORMATION');
  return hasAny(event, VALID) ? (event >> 8n) & 7n : undefined;
};
const EXTERNAL = 0n;
const NMI = 2n;
const HARDWARE_EXCEPTION = 3n;
const OTHER_EVENT = 7n;
const DB = 1n;
const MC = 18n;

/** Whether an event may be injected into a processor that is not active. */
const mayWake = (vmcs: EntryFields, activity: bigint): boolean => {
  const vector = vmcs.get('ENTRY_INTERRUPTION_INFORMATION') & 0xffn;
  switch (injectedType(vmcs)) {
    case undefined:
      return true;
    case NMI:
      return activity !== WAIT_FOR_SIPI;
    case HARDWARE_EXCEPTION:
      return activity === HLT
        ? vector === DB || vector === MC
        : activity === SHUTDOWN && vector === MC;
    case EXTERNAL:
    case OTHER_EVENT:
      return activity === HLT;
    default:
      return false;
  }
};

const flagRules: readonly EntryRule[] = [
  {
    breaks: ({ get, has }) => {
      const rip = get('GUEST_RIP');
      const is64Bit = has('IA-32e mode guest') && hasAny(get('GUEST_CS_ACCESS_RIGHTS'), CS_LONG);
      // Bit 47 may differ from bits 63:48: code may have run up to the end of its half.
      return is64Bit ? rip >> 48n !== 0n && rip >> 48n !== 0xffffn : rip >> 32n !== 0n;
    },
    words: 'RIP is beyond what the code segment allows.',
  },
  {
    breaks: ({ get }) => !hasAny(get('GUEST_RFLAGS'), 2n),
    words: 'Bit 1 of RFLAGS must be 1.',
  },
  {
    breaks: ({ get }) => hasAny(get('GUEST_RFLAGS'), RFLAGS_RESERVED),
    words: 'RFLAGS has reserved bits set.',
  },
  {
    breaks: (vmcs) =>
      hasAny(vmcs.get('GUEST_RFLAGS'), RFLAGS_VM) &&
      (isLong(vmcs) || !hasAny(vmcs.get('GUEST_CR0'), CR0_PE)),
    words: 'RFLAGS.VM is set in a mode that has no virtual-8086 mode.',
  },
  {
    breaks: (vmcs) =>
      injectedType(vmcs) === EXTERNAL && !hasAny(vmcs.get('GUEST_RFLAGS'), RFLAGS_IF),
    words: 'An external interrupt is injected while RFLAGS.IF is clear.',
  },
];

const blockingOf = ({ get }: EntryFields): bigint => get('GUEST_INTERRUPTIBILITY_STATE');

const activityRules: readonly EntryRule[] = [
  {
    breaks: ({ get }) => get('GUEST_ACTIVITY_STATE') > WAIT_FOR_SIPI,
    words: 'The activity state must be 0 to 3.',
  },
  {
    breaks: ({ get }) =>
      get('GUEST_ACTIVITY_STATE') === HLT && hasAny(get('GUEST_SS_ACCESS_RIGHTS'), 0x60n),
    words: 'The activity state is HLT at a privilege level other than 0.',
  },
  {
    breaks: (vmcs) =>
      vmcs.get('GUEST_ACTIVITY_STATE') !== ACTIVE &&
      hasAny(blockingOf(vmcs), BLOCKED_BY_STI_OR_MOV_SS),
    words: 'Blocking by STI or MOV SS is set while the processor is not active.',
  },
  {
    breaks: (vmcs) => {
      const activity = vmcs.get('GUEST_ACTIVITY_STATE');
      return activity !== ACTIVE && !mayWake(vmcs, activity);
    },
    words: 'The injected event may not be delivered in this activity state.',
  },
];

const interruptibilityRules: readonly EntryRule[] = [
  {
    breaks: (vmcs) => hasAny(blockingOf(vmcs), ~BLOCKING_DEFINED),
    words: 'The interruptibility state has reserved bits set.',
  },
  {
    breaks: (vmcs) => (blockingOf(vmcs) & BLOCKED_BY_STI_OR_MOV_SS) === BLOCKED_BY_STI_OR_MOV_SS,
    words: 'Blocking by STI and by MOV SS are both set.',
  },
  {
    breaks: (vmcs) =>
      hasAny(blockingOf(vmcs), BLOCKED_BY_STI) && !hasAny(vmcs.get('GUEST_RFLAGS'), RFLAGS_IF),
    words: 'Blocking by STI is set while RFLAGS.IF is clear.',
  },
  {
    breaks: (vmcs) =>
      injectedType(vmcs) === EXTERNAL && hasAny(blockingOf(vmcs), BLOCKED_BY_STI_OR_MOV_SS),
    words: 'An external interrupt is injected while STI or MOV SS blocks it.',
  },
  {
    breaks: (vmcs) => injectedType(vmcs) === NMI && hasAny(blockingOf(vmcs), BLOCKED_BY_MOV_SS),
    words: 'An NMI is injected while MOV SS blocks it.',
  },
  {
    breaks: (vmcs) =>
      injectedType(vmcs) === NMI &&
      vmcs.has('virtual NMIs') &&
      hasAny(blockingOf(vmcs), BLOCKED_NMI),
    words: 'An NMI is injected while NMIs are blocked.',
  },
];

/** Whether pending debug exceptions are held back, so that a single step has to be among them. */
const holdsTraps = (vmcs: EntryFields): boolean =>
  hasAny(blockingOf(vmcs), BLOCKED_BY_STI_OR_MOV_SS) || vmcs.get('GUEST_ACTIVITY_STATE') === HLT;

const pendingRules: readonly EntryRule[] = [
  {
    breaks: ({ get }) => hasAny(get('GUEST_PENDING_DEBUG_EXCEPTIONS'), ~PENDING_DEFINED),
    words: 'The pending debug exceptions have reserved bits set.',
  },
  {
    breaks: (vmcs) => {
      const steps =
        hasAny(vmcs.get('GUEST_RFLAGS'), RFLAGS_TF) &&
        !hasAny(vmcs.get('GUEST_IA32_DEBUGCTL'), DEBUGCTL_BTF);
      const isPending = hasAny(vmcs.get('GUEST_PENDING_DEBUG_EXCEPTIONS'), PENDING_BS);
      return holdsTraps(vmcs) && steps !== isPending;
    },
    words: 'The pending single-step trap does not fit RFLAGS.TF while traps are held back.',
  },
];

/** Rules on the guest-state area, but for segments, the VMCS link pointer and the PDPTE fields. */
export const GUEST_STATE_RULES: readonly EntryRule[] = [
  ...registerRules,
  ...eferRules,
  ...tableRules,
  ...flagRules,
  ...activityRules,
  ...interruptibilityRules,
  ...pendingRules,
];

/** Whether a PDPTE field that VM entry loads has reserved bits set; without EPT it loads none. */
export const hasBadPointers = (vmcs: EntryFields): boolean => {
  const usesPae = usesPaging(vmcs) && hasAny(vmcs.get('GUEST_CR4'), CR4_PAE) && !isLong(vmcs);
  const isBad = (entry: bigint): boolean =>
    hasAny(entry, 1n) && (hasAny(entry, PDPTE_RESERVED) || isBeyondPhysical(entry));
  return usesPae && vmcs.has('enable EPT') && PDPTES.map(vmcs.get).some(isBad);
};
