/**
 * VMX non-root operation: which operations and exceptions make a VM exit, and the exit itself.
 * Source: SDM Vol. 3C ch. 25 "VMX Non-Root Operation", 27.2 "Recording VM-Exit Information",
 * Tables 27-1, 27-3, 27-4, 27-5 (qualifications); controls: 24.6, Tables 24-5 to 24-7.
 */
import type { OperationName } from '../../isa/index.ts';
import type { Cpu, NonRoot } from '../cpu/cpu.ts';
import { quad, word } from '../cpu/cpu.ts';
import { linearOfNumber, type PagingAccess, type SecondStage } from '../cpu/paging.ts';
import * as state from '../cpu/state.ts';
import type { Maddr } from '../memory/addresses.ts';
import { hostAddressOf } from '../memory/machine-memory.ts';
import { violationQualification, walkEpt } from './ept.ts';
import { exitReasonNumber } from './exit-reasons.ts';
import { readVmcs, runningWindow, vmcsSlotOf, writeVmcs } from './vmcs.ts';
import { vmcsEncodingOf } from './vmcs-fields.ts';

const F = {
  primary: vmcsEncodingOf('PRIMARY_PROCESSOR_BASED_CONTROLS'),
  secondary: vmcsEncodingOf('SECONDARY_PROCESSOR_BASED_CONTROLS'),
  exceptionBitmap: vmcsEncodingOf('EXCEPTION_BITMAP'),
  pageFaultMask: vmcsEncodingOf('PAGE_FAULT_ERROR_CODE_MASK'),
  pageFaultMatch: vmcsEncodingOf('PAGE_FAULT_ERROR_CODE_MATCH'),
  ioBitmapA: vmcsEncodingOf('IO_BITMAP_A'),
  ioBitmapB: vmcsEncodingOf('IO_BITMAP_B'),
  msrBitmaps: vmcsEncodingOf('MSR_BITMAPS'),
  eptPointer: vmcsEncodingOf('EPT_POINTER'),
  tscOffset: vmcsEncodingOf('TSC_OFFSET'),
  cr0Mask: vmcsEncodingOf('CR0_GUEST_HOST_MASK'),
  cr4Mask: vmcsEncodingOf('CR4_GUEST_HOST_MASK'),
  cr0Shadow: vmcsEncodingOf('CR0_READ_SHADOW'),
  cr4Shadow: vmcsEncodingOf('CR4_READ_SHADOW'),
  cr3Count: vmcsEncodingOf('CR3_TARGET_COUNT'),
  reason: vmcsEncodingOf('EXIT_REASON'),
  qualification: vmcsEncodingOf('EXIT_QUALIFICATION'),
  length: vmcsEncodingOf('EXIT_INSTRUCTION_LENGTH'),
  interruption: vmcsEncodingOf('EXIT_INTERRUPTION_INFORMATION'),
  interruptionCode: vmcsEncodingOf('EXIT_INTERRUPTION_ERROR_CODE'),
  vectoring: vmcsEncodingOf('IDT_VECTORING_INFORMATION'),
  vectoringCode: vmcsEncodingOf('IDT_VECTORING_ERROR_CODE'),
  linear: vmcsEncodingOf('GUEST_LINEAR_ADDRESS'),
  physical: vmcsEncodingOf('GUEST_PHYSICAL_ADDRESS'),
} as const;

const CR3_TARGET_0 = vmcsEncodingOf('CR3_TARGET_VALUE_0');
const VALID = 0x8000_0000;
const HAS_CODE = 0x800;

export interface GuestOperation {
  readonly nonRoot: NonRoot;
  readonly stage: SecondStage;
  /** Makes a VM exit with this basic reason. */
  exit(reason: string, qualification?: bigint): void;
  /** Makes the VM exit of a CPUID. */
  readonly exitCpuid: () => void;
  read(encoding: number): bigint;
  write(encoding: number, value: bigint): void;
}

/** Operations that exit whatever the controls say, or by one bit of the controls. */
const SIMPLE: Partial<
  Record<OperationName, { reason: string; control?: readonly ['primary' | 'secondary', number] }>
