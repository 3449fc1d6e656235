/**
 * Instructions that a PV kernel may not execute at privilege level 3, done for it after their #GP.
 * What they are is told by their meanings (isa/): each is one named operation.
 * Source: xen/arch/x86/pv/emul-priv-op.c for what is emulated and what it answers.
 */
import {
  type DecodedInstruction,
  decode,
  evaluate,
  MAX_INSTRUCTION_BYTES,
  type OperationName,
  type ReferenceHost,
} from '../../../isa/index.ts';
import {
  CODE_WIDTH,
  CR0,
  DEBUG_REGISTERS,
  DR6,
  FS,
  GS,
  KERNEL_GS_BASE,
  PAT,
  registerSlot,
  segmentBase,
  segmentSelector,
} from '../../cpu/state.ts';
import { cpuidOf } from '../cpuid-policy.ts';
import type { XenVcpu } from '../domain.ts';
import { vcpuInfoAt } from '../event-channels.ts';
import { FIELD } from '../hardware.ts';
import { copyFromGuest, copyToGuest, type Hypervisor } from '../hypervisor.ts';
import { isGuestAddress } from './layout.ts';
import { directPagingOf } from './mmu/direct-paging.ts';
import { pvOf } from './mode.ts';

/** What was done, in words; a fault to bounce in its place; undefined: it is not emulated. */
export type Emulation =
  | { readonly done: string; readonly lengthBytes: number }
  | { readonly pageFault: bigint; readonly errorCode: number }
  | undefined;

interface Emulated {
  readonly hypervisor: Hypervisor;
  readonly vcpu: XenVcpu;
}

const CR0_TS = 8n;
const CR0_MUST = 0x8005_0033n;
const CR2_IN_INFO = 16;
const EFER = 0xd01n;
/** Enabled, of the boot processor. */
const APIC_BASE = 0xfee0_0900n;
const FAST_STRINGS = 1n;
const WRITE = 2;
const MSR = {
  APIC_BASE: 0x1b,
  MICROCODE: 0x8b,
  MISC_ENABLE: 0x1a0,
  PAT: 0x277,
  EFER: 0xc000_0080,
} as const;
const BASES: Readonly<Record<number, number>> = {
  3221225728: segmentBase(FS),
  3221225729: segmentBase(GS),
  3221225730: KERNEL_GS_BASE,
};

export const fetchInstruction = (
  hypervisor: Hypervisor,
  vcpu: XenVcpu,
  at: bigint,
): DecodedInstruction | undefined => {
  const inPage = 4096 - Number(at & 0xfffn);
  const bytes =
    copyFromGuest(hypervisor, vcpu, at, MAX_INSTRUCTION_BYTES) ??
    copyFromGuest(hypervisor, vcpu, at, Math.min(inPage, MAX_INSTRUCTION_BYTES));
  if (bytes === undefined) return undefined;
  const width = Number(hypervisor.hardware.slot(vcpu, CODE_WIDTH) & 0xffff_ffffn);
  const decoded = decode(bytes, 0, at, width === 64 ? 64 : 32);
  return typeof decoded === 'string' ? undefined : decoded;
};

/** The operation that the instruction is, with its arguments. */
const operationOf = (
  { hypervisor, vcpu }: Emulated,
  instruction: DecodedInstruction,
): { operation: OperationName; args: readonly bigint[] } | undefined => {
  const { hardware } = hypervisor;
  const host: ReferenceHost = {
    readRegister: (register) => hardware.slot(vcpu, registerSlot(register)),
    writeRegister: () => undefined,
    readStatusWords: () => ({ result: 1n, sign: 0n, carry: 0n }),
    writeStatusWords: () => undefined,
    readDirectionFlag: () => (hardware.read(FIELD.GUEST_RFLAGS) & 0x400n) !== 0n,
    writeDirectionFlag: () => undefined,
    readSelector: (segment) => hardware.slot(vcpu, segmentSelector(segment)) & 0xffffn,
    readInstructionPointer: () => hardware.read(FIELD.GUEST_RIP),
    writeInstructionPointer: () => undefined,
    isInCodeSegment: () => true,
    // An instruction that reads or writes memory itself is none of those that are emulated.
    linearOf: () => undefined,
    read: () => undefined,
    mayWrite: () => false,
    write: () => undefined,
    raise: () => undefined,
  };
  const evaluation = evaluate(instruction, host);
  return evaluation.kind === 'operation' ? evaluation : undefined;
};

