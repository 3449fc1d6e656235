/**
 * VMX non-root operation under one VMCS: what exits, EPT, and what the guest sees of CR0, CR4 and
 * the time-stamp counter. Source: SDM Vol. 3C ch. 25 "VMX Non-Root Operation" (25.2 "Other Causes
 * of VM Exits", 25.3 "Changes to Instruction Behavior in VMX Non-Root Operation").
 */
import type { Cpu, NonRoot } from '../cpu/cpu.ts';
import { quad } from '../cpu/cpu.ts';
import { linearOfNumber, type SecondStage } from '../cpu/paging.ts';
import * as state from '../cpu/state.ts';
import type { Maddr } from '../memory/addresses.ts';
import { type BoundaryExits, createBoundaryExits } from './boundary-exits.ts';
import { violationQualification, walkEpt } from './ept.ts';
import { createOperationExits } from './operation-exits.ts';
import { vmcsSlotOf } from './vmcs.ts';
import { createVmcsAccess, type VmcsAccess } from './vmcs-access.ts';
import { vmcsEncodingOf } from './vmcs-fields.ts';

const F = {
  exceptionBitmap: vmcsEncodingOf('EXCEPTION_BITMAP'),
  pageFaultMask: vmcsEncodingOf('PAGE_FAULT_ERROR_CODE_MASK'),
  pageFaultMatch: vmcsEncodingOf('PAGE_FAULT_ERROR_CODE_MATCH'),
  eptPointer: vmcsEncodingOf('EPT_POINTER'),
  tscOffset: vmcsEncodingOf('TSC_OFFSET'),
  tscMultiplier: vmcsEncodingOf('TSC_MULTIPLIER'),
  cr0Mask: vmcsEncodingOf('CR0_GUEST_HOST_MASK'),
  cr4Mask: vmcsEncodingOf('CR4_GUEST_HOST_MASK'),
  cr0Shadow: vmcsEncodingOf('CR0_READ_SHADOW'),
  cr4Shadow: vmcsEncodingOf('CR4_READ_SHADOW'),
} as const;

const VALID = 0x8000_0000;
const HAS_CODE = 0x800;
/** In interruption information and in the qualification of EPT violations. */
const NMI_UNBLOCKED = 0x1000;
/** Debug exceptions are traps, but for an access to a debug register under general detect. */
const DEBUG_BD = 0x2000n;
const DB = 1;
const DF = 8;
const PF = 14;
const HARDWARE_EXCEPTION = 3;
const OFFSET = 0xfff;

export interface GuestOperation extends VmcsAccess {
  readonly boundary: BoundaryExits;
  readonly nonRoot: NonRoot;
  readonly stage: SecondStage;
}

