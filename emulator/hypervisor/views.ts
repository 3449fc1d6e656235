/**
 * Domains and vCPUs as the door shows them. Looking changes nothing.
 */
import {
  APIC_BASE,
  CODE_WIDTH,
  CPL,
  CR0,
  CR2,
  CR3,
  CR4,
  CR8,
  CSTAR,
  DEBUG_REGISTERS,
  DR6,
  DR7,
  EFER,
  GDTR_BASE,
  GDTR_LIMIT,
  IDTR_BASE,
  IDTR_LIMIT,
  KERNEL_GS_BASE,
  LSTAR,
  PAT,
  registerSlot,
  SFMASK,
  STAR,
  SYSENTER_CS,
  SYSENTER_EIP,
  SYSENTER_ESP,
  segmentAccess,
  segmentBase,
  segmentLimit,
  segmentSelector,
  TSC_AUX,
} from '../cpu/state.ts';
import type { Domain, SegmentView, Vcpu, VmcsGroupView } from '../machine.ts';
import { VMCS_FIELDS } from '../vmx/vmcs-fields.ts';
import type { XenDomain, XenVcpu } from './domain.ts';
import { isMasked, isPending, VIRQ_NAMES } from './event-channels.ts';
import { viewGrants } from './grants/view.ts';
import { FIELD } from './hardware.ts';
import { type Hypervisor, pagingOf } from './hypervisor.ts';
import { unitsOf } from './memory/units.ts';
import { p2mRanges } from './p2m-ranges.ts';
import { viewPvVcpu } from './pv/pv-view.ts';

const GENERAL = [
  'rax',
  'rcx',
  'rdx',
  'rbx',
  'rsp',
  'rbp',
  'rsi',
  'rdi',
  ...[8, 9, 10, 11, 12, 13, 14, 15].map((number) => `r${number}`),
];

/** Where registers are that are whole slots. */
const SLOTS: ReadonlyMap<string, number> = new Map([
  ...GENERAL.map((name, number) => [name, registerSlot(number)] as const),
  ['cr0', CR0],
  ['cr2', CR2],
  ['cr3', CR3],
  ['cr4', CR4],
  ['cr8', CR8],
  ['efer', EFER],
  ['dr6', DR6],
  ['dr7', DR7],
  ['gdtr.base', GDTR_BASE],
  ['gdtr.limit', GDTR_LIMIT],
  ['idtr.base', IDTR_BASE],
  ['idtr.limit', IDTR_LIMIT],
  ['msr.apic_base', APIC_BASE],
  ['msr.sysenter_cs', SYSENTER_CS],
  ['msr.sysenter_esp', SYSENTER_ESP],
  ['msr.sysenter_eip', SYSENTER_EIP],
  ['msr.pat', PAT],
  ['msr.star', STAR],
  ['msr.lstar', LSTAR],
  ['msr.cstar', CSTAR],
  ['msr.fmask', SFMASK],
  ['msr.kernel_gs_base', KERNEL_GS_BASE],
  ['msr.tsc_aux', TSC_AUX],
  ...[0, 1, 2, 3].map((number) => [`dr${number}`, DEBUG_REGISTERS + number * 8] as const),
]);
/** Registers that the VMCS holds in another form than the window. */
const FIELDS: Readonly<Record<string, number>> = {
  rip: FIELD.GUEST_RIP,
  rflags: FIELD.GUEST_RFLAGS,
};
/** Registers in whose place the processor holds others under shadow paging. */
const isShadowed = (name: string): name is 'cr0' | 'cr3' | 'cr4' | 'efer' =>
  ['cr0', 'cr3', 'cr4', 'efer'].includes(name);
const SEGMENT_NAMES = ['es', 'cs', 'ss', 'ds', 'fs', 'gs', 'ldtr', 'tr'] as const;
const CR0_PE = 1n;
const CR0_PG = 1n << 31n;
const EFER_LMA = 1n << 10n;

export const viewDomain = (hypervisor: Hypervisor, domain: XenDomain): Domain => {
  const vcpus = domain.vcpus.map((vcpu) => viewVcpu(hypervisor, vcpu));
  return {
    id: domain.id,
    name: domain.config.name,
    type: domain.type,
    paging: domain.type === 'pv' ? 'direct' : domain.shadow === undefined ? 'hap' : 'shadow',
    get shadowPages() {
      const { shadow } = domain;
      return shadow && { used: shadow.pages.length, capacity: shadow.capacity };
    },
    get state() {
      const isBlocked = domain.vcpus.every(({ state }) => state !== 'runnable');
      return domain.state === 'running' && isBlocked ? 'blocked' : domain.state;
    },
    get shutdownReason() {
      return domain.shutdownReason;
    },
    get explanation() {
      return domain.explanation;
    },
    get memoryBytes() {
      return domain.pages * 4096;
    },
    get maximumMemoryBytes() {
      return domain.maximumPages * 4096;
    },
    get tableUpdates() {
      return domain.tableUpdates;
    },
    get tlbMisses() {
      const misses = domain.vcpus.map((vcpu) => hypervisor.hardware.tlbMissesOf?.(vcpu));
      return misses.reduce(
        (sum, one) => (sum === undefined || one === undefined ? undefined : sum + one),
        0,
      );
    },
    get targetMemoryBytes() {
      return domain.targetPages * 4096;
    },
    vcpus,
    exitCounts: domain.exitCounts,
    hypercallCounts: domain.hypercallCounts,
    get consoleText() {
      return domain.consoleText;
    },
    get memoryCounts() {
      return unitsOf(hypervisor).counts.of(domain);
    },
    p2m: (first, end) => p2mRanges(domain.p2m, domain.labels, first, end),
    grants: () => viewGrants(hypervisor, domain),
    channels: () =>
      [...domain.channels].map(([port, channel]) => ({
        port,
        state: channel.state,
        detail:
          channel.state === 'virq'
            ? (VIRQ_NAMES[channel.virq] ?? `VIRQ ${channel.virq}`)
            : channel.state === 'interdomain'
              ? `domain ${channel.remoteDomain} port ${channel.remotePort}`
              : channel.state === 'unbound'
                ? `for domain ${channel.remoteDomain}`
                : `vCPU ${channel.vcpu}`,
        vcpu: channel.vcpu,
        pending: isPending(hypervisor, domain, port),
        masked: isMasked(hypervisor, domain, port),
      })),
  };
};