> = {
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
  hlt: { reason: 'HLT', control: ['primary', 7] },
  invlpg: { reason: 'INVLPG', control: ['primary', 9] },
  mwait: { reason: 'MWAIT', control: ['primary', 10] },
  rdpmc: { reason: 'RDPMC', control: ['primary', 11] },
  rdtsc: { reason: 'RDTSC', control: ['primary', 12] },
  rdtscp: { reason: 'RDTSCP', control: ['primary', 12] },
  monitor: { reason: 'MONITOR', control: ['primary', 29] },
  pause: { reason: 'PAUSE', control: ['primary', 30] },
  wbinvd: { reason: 'WBINVD', control: ['secondary', 6] },
  rdrand: { reason: 'RDRAND', control: ['secondary', 11] },
  rdseed: { reason: 'RDSEED', control: ['secondary', 16] },
  loadDescriptorTable: { reason: 'GDTR_IDTR_ACCESS', control: ['secondary', 2] },
  storeDescriptorTable: { reason: 'GDTR_IDTR_ACCESS', control: ['secondary', 2] },
  loadTaskOrLocalTable: { reason: 'LDTR_TR_ACCESS', control: ['secondary', 2] },
  storeTaskOrLocalTable: { reason: 'LDTR_TR_ACCESS', control: ['secondary', 2] },
};
/** These fault at CPL above 0 before they would exit. */
const PRIVILEGED: ReadonlySet<OperationName> = new Set<OperationName>([
  'hlt',
  'invlpg',
  'invd',
  'wbinvd',
  'mwait',
  'monitor',
  'xsetbv',
  'rdmsr',
  'wrmsr',
  'readControlRegister',
  'writeControlRegister',
  'readDebugRegister',
  'writeDebugRegister',
  'clts',
  'lmsw',
  'loadDescriptorTable',
  'loadTaskOrLocalTable',
]);

/** With CR4.TSD set these fault at CPL above 0 before they would exit. */
const isTimeStampRead = (operation: OperationName): boolean =>
  operation === 'rdtsc' || operation === 'rdtscp';
const CR4_TSD = 4;