/** Non-root operation under the VMCS in `region`, whose guest state is in the window. */
export const createGuestOperation = (cpu: Cpu, region: Maddr): GuestOperation => {
  const { memory } = cpu;
  const vmcs = createVmcsAccess(cpu, region);
  const { read, has, hasEpt, exit, exitViolation } = vmcs;
  const { words } = memory;
  const bitmapSlot = vmcsSlotOf(region, F.exceptionBitmap);
  const maskSlot = vmcsSlotOf(region, F.pageFaultMask);
  const matchSlot = vmcsSlotOf(region, F.pageFaultMatch);
  const pointerSlot = vmcsSlotOf(region, F.eptPointer);
  const isDelivering = (): boolean => cpu.delivering !== 0;
  /** Types 4 to 6 of interruption information. */
  const isDeliveringSoftware = (): boolean => isDelivering() && ((cpu.delivering >>> 8) & 7) >= 4;
  const nmiBit = (): number => (cpu.nmiUnblocked === true && !isDelivering() ? NMI_UNBLOCKED : 0);

  const interceptsException = (
    vector: number,
    errorCode: number | undefined,
    type = HARDWARE_EXCEPTION,
  ): boolean => {
    const selected = (((words[bitmapSlot] ?? 0) >> vector) & 1) === 1;
    const matches =
      vector !== PF || ((errorCode ?? 0) & (words[maskSlot] ?? 0)) === (words[matchSlot] ?? 0);
    if (selected !== matches) return false;
    const isHardware = type === HARDWARE_EXCEPTION;
    // Defined for software events only, and on the way of their delivery: SDM Vol. 3C 27.2.5.
    if (isHardware && !isDeliveringSoftware()) cpu.instructionLength = 0;
    const tells = vector === PF || (vector === DB && isHardware);
    const qualification = tells ? quad(cpu, state.FAULT_ADDRESS) : 0n;
    const isTrap = vector === DB && (qualification & DEBUG_BD) === 0n;
    const code = errorCode === undefined ? 0 : HAS_CODE;
    const unblocked = vector === DF ? 0 : nmiBit();
    exit('EXCEPTION_OR_NMI', {
      qualification,
      interruption: (VALID | code | unblocked | (type << 8) | vector) >>> 0,
      errorCode: errorCode ?? 0,
      resume: isHardware && !isTrap,
    });
    return true;
  };

  const stage: SecondStage = {
    translate: (gpa, access, linear, forTable) => {
      if (!hasEpt()) return gpa as Maddr;
      const low = words[pointerSlot] ?? 0;
      const high = words[pointerSlot + 1] ?? 0;
      const result = walkEpt(memory, low, high, gpa, access, forTable);
      if (result.kind === 'page') return result.maddr;
      const { standIns } = cpu;
      if (result.kind === 'violation' && !access.execute && standIns?.covers(gpa) === true) {
        const page = forTable ? standIns.table : access.write ? standIns.written : standIns.read;
        return (page + (gpa & OFFSET)) as Maddr;
      }
      if (cpu.accessMode === 'probe') return undefined;
      if (result.kind === 'violation' && linear !== undefined && !isDelivering()) {
        exitViolation(violationQualification(result, true, forTable) | nmiBit(), linear, gpa);
        return undefined;
      }
      // RF is saved as 1, or during the delivery of an event as in the image of RFLAGS.
      const resume = isDelivering() ? cpu.deliveringResumes === true : true;
      // Undefined unless it tells of a software interrupt that was being delivered.
      const length = isDelivering() ? {} : { length: 0 };
      if (result.kind === 'violation') {
        const bits = violationQualification(result, linear !== undefined, forTable) | nmiBit();
        exit('EPT_VIOLATION', {
          qualification: BigInt(bits),
          linear: linear === undefined ? 0n : linearOfNumber(linear),
          physical: gpa,
          ...length,
          resume,
        });
      } else exit('EPT_MISCONFIGURATION', { physical: gpa, ...length, resume });
      return undefined;
    },
  };

  const ownedBits = (number: number): { mask: bigint; shadow: bigint } =>
    number === 0
      ? { mask: read(F.cr0Mask), shadow: read(F.cr0Shadow) }
      : { mask: read(F.cr4Mask), shadow: read(F.cr4Shadow) };

  const nonRoot: NonRoot = {
    ...createOperationExits(cpu, vmcs),
    interceptsException,
    passesPageFaults: () =>
      ((words[bitmapSlot] ?? 0) & (1 << PF)) === 0 &&
      (words[maskSlot] ?? 0) === 0 &&
      (words[matchSlot] ?? 0) === 0,
    interceptsSecond: (vector, errorCode) => interceptsException(vector, errorCode),
    tripleFault: () => exit('TRIPLE_FAULT'),
    taskSwitch: (selector, source) =>
      exit('TASK_SWITCH', { qualification: BigInt(selector + source * 2 ** 30) }),
    unblocksNmi: () => !has('NMI exiting') || has('virtual NMIs'),
    defersDebugTrap: () => has('monitor trap flag'),
    guestTimeStamp: (value) => {
      if (!has('use TSC offsetting')) return value;
      const scaled = has('use TSC scaling') ? (value * read(F.tscMultiplier)) >> 48n : value;
      return BigInt.asUintN(64, scaled + read(F.tscOffset));
    },
    readControlRegister: (number, value) => {
      if (number !== 0 && number !== 4) return value;
      const { mask, shadow } = ownedBits(number);
      return (shadow & mask) | (value & ~mask);
    },
    writeControlRegister: (number, old, value) => {
      if (number !== 0 && number !== 4) return value;
      const { mask } = ownedBits(number);
      return (old & mask) | (value & ~mask);
    },
  };
  return { ...vmcs, nonRoot, stage, boundary: createBoundaryExits(cpu, region, vmcs) };
};