export const emulatePrivileged = (emulated: Emulated): Emulation => {
  const { hypervisor, vcpu } = emulated;
  const rip = hypervisor.hardware.read(FIELD.GUEST_RIP);
  const instruction = fetchInstruction(hypervisor, vcpu, rip);
  const found = instruction && operationOf(emulated, instruction);
  if (instruction === undefined || found === undefined) return undefined;
  const { lengthBytes } = instruction;
  const { operation, args } = found;
  if (operation === 'portInString' || operation === 'portOutString') {
    return emulateStringIo(emulated, operation === 'portInString', args, lengthBytes);
  }
  const done = perform(emulated, operation, args);
  return done === undefined ? undefined : { done, lengthBytes };
};

const hex = (value: bigint | number): string => `0x${value.toString(16)}`;

const perform = (
  emulated: Emulated,
  operation: OperationName,
  args: readonly bigint[],
): string | undefined => {
  const { hypervisor, vcpu } = emulated;
  const { hardware } = hypervisor;
  const [first = 0n, second = 0n] = args;
  if (operation === 'cpuid') return answerCpuid(hypervisor, vcpu);
  if (operation === 'portIn' || operation === 'portOut') {
    if (!mayUsePorts(vcpu)) return undefined;
    if (operation === 'portOut')
      return `Port ${hex(first)}: no device is there, the write is lost.`;
    const slot = registerSlot(0);
    const ones = BigInt.asUintN(Number(second), -1n);
    const kept = second === 32n ? 0n : hardware.slot(vcpu, slot) & ~ones;
    hardware.setSlot(vcpu, slot, kept | ones);
    return `Port ${hex(first)}: no device is there, a read gives all ones.`;
  }
  if (!pvOf(vcpu).isKernel) return undefined;
  switch (operation) {
    case 'cli':
    case 'sti':
      // IF is the upcall mask; as Xen does, the instructions change nothing.
      return mayUsePorts(vcpu) ? 'RFLAGS.IF is virtual, and stays as it is.' : undefined;
    case 'clts':
      setTaskSwitched(hypervisor, vcpu, false);
      return 'CR0.TS is clear.';
    case 'invd':
    case 'wbinvd':
      return 'The guest has no device that needs it.';
    case 'readControlRegister': {
      const value = readControlRegister(emulated, Number(first));
      if (value === undefined) return undefined;
      hardware.setSlot(vcpu, registerSlot(Number(second)), value);
      return `CR${first} reads as ${hex(value)}.`;
    }
    case 'writeControlRegister':
      return writeControlRegister(emulated, Number(first), second)
        ? `CR${first} takes ${hex(second)}.`
        : undefined;
    case 'readDebugRegister': {
      const value = readDebugRegister(hypervisor, vcpu, Number(first));
      if (value === undefined) return undefined;
      hardware.setSlot(vcpu, registerSlot(Number(second)), value);
      return `DR${first} reads as ${hex(value)}.`;
    }
    case 'writeDebugRegister':
      return writeDebugRegister(hypervisor, vcpu, Number(first), second)
        ? `DR${first} takes ${hex(second)}.`
        : undefined;
    case 'rdmsr':
      return readMsr(hypervisor, vcpu);
    case 'wrmsr':
      return writeMsr(hypervisor, vcpu);
    default:
      return undefined;
  }
};

/** The kernel with an IOPL of at least 1, a process with 3: Xen's iopl_ok. */
const mayUsePorts = (vcpu: XenVcpu): boolean => {
  const { isKernel, iopl } = pvOf(vcpu);
  return iopl >= (isKernel ? 1 : 3);
};

