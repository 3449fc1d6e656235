/**
 * The current VMCS as the processor sees it: its fields, its control bits by name, and the record
 * of a VM exit in it. Source: SDM Vol. 3C 27.2 "Recording VM-Exit Information and Updating
 * VM-Entry Control Fields", 27.3.3 "Saving RIP, RSP, RFLAGS, and SSP".
 */
import { type Cpu, setWord, word } from '../cpu/cpu.ts';
import { INTERRUPTIBILITY, PENDING_DEBUG, RFLAGS_REST } from '../cpu/state.ts';
import type { Maddr } from '../memory/addresses.ts';
import { type ControlName, controlOf } from './controls.ts';
import { exitReasonNumber } from './exit-reasons.ts';
import { readVmcs, runningWindow, vmcsSlotOf, writeVmcs } from './vmcs.ts';
import { vmcsEncodingOf } from './vmcs-fields.ts';

/** What an exit tells beside its reason; what is absent is 0. */
export interface ExitDetails {
  readonly qualification?: bigint;
  /** VM-exit interruption information and its error code. */
  readonly interruption?: number;
  readonly errorCode?: number;
  readonly instructionInformation?: number;
  readonly linear?: bigint;
  readonly physical?: number;
  /** The instruction's length, if it is not that of the one that executes. */
  readonly length?: number;
  /** The value of RFLAGS.RF that is saved; absent: it stays. */
  readonly resume?: boolean;
}

export interface VmcsAccess {
  read(encoding: number): bigint;
  write(encoding: number, value: bigint): void;
  /** Whether a control is 1; secondary controls are 0 unless activated. */
  has(control: ControlName): boolean;
  /** Whether EPT is on: has('enable EPT'), for each translation. */
  hasEpt(): boolean;
  /** Makes a VM exit with this basic reason. */
  exit(reason: string, details?: ExitDetails): void;
  /** Makes the VM exit of a CPUID. */
  readonly exitCpuid: () => void;
  /** Makes the VM exit of an EPT violation at a linear address, outside event delivery. */
  exitViolation(qualification: number, linear: number, physical: number): void;
  /** The exit that was made last, if it is an EPT violation outside event delivery. */
  violation(): { readonly qualification: number; readonly physical: number } | undefined;
}

const F = {
  reason: vmcsEncodingOf('EXIT_REASON'),
  qualification: vmcsEncodingOf('EXIT_QUALIFICATION'),
  length: vmcsEncodingOf('EXIT_INSTRUCTION_LENGTH'),
  information: vmcsEncodingOf('EXIT_INSTRUCTION_INFORMATION'),
  interruption: vmcsEncodingOf('EXIT_INTERRUPTION_INFORMATION'),
  interruptionCode: vmcsEncodingOf('EXIT_INTERRUPTION_ERROR_CODE'),
  vectoring: vmcsEncodingOf('IDT_VECTORING_INFORMATION'),
  vectoringCode: vmcsEncodingOf('IDT_VECTORING_ERROR_CODE'),
  linear: vmcsEncodingOf('GUEST_LINEAR_ADDRESS'),
  physical: vmcsEncodingOf('GUEST_PHYSICAL_ADDRESS'),
} as const;
/** Where the controls are that are asked for in non-root operation. */
const CONTROL_FIELDS = [
  controlOf('activate secondary controls').field,
  controlOf('enable EPT').field,
  controlOf('NMI exiting').field,
];
const HAS_CODE = 0x800;
const RFLAGS_TF = 0x100;
const RFLAGS_RF = 0x1_0000;
const BLOCKED_BY_MOV_SS = 2;
const PENDING_SINGLE_STEP = 0x4000;
const CPUID_LENGTH = 2;
const TWO_32 = 2 ** 32;

