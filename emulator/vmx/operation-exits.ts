/**
 * Which operations make a VM exit, and what the exit tells of them.
 * Source: SDM Vol. 3C 25.1 "Instructions That Cause VM Exits" (25.1.1 "Relative Priority of Faults
 * and VM Exits"), 27.2.1 "Basic VM-Exit Information", Tables 27-3 to 27-5, 27.2.5.
 */
import type { OperationName } from '../../isa/index.ts';
import { type Cpu, is64Bit, isLongMode, quad, word } from '../cpu/cpu.ts';
import { readWordSource } from '../cpu/operations/operation.ts';
import { portRefusal } from '../cpu/operations/ports.ts';
import { OUTCOME } from '../cpu/processor.ts';
import { UNUSABLE } from '../cpu/segmentation.ts';
import * as state from '../cpu/state.ts';
import type { Maddr } from '../memory/addresses.ts';
import { hostAddressOf } from '../memory/machine-memory.ts';
import type { ControlName } from './controls.ts';
import { displacementOf, instructionInformationOf } from './instruction-information.ts';
import type { VmcsAccess } from './vmcs-access.ts';
import { vmcsEncodingOf } from './vmcs-fields.ts';

const F = {
  ioBitmapA: vmcsEncodingOf('IO_BITMAP_A'),
  ioBitmapB: vmcsEncodingOf('IO_BITMAP_B'),
  msrBitmaps: vmcsEncodingOf('MSR_BITMAPS'),
  cr0Mask: vmcsEncodingOf('CR0_GUEST_HOST_MASK'),
  cr4Mask: vmcsEncodingOf('CR4_GUEST_HOST_MASK'),
  cr0Shadow: vmcsEncodingOf('CR0_READ_SHADOW'),
  cr4Shadow: vmcsEncodingOf('CR4_READ_SHADOW'),
  cr3Count: vmcsEncodingOf('CR3_TARGET_COUNT'),
  cr3Target: vmcsEncodingOf('CR3_TARGET_VALUE_0'),
} as const;

/** Operations that exit whatever the controls say, or by one of them. */
/** Frequent operations that never exit; they would fall through all of the rest. */
const NEVER_EXIT: ReadonlySet<OperationName> = new Set<OperationName>([
  'interruptReturn',
  'pushFlags',
  'popFlags',
  'cli',
  'sti',
  'clac',
  'stac',
  'swapgs',
  'syscall',
  'sysret',
  'loadSegment',
]);

const SIMPLE: Partial<Record<OperationName, { reason: string; control?: ControlName }>> = {
  cpuid: { reason: 'CPUID' },
  getsec: { reason: 'GETSEC' },
  invd: { reason: 'INVD' },
  xsetbv: { reason: 'XSETBV' },
  vmcall: { reason: 'VMCALL' },
  vmclear: { reason: 'VMCLEAR' },
  vmlaunch: { reason: 'VMLAUNCH' },
  vmptrld: { reason: 'VMPTRLD' },
  vmptrst: { reason: 'VMPTRST' },
  vmread: { reason: 'VMREAD' },
  vmresume: { reason: 'VMRESUME' },
  vmwrite: { reason: 'VMWRITE' },
  vmxoff: { reason: 'VMXOFF' },
  vmxon: { reason: 'VMXON' },
  invept: { reason: 'INVEPT' },
  invvpid: { reason: 'INVVPID' },
  hlt: { reason: 'HLT', control: 'HLT exiting' },
  invlpg: { reason: 'INVLPG', control: 'INVLPG exiting' },
  invpcid: { reason: 'INVPCID', control: 'INVLPG exiting' },
  rdpmc: { reason: 'RDPMC', control: 'RDPMC exiting' },
  rdtsc: { reason: 'RDTSC', control: 'RDTSC exiting' },
  rdtscp: { reason: 'RDTSCP', control: 'RDTSC exiting' },
  pause: { reason: 'PAUSE', control: 'PAUSE exiting' },
  wbinvd: { reason: 'WBINVD', control: 'WBINVD exiting' },
  loadDescriptorTable: { reason: 'GDTR_IDTR_ACCESS', control: 'descriptor-table exiting' },
  storeDescriptorTable: { reason: 'GDTR_IDTR_ACCESS', control: 'descriptor-table exiting' },
  loadTaskOrLocalTable: { reason: 'LDTR_TR_ACCESS', control: 'descriptor-table exiting' },
  storeTaskOrLocalTable: { reason: 'LDTR_TR_ACCESS', control: 'descriptor-table exiting' },
};