const viewVcpu = (hypervisor: Hypervisor, vcpu: XenVcpu): Vcpu => {
  const { hardware } = hypervisor;
  const slot = (address: number): bigint => hardware.slot(vcpu, address);
  const small = (address: number): number => Number(slot(address) & 0xffff_ffffn);
  const width = (): 16 | 32 | 64 => {
    const value = small(CODE_WIDTH);
    return value === 16 || value === 64 ? value : 32;
  };
  return {
    id: vcpu.id,
    domain: vcpu.domain.id,
    get state() {
      if (vcpu.domain.state === 'paused') return 'paused';
      return vcpu.state === 'runnable' && vcpu.pcpu !== undefined ? 'running' : vcpu.state;
    },
    get pcpu() {
      return vcpu.pcpu;
    },
    get retired() {
      return vcpu.retired;
    },
    get exits() {
      return vcpu.exits;
    },
    get mode() {
      const { cr0, efer } = pagingOf(hypervisor, vcpu);
      return `ring ${small(CPL)} ${modeOf(cr0, efer, width())}`;
    },
    get codeWidth() {
      return width();
    },
    get privilege() {
      return small(CPL);
    },
    get rip() {
      return hardware.peekField(vcpu, FIELD.GUEST_RIP);
    },
    register(name) {
      const field = FIELDS[name];
      if (field !== undefined) return hardware.peekField(vcpu, field);
      if (vcpu.guest !== undefined && isShadowed(name)) return pagingOf(hypervisor, vcpu)[name];
      const at = SLOTS.get(name);
      return at === undefined ? undefined : slot(at);
    },
    setRegister(name, value) {
      const field = FIELDS[name];
      const at = SLOTS.get(name);
      if (field === undefined && (at === undefined || !GENERAL.includes(name))) {
        return `Register ${name} can not be set; general registers, RIP and RFLAGS can.`;
      }
      const whole = BigInt.asUintN(64, value);
      const problem = entryProblem(name, whole, width());
      if (problem !== undefined) return problem;
      if (at !== undefined) hardware.setSlot(vcpu, at, whole);
      if (field !== undefined) {
        if (hardware.loaded !== vcpu) hardware.load(vcpu);
        hardware.write(field, name === 'rflags' ? whole | RFLAGS_FIXED : whole);
      }
      return undefined;
    },
    segments: () =>
      SEGMENT_NAMES.map(
        (name, number): SegmentView => ({
          name,
          selector: small(segmentSelector(number)),
          base: slot(segmentBase(number)),
          limit: small(segmentLimit(number)),
          accessRights: small(segmentAccess(number)),
        }),
      ),
    vmcs: () => (vcpu.vmcs === undefined ? [] : vmcsGroups(hypervisor, vcpu)),
    paravirtual: () => viewPvVcpu(hypervisor, vcpu),
  };
};

/** Bit 1 is always set; the others of bits 63:22, 15, 5 and 3 never are. */
const RFLAGS_FIXED = 2n;
const RFLAGS_RESERVED = ~0x3f_7fd7n;

/** Why VM entry would refuse a value: SDM Vol. 3C 26.3.1.4 "Checks on Guest RIP, RFLAGS, and SSP". */
const entryProblem = (name: string, value: bigint, width: 16 | 32 | 64): string | undefined => {
  const digits = `0x${value.toString(16)}`;
  if (name === 'rflags' && (value & RFLAGS_RESERVED) !== 0n) {
    return `${digits} sets reserved bits of RFLAGS (63:22, 15, 5 or 3); VM entry would fail.`;
  }
  if (name !== 'rip') return undefined;
  if (width !== 64 && value > 0xffff_ffffn) {
    return `${digits} has more than 32 bits; outside 64-bit mode VM entry would fail.`;
  }
  if (BigInt.asUintN(64, BigInt.asIntN(48, value)) !== value) {
    return `${digits} is not canonical; VM entry would fail.`;
  }
  return undefined;
};

const modeOf = (cr0: bigint, efer: bigint, width: 16 | 32 | 64): string => {
  if ((cr0 & CR0_PE) === 0n) return 'real';
  if ((efer & EFER_LMA) !== 0n) return width === 64 ? 'long' : 'compatibility';
  return (cr0 & CR0_PG) === 0n ? 'protected, no paging' : 'protected';
};

/** Groups of SDM Vol. 3C 24.3 "Organization of VMCS Data". */
const GROUPS = [
  ['guest', 'Guest-state area'],
  ['control', 'Control fields'],
  ['exit', 'VM-exit information fields'],
] as const;

const vmcsGroups = ({ hardware }: Hypervisor, vcpu: XenVcpu): VmcsGroupView[] =>
  GROUPS.map(([area, title]) => ({
    title,
    fields: VMCS_FIELDS.filter((field) => field.area === area).map(({ name, encoding, width }) => ({
      name,
      encoding,
      value: hardware.peekField(vcpu, encoding),
      widthBits: width === 'natural' ? 64 : width,
    })),
  }));
