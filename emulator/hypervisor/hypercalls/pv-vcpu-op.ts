/**
 * Starting and stopping vCPUs of PV domains. Sources: Xen public/vcpu.h; public/arch-x86/xen.h,
 * struct vcpu_guest_context.
 */
import {
  CS,
  DS,
  ES,
  FS,
  GS,
  KERNEL_GS_BASE,
  registerSlot,
  SS,
  segmentBase,
} from '../../cpu/state.ts';
import type { Mfn } from '../../memory/addresses.ts';
import type { XenVcpu } from '../domain.ts';
import { vcpuInfoAt } from '../event-channels.ts';
import { FIELD } from '../hardware.ts';
import { copyFromGuest, type Hypervisor } from '../hypervisor.ts';
import { setGdt, setLdt } from '../pv/descriptor-tables.ts';
import { isGuestAddress, LDT_ENTRIES } from '../pv/layout.ts';
import { directPagingOf } from '../pv/mmu/direct-paging.ts';
import { pvOf } from '../pv/mode.ts';
import { defineHypercall, type ErrorName, type HypercallContext, readNumber } from './hypercall.ts';

const common = { number: 24, only: 'pv', source: 'Xen public/vcpu.h', argumentIndex: 2 } as const;

/** Offsets in vcpu_guest_context of a 64-bit guest. */
const CONTEXT_BYTES = 5168;
const AT = {
  flags: 512,
  registers: 520,
  traps: 720,
  ldtBase: 4816,
  ldtEntries: 4824,
  gdtFrames: 4832,
  gdtEntries: 4960,
  kernelSs: 4968,
  kernelSp: 4976,
  control: 4984,
  eventCallback: 5112,
  failsafeCallback: 5120,
  syscallCallback: 5128,
  vmAssist: 5136,
  fsBase: 5144,
  gsBaseKernel: 5152,
  gsBaseUser: 5160,
} as const;
/** General registers by the order of cpu_user_regs: R15 first. */
const ORDER = [15, 14, 13, 12, 5, 3, 11, 10, 9, 8, 0, 1, 2, 6, 7] as const;
const REGISTER = {
  rip: 128,
  cs: 136,
  rflags: 144,
  rsp: 152,
  ss: 160,
  es: 168,
  ds: 176,
  fs: 184,
  gs: 192,
} as const;
const TRAPS = 256;
const TRAP_BYTES = 16;
const VGCF_in_kernel = 4n;
const VGCF_syscall_disables_events = 0x20n;
const VGCF_failsafe_disables_events = 0x10n;
const RFLAGS_IF = 0x200n;
const RFLAGS_FORBIDDEN = 0x3000n | 0x2_0000n;
const FRAMES_PER_GDT = 16;
const ENTRIES_PER_FRAME = 512;
const UPCALL_MASK = 1;

const targetOf = ({ vcpu, args }: HypercallContext): XenVcpu | undefined =>
  vcpu.domain.vcpus[Number(args[1] ?? 0n)];

/** Errors: ENOENT for no such vCPU, EEXIST for one that has a context already. */
export const pvVcpuInitialise = defineHypercall({
  ...common,
  name: 'VCPUOP_initialise',
  command: 0,
  title: 'Give a vCPU its first context',
  handle(context) {
    const { hypervisor, vcpu, args } = context;
    const target = targetOf(context);
    if (target === undefined) return 'ENOENT';
    const bytes = copyFromGuest(hypervisor, vcpu, args[2] ?? 0n, CONTEXT_BYTES);
    if (bytes === undefined) return 'EFAULT';
    if (pvOf(target).isInitialized) return 'EEXIST';
    const { hardware } = hypervisor;
    hardware.load(target);
    const error = initialise(hypervisor, target, bytes);
    hardware.load(vcpu);
    return error ?? 0;
  },
});