/** Operations that a control of their own lets the guest have; else they are #UD. */
const ENABLED_BY: Partial<Record<OperationName, ControlName>> = {
  rdtscp: 'enable RDTSCP',
  invpcid: 'enable INVPCID',
};

type Names = ReadonlySet<OperationName>;

/** These fault at CPL above 0 before they would exit; MOV DR exits first. */
const PRIVILEGED: Names = new Set<OperationName>([
  'hlt',
  'invlpg',
  'invpcid',
  'invd',
  'wbinvd',
  'rdmsr',
  'wrmsr',
  'readControlRegister',
  'writeControlRegister',
  'clts',
  'lmsw',
  'loadDescriptorTable',
  'loadTaskOrLocalTable',
]);
/** With this bit of CR4 set or clear, these fault at CPL above 0 before they would exit. */
const CR4_TSD = 1 << 2;
const CR4_PCE = 1 << 8;
const CR4_UMIP = 1 << 11;
const CR4_SMXE = 1 << 14;
const CR4_OSXSAVE = 1 << 18;

/** VMX instructions but VMCALL: #UD in real, virtual-8086 and compatibility mode. */
const VMX: Names = new Set<OperationName>([
  'vmclear',
  'vmlaunch',
  'vmptrld',
  'vmptrst',
  'vmread',
  'vmresume',
  'vmwrite',
  'vmxoff',
  'vmxon',
  'invept',
  'invvpid',
]);
const TASK_REGISTERS: Names = new Set<OperationName>([
  'loadTaskOrLocalTable',
  'storeTaskOrLocalTable',
]);
const RFLAGS_VM = 1 << 17;

/** Whether the operation faults here, before it would exit. */
const faultsFirst = (cpu: Cpu, operation: OperationName): boolean => {
  const cr4 = word(cpu, state.CR4);
  const isUser = word(cpu, state.CPL) !== 0;
  if (isUser && PRIVILEGED.has(operation)) return true;
  switch (operation) {
    case 'rdtsc':
    case 'rdtscp':
      return isUser && (cr4 & CR4_TSD) !== 0;
    case 'rdpmc':
      return isUser && (cr4 & CR4_PCE) === 0;
    case 'storeDescriptorTable':
    case 'storeTaskOrLocalTable':
      if (isUser && (cr4 & CR4_UMIP) !== 0) return true;
      break;
    case 'getsec':
      return (cr4 & CR4_SMXE) === 0;
    case 'xsetbv':
      return isUser || (cr4 & CR4_OSXSAVE) === 0;
  }
  const isReal =
    (word(cpu, state.CR0) & 1) === 0 || (word(cpu, state.RFLAGS_REST) & RFLAGS_VM) !== 0;
  if (TASK_REGISTERS.has(operation)) return isReal;
  return VMX.has(operation) && (isReal || (isLongMode(cpu) && !is64Bit(cpu)));
};

export interface OperationExits {
  /** True if the operation makes a VM exit, which then has been made. */
  intercepts(operation: OperationName, args: readonly bigint[]): boolean;
  /** Whether a control takes the operation from the guest: #UD. */
  disables(operation: OperationName): boolean;
  /** False if no control in force lets the operation exit, whatever its operands. */
  mayExit(operation: OperationName): boolean;
}