/** Non-root operation under the VMCS in `region`, whose guest state is in the window. */
export const createGuestOperation = (cpu: Cpu, region: Maddr): GuestOperation => {
  const { memory } = cpu;
  const window = runningWindow(memory);
  const read = (encoding: number): bigint => readVmcs(memory, region, window, encoding) ?? 0n;
  const write = (encoding: number, value: bigint): void => {
    writeVmcs(memory, region, window, encoding, value);
  };
  const has = (which: 'primary' | 'secondary', bit: number): boolean => {
    const primary = read(F.primary);
    if (which === 'primary') return ((primary >> BigInt(bit)) & 1n) === 1n;
    return primary >> 31n === 1n && ((read(F.secondary) >> BigInt(bit)) & 1n) === 1n;
  };
  const exit = (reason: string, qualification = 0n): void => {
    write(F.reason, BigInt(exitReasonNumber(reason)));
    write(F.qualification, qualification);
    write(F.length, BigInt(cpu.instructionLength));
    write(F.interruption, 0n);
    write(F.vectoring, BigInt(cpu.delivering));
    const hasCode = (cpu.delivering & HAS_CODE) !== 0;
    write(F.vectoringCode, BigInt(hasCode ? cpu.deliveringErrorCode : 0));
    cpu.delivering = 0;
  };
  // The fields of every exit, for one that is made very often.
  const CPUID_LENGTH = 2;
  const slots = [
    F.reason,
    F.qualification,
    F.length,
    F.interruption,
    F.vectoring,
    F.vectoringCode,
  ].map((field) => vmcsSlotOf(region, field));
  const values = [exitReasonNumber('CPUID'), 0, CPUID_LENGTH, 0, 0, 0];
  const exitCpuid = (): void => {
    for (let i = 0; i < slots.length; i += 1) {
      const slot = slots[i] ?? 0;
      memory.words[slot] = values[i] ?? 0;
      memory.words[slot + 1] = 0;
    }
  };
  const bitmapBit = (frame: number, offset: bigint, bit: number): boolean => {
    const at = hostAddressOf(Number(read(frame) + offset) as Maddr) + (bit >>> 3);
    return (((memory.bytes[at] ?? 0) >> (bit & 7)) & 1) === 1;
  };
  const msrExits = (isWrite: boolean): boolean => {
    if (!has('primary', 28)) return true;
    const msr = word(cpu, state.registerSlot(1)) >>> 0;
    const isHigh = msr >= 0xc000_0000;
    const bit = isHigh ? msr - 0xc000_0000 : msr;
    if (bit > 0x1fff) return true;
    return bitmapBit(F.msrBitmaps, (isHigh ? 1024n : 0n) + (isWrite ? 2048n : 0n), bit);
  };
  const portExits = (port: number, bytes: number): boolean => {
    if (!has('primary', 25)) return has('primary', 24);
    for (let at = port; at < port + bytes; at += 1) {
      if (at > 0xffff) return true;
      const frame = at < 0x8000 ? F.ioBitmapA : F.ioBitmapB;
      if (bitmapBit(frame, 0n, at & 0x7fff)) return true;
    }
    return false;
  };
  /** Exits on an I/O instruction if the port is intercepted; Table 27-5. */
  const port = (number: number, width: number, flags: number): boolean => {
    if (!portExits(number, width / 8)) return false;
    const size = width / 8 - 1;
    exit('IO_INSTRUCTION', BigInt((size | flags) + number * 0x1_0000));
    return true;
  };
  const changesOwned = (number: number, value: bigint): boolean => {
    const [mask, shadow] = number === 0 ? [F.cr0Mask, F.cr0Shadow] : [F.cr4Mask, F.cr4Shadow];
    return ((value ^ read(shadow)) & read(mask)) !== 0n;
  };
  const cr3IsTarget = (value: bigint): boolean => {
    const count = Number(read(F.cr3Count));
    for (let i = 0; i < count; i += 1) if (read(CR3_TARGET_0 + i * 2) === value) return true;
    return false;
  };
  const crWriteExits = (number: number, value: bigint): boolean => {
    if (number === 0 || number === 4) return changesOwned(number, value);
    if (number === 3) return has('primary', 15) && !cr3IsTarget(value);
    return number === 8 && has('primary', 19);
  };
  const crReadExits = (number: number): boolean =>
    (number === 3 && has('primary', 16)) || (number === 8 && has('primary', 20));
  const crAccess = (number: number, type: number, register: number, source = 0): true => {
    exit('CR_ACCESS', BigInt(number | (type << 4) | (register << 8) | (source << 16)));
    return true;
  };
  /** INVLPG tells the linear address; only FS and GS have a base in 64-bit mode. */
  const linearOfInvlpg = ([segment = 0n, offset = 0n]: readonly bigint[]): bigint => {
    const number = Number(segment);
    const is64 = word(cpu, state.CODE_WIDTH) === 64;
    const base = is64 && number < state.FS ? 0n : quad(cpu, state.segmentBase(number));
    return BigInt.asUintN(is64 ? 64 : 32, base + offset);
  };
  const dx = (): number => word(cpu, state.registerSlot(2)) & 0xffff;

  const intercepts = (operation: OperationName, args: readonly bigint[]): boolean => {
    const isUser = word(cpu, state.CPL) !== 0;
    if (isUser && PRIVILEGED.has(operation)) return false;
    if (isUser && isTimeStampRead(operation) && (word(cpu, state.CR4) & CR4_TSD) !== 0)
      return false;
    const simple = SIMPLE[operation];
    if (simple !== undefined) {
      const { reason, control } = simple;
      if (control !== undefined && !has(control[0], control[1])) return false;
      exit(reason, operation === 'invlpg' ? linearOfInvlpg(args) : 0n);
      return true;
    }
    const first = Number(args[0] ?? 0n);
    const second = Number(args[1] ?? 0n);
    switch (operation) {
      case 'rdmsr':
      case 'wrmsr':
        if (!msrExits(operation === 'wrmsr')) return false;
        exit(operation === 'rdmsr' ? 'RDMSR' : 'WRMSR');
        return true;
      case 'portIn':
        return port(first, second, 8);
      case 'portOut':
        return port(first, second, 0);
      case 'portInString':
        return port(dx(), first, 0x18 | (args[2] === 1n ? 0x20 : 0));
      case 'portOutString':
        return port(dx(), first, 0x10 | (args[2] === 1n ? 0x20 : 0));
      case 'writeControlRegister':
        return crWriteExits(first, args[1] ?? 0n) && crAccess(first, 0, Number(args[2] ?? 0n));
      case 'readControlRegister':
        return crReadExits(first) && crAccess(first, 1, second);
      case 'clts':
        return (read(F.cr0Mask) & read(F.cr0Shadow) & 8n) !== 0n && crAccess(0, 2, 0);
      case 'lmsw': {
        const old = read(F.cr0Shadow);
        const value = (old & ~14n) | ((args[0] ?? 0n) & 15n) | (old & 1n);
        return changesOwned(0, value) && crAccess(0, 3, 0, first & 0xffff);
      }
      case 'readDebugRegister':
      case 'writeDebugRegister': {
        if (!has('primary', 23)) return false;
        const isRead = operation === 'readDebugRegister';
        const register = isRead ? second : Number(args[2] ?? 0n);
        exit('DR_ACCESS', BigInt(first | (isRead ? 0x10 : 0) | (register << 8)));
        return true;
      }
      default:
        return false;
    }
  };

  const interceptsException = (vector: number, errorCode: number | undefined): boolean => {
    const selected = ((read(F.exceptionBitmap) >> BigInt(vector)) & 1n) === 1n;
    const matches =
      vector !== 14 || (BigInt(errorCode ?? 0) & read(F.pageFaultMask)) === read(F.pageFaultMatch);
    if (selected !== matches) return false;
    exit('EXCEPTION_OR_NMI', vector === 14 ? quad(cpu, state.FAULT_ADDRESS) : 0n);
    const code = errorCode === undefined ? 0 : HAS_CODE;
    const type = vector === 3 || vector === 4 ? 6 : 3;
    write(F.interruption, BigInt((VALID | code | (type << 8) | vector) >>> 0));
    write(F.interruptionCode, BigInt(errorCode ?? 0));
    return true;
  };

  const stage: SecondStage = {
    translate: (
      gpa: number,
      access: PagingAccess,
      linear: number | undefined,
      forTable: boolean,
    ) => {
      if (!has('secondary', 1)) return gpa as Maddr;
      const pointer = read(F.eptPointer);
      const low = Number(pointer & 0xffff_ffffn) | 0;
      const result = walkEpt(memory, low, Number(pointer >> 32n), gpa, access);
      if (result.kind === 'page') return result.maddr;
      if (result.kind === 'violation') {
        const { permissions } = result;
        const hasLinear = linear !== undefined;
        const bits = violationQualification(access, permissions, forTable, hasLinear);
        exit('EPT_VIOLATION', BigInt(bits));
        write(F.linear, linear === undefined ? 0n : linearOfNumber(linear));
      } else exit('EPT_MISCONFIGURATION');
      write(F.physical, BigInt(gpa));
      return undefined;
    },
  };

  const nonRoot: NonRoot = {
    intercepts,
    interceptsException,
    tripleFault: () => exit('TRIPLE_FAULT'),
    timeStampOffset: () => (has('primary', 3) ? read(F.tscOffset) : 0n),
    readControlRegister: (number, value) => {
      if (number !== 0 && number !== 4) return value;
      const [mask, shadow] = number === 0 ? [F.cr0Mask, F.cr0Shadow] : [F.cr4Mask, F.cr4Shadow];
      return (read(shadow) & read(mask)) | (value & ~read(mask));
    },
    writeControlRegister: (number, old, value) => {
      if (number !== 0 && number !== 4) return value;
      const mask = read(number === 0 ? F.cr0Mask : F.cr4Mask);
      return (old & mask) | (value & ~mask);
    },
  };
  return { nonRoot, stage, exit, exitCpuid, read, write };
};