/** The vCPU is loaded. */
const initialise = (
  hypervisor: Hypervisor,
  vcpu: XenVcpu,
  bytes: Uint8Array,
): ErrorName | undefined => {
  const { hardware } = hypervisor;
  const pv = pvOf(vcpu);
  const word = (at: number): bigint => readNumber(bytes, at, 8);
  const addresses = [word(AT.eventCallback), word(AT.failsafeCallback), word(AT.syscallCallback)];
  if (!addresses.every((address) => isGuestAddress(address))) return 'EINVAL';
  const gdtEntries = Number(word(AT.gdtEntries));
  const ldtEntries = Number(word(AT.ldtEntries));
  if (gdtEntries > FRAMES_PER_GDT * ENTRIES_PER_FRAME || ldtEntries > LDT_ENTRIES) return 'EINVAL';
  const frames = Array.from(
    { length: Math.ceil(gdtEntries / ENTRIES_PER_FRAME) },
    (_, index) => Number(word(AT.gdtFrames + index * 8)) as Mfn,
  );
  const gdtError = setGdt(hypervisor, vcpu, frames, gdtEntries);
  if (gdtError !== undefined) return gdtError;
  const paging = directPagingOf(hypervisor);
  const root = Number(word(AT.control + 3 * 8) >> 12n);
  const rootError = paging.setKernelRoot(vcpu, root);
  if (rootError !== undefined) return rootError;
  const userRoot = Number(word(AT.control + 1 * 8) >> 12n);
  if (userRoot !== 0 && paging.setUserRoot(vcpu, userRoot) !== undefined) return 'EINVAL';
  if (ldtEntries > 0) setLdt(hypervisor, vcpu, word(AT.ldtBase), ldtEntries);
  const flags = word(AT.flags);
  for (let vector = 0; vector < TRAPS; vector += 1) {
    const at = AT.traps + vector * TRAP_BYTES;
    const address = word(at + 8);
    if (address === 0n || !isGuestAddress(address)) continue;
    const kind = bytes[at + 1] ?? 0;
    pv.gates.set(vector, {
      selector: Number(readNumber(bytes, at + 2, 2)) | 3,
      address,
      dpl: kind & 3,
      masksEvents: (kind & 4) !== 0,
    });
  }
  const [event = 0n, failsafe = 0n, syscall = 0n] = addresses;
  pv.callbacks.set('event', { address: event, masksEvents: false });
  const disables = (flag: bigint): boolean => (flags & flag) !== 0n;
  pv.callbacks.set('failsafe', {
    address: failsafe,
    masksEvents: disables(VGCF_failsafe_disables_events),
  });
  pv.callbacks.set('syscall', {
    address: syscall,
    masksEvents: disables(VGCF_syscall_disables_events),
  });
  pv.kernelSs = Number(readNumber(bytes, AT.kernelSs, 2)) | 3;
  pv.kernelSp = word(AT.kernelSp);
  pv.isKernel = (flags & VGCF_in_kernel) !== 0n;
  ORDER.forEach((register, index) => {
    hardware.setSlot(vcpu, registerSlot(register), word(AT.registers + index * 8));
  });
  const saved = (at: number): bigint => word(AT.registers + at);
  hardware.setSlot(vcpu, registerSlot(4), saved(REGISTER.rsp));
  hardware.write(FIELD.GUEST_RIP, saved(REGISTER.rip));
  const rflags = saved(REGISTER.rflags);
  hardware.write(FIELD.GUEST_RFLAGS, (rflags & ~RFLAGS_FORBIDDEN) | RFLAGS_IF);
  for (const [segment, at] of [
    [CS, REGISTER.cs],
    [SS, REGISTER.ss],
    [DS, REGISTER.ds],
    [ES, REGISTER.es],
    [FS, REGISTER.fs],
    [GS, REGISTER.gs],
  ] as const) {
    const given = Number(saved(at) & 0xffffn);
    const isStackOrCode = segment === CS || segment === SS;
    const selector = isStackOrCode ? given | 3 : given;
    if (hardware.loadSegment?.(segment, selector) !== true && isStackOrCode) return 'EINVAL';
  }
  hardware.setSlot(vcpu, segmentBase(FS), word(AT.fsBase));
  hardware.setSlot(vcpu, segmentBase(GS), word(AT.gsBaseKernel));
  hardware.setSlot(vcpu, KERNEL_GS_BASE, word(AT.gsBaseUser));
  hardware.memory.bytes[vcpuInfoAt(vcpu) + UPCALL_MASK] = 1;
  pv.isInitialized = true;
  return undefined;
};

export const pvVcpuUp = defineHypercall({
  ...common,
  name: 'VCPUOP_up',
  command: 1,
  title: 'Start a vCPU',
  handle(context) {
    const target = targetOf(context);
    if (target === undefined) return 'ENOENT';
    if (!pvOf(target).isInitialized) return 'EINVAL';
    if (target.state === 'offline') target.state = 'runnable';
    return 0;
  },
});

export const pvVcpuDown = defineHypercall({
  ...common,
  name: 'VCPUOP_down',
  command: 2,
  title: 'Stop a vCPU',
  handle(context) {
    const target = targetOf(context);
    if (target === undefined) return 'ENOENT';
    target.state = 'offline';
    if (target === context.vcpu) context.hypervisor.yieldRequested = true;
    return 0;
  },
});