/** The VMCS in `region`, whose guest state is in the window. */
export const createVmcsAccess = (cpu: Cpu, region: Maddr): VmcsAccess => {
  const { memory } = cpu;
  const { words } = memory;
  const window = runningWindow(memory);
  const read = (encoding: number): bigint => readVmcs(memory, region, window, encoding) ?? 0n;
  const write = (encoding: number, value: bigint): void => {
    writeVmcs(memory, region, window, encoding, value);
  };
  const slotOf = (field: number): number => vmcsSlotOf(region, field);
  const activation = controlOf('activate secondary controls');
  const activationSlot = slotOf(activation.field);
  const controlSlots = new Map(CONTROL_FIELDS.map((field) => [field, slotOf(field)]));
  const has = (name: ControlName): boolean => {
    const { field, bit, isSecondary } = controlOf(name);
    if (isSecondary && ((words[activationSlot] ?? 0) & activation.bit) === 0) return false;
    const slot = controlSlots.get(field) ?? slotOf(field);
    return ((words[slot] ?? 0) & bit) !== 0;
  };
  const ept = controlOf('enable EPT');
  const eptSlot = slotOf(ept.field);
  const hasEpt = (): boolean =>
    ((words[activationSlot] ?? 0) & activation.bit) !== 0 &&
    ((words[eptSlot] ?? 0) & ept.bit) !== 0;
  const saveResumeFlag = (resume: boolean): void => {
    const rest = word(cpu, RFLAGS_REST);
    setWord(cpu, RFLAGS_REST, resume ? rest | RFLAGS_RF : rest & ~RFLAGS_RF);
  };
  /** A single step that a load of SS holds back is pending: SDM Vol. 3C 27.3.4. */
  const saveHeldStep = (): void => {
    const isHeld = (word(cpu, INTERRUPTIBILITY) & BLOCKED_BY_MOV_SS) !== 0;
    if (!isHeld || (word(cpu, RFLAGS_REST) & RFLAGS_TF) === 0) return;
    setWord(cpu, PENDING_DEBUG, word(cpu, PENDING_DEBUG) | PENDING_SINGLE_STEP);
  };
  const exit = (reason: string, details: ExitDetails = {}): void => {
    write(F.reason, BigInt(exitReasonNumber(reason)));
    write(F.qualification, details.qualification ?? 0n);
    write(F.length, BigInt(details.length ?? cpu.instructionLength));
    write(F.information, BigInt(details.instructionInformation ?? 0));
    write(F.interruption, BigInt(details.interruption ?? 0));
    write(F.interruptionCode, BigInt(details.errorCode ?? 0));
    write(F.linear, details.linear ?? 0n);
    write(F.physical, BigInt(details.physical ?? 0));
    write(F.vectoring, BigInt(cpu.delivering));
    const hasCode = (cpu.delivering & HAS_CODE) !== 0;
    write(F.vectoringCode, BigInt(hasCode ? cpu.deliveringErrorCode : 0));
    // An engine may make the same exit twice: that an event is being delivered ends with its delivery.
    saveHeldStep();
    if (details.resume !== undefined) saveResumeFlag(details.resume);
  };
  // The fields of every exit, for one that is made very often.
  const [reasonSlot = 0, lengthSlot = 0, ...others] = [F.reason, F.length]
    .concat(Object.values(F).filter((field) => field !== F.reason && field !== F.length))
    .map(slotOf);
  const cpuid = exitReasonNumber('CPUID');
  const exitCpuid = (): void => {
    words[reasonSlot] = cpuid;
    words[lengthSlot] = CPUID_LENGTH;
    for (let i = 0; i < others.length; i += 1) {
      const slot = others[i] ?? 0;
      words[slot] = 0;
      words[slot + 1] = 0;
    }
    saveResumeFlag(false);
  };
  const violation = exitReasonNumber('EPT_VIOLATION');
  const [qualificationSlot, linearSlot, physicalSlot] = [F.qualification, F.linear, F.physical].map(
    slotOf,
  ) as [number, number, number];
  const exitViolation = (qualification: number, linear: number, physical: number): void => {
    words[reasonSlot] = violation;
    words[lengthSlot] = 0;
    for (let i = 0; i < others.length; i += 1) {
      const slot = others[i] ?? 0;
      words[slot] = 0;
      words[slot + 1] = 0;
    }
    words[qualificationSlot] = qualification;
    words[linearSlot] = linear;
    words[linearSlot + 1] = Math.floor(linear / TWO_32);
    words[physicalSlot] = physical;
    words[physicalSlot + 1] = Math.floor(physical / TWO_32);
    cpu.nmiUnblocked = false;
    saveResumeFlag(true);
  };
  const vectoringSlot = slotOf(F.vectoring);
  const violationOf: VmcsAccess['violation'] = () => {
    if (words[reasonSlot] !== violation || words[vectoringSlot] !== 0) return undefined;
    const physical =
      ((words[physicalSlot + 1] ?? 0) >>> 0) * TWO_32 + ((words[physicalSlot] ?? 0) >>> 0);
    return { qualification: words[qualificationSlot] ?? 0, physical };
  };
  return { read, write, has, hasEpt, exit, exitCpuid, exitViolation, violation: violationOf };
};