const set32 = ({ hardware }: Hypervisor, vcpu: XenVcpu, register: number, value: number): void =>
  hardware.setSlot(vcpu, registerSlot(register), BigInt(value >>> 0));
const get32 = ({ hardware }: Hypervisor, vcpu: XenVcpu, register: number): number =>
  Number(hardware.slot(vcpu, registerSlot(register)) & 0xffff_ffffn);

/** Sets the four registers from the policy; what the leaf is, in words. */
export const answerCpuid = (hypervisor: Hypervisor, vcpu: XenVcpu): string => {
  const number = get32(hypervisor, vcpu, 0);
  const leaf = cpuidOf(vcpu, number, get32(hypervisor, vcpu, 1));
  for (const [register, value] of [leaf.eax, leaf.ecx, leaf.edx, leaf.ebx].entries()) {
    set32(hypervisor, vcpu, register, value);
  }
  return `CPUID leaf ${hex(number)}: ${leaf.title}.`;
};

export const setTaskSwitched = ({ hardware }: Hypervisor, vcpu: XenVcpu, isSet: boolean): void => {
  pvOf(vcpu).taskSwitched = isSet;
  const cr0 = hardware.slot(vcpu, CR0) & ~CR0_TS;
  hardware.setSlot(vcpu, CR0, isSet ? cr0 | CR0_TS : cr0);
};

const readControlRegister = (
  { hypervisor, vcpu }: Emulated,
  number: number,
): bigint | undefined => {
  const pv = pvOf(vcpu);
  switch (number) {
    case 0:
      return CR0_MUST | (pv.taskSwitched ? CR0_TS : 0n);
    case 2:
      return hypervisor.hardware.memory.view.getBigUint64(vcpuInfoAt(vcpu) + CR2_IN_INFO, true);
    case 3:
      return BigInt(directPagingOf(hypervisor).roots(vcpu).kernel) << 12n;
    case 4:
      return pv.cr4;
    default:
      return undefined;
  }
};

const writeControlRegister = (
  { hypervisor, vcpu }: Emulated,
  number: number,
  value: bigint,
): boolean => {
  switch (number) {
    case 0:
      if (((value ^ CR0_MUST) & ~CR0_TS) !== 0n) return false;
      setTaskSwitched(hypervisor, vcpu, (value & CR0_TS) !== 0n);
      return true;
    case 2:
      hypervisor.hardware.memory.view.setBigUint64(vcpuInfoAt(vcpu) + CR2_IN_INFO, value, true);
      return true;
    case 3:
      return directPagingOf(hypervisor).setKernelRoot(vcpu, Number(value >> 12n)) === undefined;
    case 4:
      // What a PV guest may not choose stays as it is.
      return true;
    default:
      return false;
  }
};

const slotOfDebugRegister = (number: number): number | undefined =>
  number < 4 ? DEBUG_REGISTERS + number * 8 : number === 4 || number === 6 ? DR6 : undefined;
const DR6_RESERVED = 0xffff_0ff0n;
const DR7_RESERVED = 0x400n;
const DR7_GENERAL_DETECT = 0x2000n;

export const readDebugRegister = (
  { hardware }: Hypervisor,
  vcpu: XenVcpu,
  number: number,
): bigint | undefined => {
  if (number === 5 || number === 7) return hardware.read(FIELD.GUEST_DR7);
  const slot = slotOfDebugRegister(number);
  return slot === undefined ? undefined : hardware.slot(vcpu, slot);
};

/** set_debugreg's rules: addresses are the guest's own, reserved bits as they must be. */
export const writeDebugRegister = (
  { hardware }: Hypervisor,
  vcpu: XenVcpu,
  number: number,
  value: bigint,
): boolean => {
  if (number === 5 || number === 7) {
    if (value >> 32n !== 0n || (value & DR7_GENERAL_DETECT) !== 0n) return false;
    hardware.write(FIELD.GUEST_DR7, (value & 0xffff_03ffn) | DR7_RESERVED);
    return true;
  }
  const slot = slotOfDebugRegister(number);
  if (slot === undefined) return false;
  if (number < 4) {
    if (!isGuestAddress(value)) return false;
    hardware.setSlot(vcpu, slot, value);
    return true;
  }
  if (value >> 32n !== 0n) return false;
  hardware.setSlot(vcpu, slot, (value & 0xe00fn) | DR6_RESERVED);
  return true;
};