export const createOperationExits = (cpu: Cpu, vmcs: VmcsAccess): OperationExits => {
  const { memory } = cpu;
  const { read, has } = vmcs;

  /** An exit that the instruction itself makes: RF is saved as 0. */
  const exit = (reason: string, qualification = 0n, linear = 0n): true => {
    const { instruction } = cpu;
    const instructionInformation =
      instruction === undefined ? 0 : instructionInformationOf(instruction);
    vmcs.exit(reason, { qualification, instructionInformation, linear, resume: false });
    return true;
  };
  const exitSimply = (operation: OperationName, reason: string, args: readonly bigint[]): true => {
    if (operation === 'invlpg') return exit(reason, linearOf(args[0], args[1]));
    const { instruction } = cpu;
    return exit(
      reason,
      instruction === undefined ? 0n : displacementOf(instruction, quad(cpu, state.RIP)),
    );
  };
  const bitmapBit = (frame: number, offset: bigint, bit: number): boolean => {
    const at = hostAddressOf(Number(read(frame) + offset) as Maddr) + (bit >>> 3);
    return (((memory.bytes[at] ?? 0) >> (bit & 7)) & 1) === 1;
  };
  const msrExits = (isWrite: boolean): boolean => {
    if (!has('use MSR bitmaps')) return true;
    const msr = word(cpu, state.registerSlot(1)) >>> 0;
    const isHigh = msr >= 0xc000_0000;
    const bit = isHigh ? msr - 0xc000_0000 : msr;
    if (bit > 0x1fff) return true;
    return bitmapBit(F.msrBitmaps, (isHigh ? 1024n : 0n) + (isWrite ? 2048n : 0n), bit);
  };
  const portExits = (port: number, bytes: number): boolean => {
    if (!has('use I/O bitmaps')) return has('unconditional I/O exiting');
    for (let at = port; at < port + bytes; at += 1) {
      if (at > 0xffff) return true;
      const frame = at < 0x8000 ? F.ioBitmapA : F.ioBitmapB;
      if (bitmapBit(frame, 0n, at & 0x7fff)) return true;
    }
    return false;
  };
  /** Exits on an I/O instruction if the port is intercepted, and the guest may use it. */
  const port = (number: number, width: number, flags: number, linear = 0n): boolean => {
    if (!portExits(number, width / 8)) return false;
    const refusal = portRefusal(cpu, number, width);
    if (refusal !== undefined) return refusal === OUTCOME.exit;
    const isImmediate = cpu.instruction?.operands.some(({ kind }) => kind === 'immediate') ?? false;
    const bits = (width / 8 - 1) | flags | (isImmediate ? 0x40 : 0);
    return exit('IO_INSTRUCTION', BigInt(bits + number * 0x1_0000), linear);
  };
  /** INS and OUTS; a repeated one with a count of 0 does not reach the port. */
  const stringPort = (args: readonly bigint[], isIn: boolean): boolean => {
    const addressWidth = Number(args[1] ?? 64n);
    const cut = (register: number) =>
      BigInt.asUintN(addressWidth, quad(cpu, state.registerSlot(register)));
    const isRepeated = args[2] === 1n;
    if (isRepeated && cut(1) === 0n) return false;
    const segment = isIn ? state.ES : Number(args[3] ?? 3n);
    const isUsable = is64Bit(cpu) || (word(cpu, state.segmentAccess(segment)) & UNUSABLE) === 0;
    const linear = isUsable ? linearOf(BigInt(segment), cut(isIn ? 7 : 6)) : 0n;
    const flags = 0x10 | (isIn ? 8 : 0) | (isRepeated ? 0x20 : 0);
    return port(word(cpu, state.registerSlot(2)) & 0xffff, Number(args[0] ?? 8n), flags, linear);
  };
  const changesOwned = (number: number, value: bigint): boolean => {
    const [mask, shadow] = number === 0 ? [F.cr0Mask, F.cr0Shadow] : [F.cr4Mask, F.cr4Shadow];
    return ((value ^ read(shadow)) & read(mask)) !== 0n;
  };
  const cr3IsTarget = (value: bigint): boolean => {
    const count = Number(read(F.cr3Count));
    for (let i = 0; i < count; i += 1) if (read(F.cr3Target + i * 2) === value) return true;
    return false;
  };
  const crWriteExits = (number: number, value: bigint): boolean => {
    if (number === 0 || number === 4) return changesOwned(number, value);
    if (number === 3) return has('CR3-load exiting') && !cr3IsTarget(value);
    return number === 8 && has('CR8-load exiting');
  };
  const crReadExits = (number: number): boolean =>
    (number === 3 && has('CR3-store exiting')) || (number === 8 && has('CR8-store exiting'));
  const crAccess = (number: number, type: number, register: number): true =>
    exit('CR_ACCESS', BigInt(number | (type << 4) | (register << 8)));
  /** LMSW tells its source, and where it was if in memory. */
  const lmswExits = (args: readonly bigint[]): boolean => {
    const source = readWordSource(cpu, args, 0);
    if ('failure' in source) return source.failure === OUTCOME.exit;
    const old = read(F.cr0Shadow);
    const value = (old & ~14n) | BigInt(source.value & 15) | (old & 1n);
    if (!changesOwned(0, value)) return false;
    const { linear } = source;
    const bits = (3 << 4) + (linear === undefined ? 0 : 0x40) + source.value * 0x1_0000;
    return exit('CR_ACCESS', BigInt(bits), linear);
  };
  /** Only FS and GS have a base in 64-bit mode. */
  const linearOf = (segment = 0n, offset = 0n): bigint => {
    const number = Number(segment);
    const is64 = is64Bit(cpu);
    const base = is64 && number < state.FS ? 0n : quad(cpu, state.segmentBase(number));
    return BigInt.asUintN(is64 ? 64 : 32, base + offset);
  };

  const disables = (operation: OperationName): boolean => {
    const control = ENABLED_BY[operation];
    return control !== undefined && !has(control);
  };

  const intercepts = (operation: OperationName, args: readonly bigint[]): boolean => {
    if (NEVER_EXIT.has(operation)) return false;
    const simple = SIMPLE[operation];
    if (simple !== undefined) {
      const { reason, control } = simple;
      if (control !== undefined && !has(control)) return false;
      if (faultsFirst(cpu, operation) || disables(operation)) return false;
      return exitSimply(operation, reason, args);
    }
    const first = Number(args[0] ?? 0n);
    const second = Number(args[1] ?? 0n);
    if (faultsFirst(cpu, operation)) return false;
    switch (operation) {
      case 'rdmsr':
      case 'wrmsr':
        return msrExits(operation === 'wrmsr') && exit(operation === 'rdmsr' ? 'RDMSR' : 'WRMSR');
      case 'portIn':
        return port(first, second, 8);
      case 'portOut':
        return port(first, second, 0);
      case 'portInString':
        return stringPort(args, true);
      case 'portOutString':
        return stringPort(args, false);
      case 'writeControlRegister':
        return crWriteExits(first, args[1] ?? 0n) && crAccess(first, 0, Number(args[2] ?? 0n));
      case 'readControlRegister':
        return crReadExits(first) && crAccess(first, 1, second);
      case 'clts':
        return (read(F.cr0Mask) & read(F.cr0Shadow) & 8n) !== 0n && crAccess(0, 2, 0);
      case 'lmsw':
        return lmswExits(args);
      case 'readDebugRegister':
      case 'writeDebugRegister': {
        if (!has('MOV-DR exiting')) return false;
        const isRead = operation === 'readDebugRegister';
        const register = isRead ? second : Number(args[2] ?? 0n);
        return exit('DR_ACCESS', BigInt(first | (isRead ? 0x10 : 0) | (register << 8)));
      }
      default:
        return false;
    }
  };
  const mayExit = (operation: OperationName): boolean => {
    const simple = SIMPLE[operation];
    return simple === undefined || simple.control === undefined || has(simple.control);
  };
  return { intercepts, disables, mayExit };
};