const readMsr = (hypervisor: Hypervisor, vcpu: XenVcpu): string | undefined => {
  const { hardware } = hypervisor;
  const msr = get32(hypervisor, vcpu, 1);
  const base = BASES[msr];
  const value =
    base !== undefined
      ? hardware.slot(vcpu, base)
      : {
          [MSR.EFER]: EFER,
          [MSR.APIC_BASE]: APIC_BASE,
          [MSR.MICROCODE]: 0n,
          [MSR.MISC_ENABLE]: FAST_STRINGS,
          [MSR.PAT]: hardware.slot(vcpu, PAT),
        }[msr];
  if (value === undefined) return undefined;
  set32(hypervisor, vcpu, 0, Number(value & 0xffff_ffffn));
  set32(hypervisor, vcpu, 2, Number(value >> 32n));
  return `MSR ${hex(msr)} reads as ${hex(value)}.`;
};

/** The bases that a kernel may move; the others take what they already have. */
const writeMsr = (hypervisor: Hypervisor, vcpu: XenVcpu): string | undefined => {
  const { hardware } = hypervisor;
  const msr = get32(hypervisor, vcpu, 1);
  const value = (BigInt(get32(hypervisor, vcpu, 2)) << 32n) | BigInt(get32(hypervisor, vcpu, 0));
  const base = BASES[msr];
  if (base !== undefined) {
    if (BigInt.asUintN(64, BigInt.asIntN(48, value)) !== value) return undefined;
    hardware.setSlot(vcpu, base, value);
    return `MSR ${hex(msr)} takes ${hex(value)}.`;
  }
  const isSame =
    (msr === MSR.EFER && value === EFER) ||
    (msr === MSR.MISC_ENABLE && value === FAST_STRINGS) ||
    (msr === MSR.MICROCODE && value === 0n) ||
    (msr === MSR.PAT && value === hardware.slot(vcpu, PAT));
  return isSame ? `MSR ${hex(msr)} has that value.` : undefined;
};

/** One iteration of INS or OUTS. */
const emulateStringIo = (
  { hypervisor, vcpu }: Emulated,
  isInput: boolean,
  [width = 8n, addressWidth = 64n, repeat = 0n]: readonly bigint[],
  lengthBytes: number,
): Emulation => {
  if (!mayUsePorts(vcpu)) return undefined;
  const { hardware } = hypervisor;
  const index = registerSlot(isInput ? 7 : 6);
  const counter = registerSlot(1);
  const cut = (value: bigint): bigint => BigInt.asUintN(Number(addressWidth), value);
  const bytes = Number(width) / 8;
  if (repeat !== 0n && cut(hardware.slot(vcpu, counter)) === 0n) {
    return { done: 'There is nothing to repeat.', lengthBytes };
  }
  const at = cut(hardware.slot(vcpu, index));
  const isAllowed = isInput
    ? copyToGuest(hypervisor, vcpu, at, new Uint8Array(bytes).fill(0xff))
    : copyFromGuest(hypervisor, vcpu, at, bytes) !== undefined;
  if (!isAllowed) return { pageFault: at, errorCode: isInput ? WRITE : 0 };
  const isDown = (hardware.read(FIELD.GUEST_RFLAGS) & 0x400n) !== 0n;
  hardware.setSlot(vcpu, index, cut(at + BigInt(isDown ? -bytes : bytes)));
  const left = cut(hardware.slot(vcpu, counter) - 1n);
  if (repeat !== 0n) hardware.setSlot(vcpu, counter, left);
  const isLast = repeat === 0n || left === 0n;
  return { done: 'No device is at the port.', lengthBytes: isLast ? lengthBytes : 0 };
};
