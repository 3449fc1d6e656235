/**
 * A VM exit and its handler. A handler is a generator: each value it yields names the step that it
 * takes next, so that a debugger can stand between steps; to run it, one drains it.
 */
import { registerSlot } from '../../cpu/state.ts';
import type { VmExitEvent } from '../../events.ts';
import type { XenVcpu } from '../domain.ts';
import { FIELD } from '../hardware.ts';
import type { Hypervisor } from '../hypervisor.ts';

export interface HypervisorStep {
  readonly title: string;
  /** In words, with the values; made only when somebody looks. */
  readonly detail: () => string;
}

export type ExitSteps = Generator<HypervisorStep, void, void>;

export interface ExitContext {
  readonly hypervisor: Hypervisor;
  readonly vcpu: XenVcpu;
  readonly reason: number;
  readonly qualification: bigint;
}

export interface ExitHandler {
  /** Basic exit reason: SDM Vol. 3D Appendix C "VMX Basic Exit Reasons". */
  readonly number: number;
  handle(context: ExitContext): ExitSteps;
}

export const hex = (value: bigint | number): string => `0x${value.toString(16)}`;

export const step = (title: string, detail: () => string): HypervisorStep => ({ title, detail });

export const readGeneral = ({ hypervisor, vcpu }: ExitContext, register: number): bigint =>
  register === 4
    ? hypervisor.hardware.read(FIELD.GUEST_RSP)
    : hypervisor.hardware.slot(vcpu, registerSlot(register));

export const writeGeneral = (
  { hypervisor, vcpu }: ExitContext,
  register: number,
  value: bigint,
): void => {
  if (register === 4) hypervisor.hardware.write(FIELD.GUEST_RSP, value);
  else hypervisor.hardware.setSlot(vcpu, registerSlot(register), value);
};

export const readField = ({ hypervisor }: ExitContext, field: number): bigint =>
  hypervisor.hardware.read(field);
export const writeField = ({ hypervisor }: ExitContext, field: number, value: bigint): void =>
  hypervisor.hardware.write(field, value);

/** Names the step that skips the instruction. */
export const advanceStep = (context: ExitContext): HypervisorStep =>
  step('Advance RIP', () => {
    const rip = readField(context, FIELD.GUEST_RIP);
    const length = readField(context, FIELD.EXIT_INSTRUCTION_LENGTH);
    return `RIP ${hex(rip)} + ${length} = ${hex(rip + length)}`;
  });

const RFLAGS_TF = 1n << 8n;
const PENDING_SINGLE_STEP = 1n << 14n;

/**
 * Skips the instruction that has been emulated, and what it would have ended; with TF set a
 * single-step trap follows it.
 */
export const advance = (context: ExitContext): void => {
  const rip = readField(context, FIELD.GUEST_RIP);
  const length = readField(context, FIELD.EXIT_INSTRUCTION_LENGTH);
  writeField(context, FIELD.GUEST_RIP, BigInt.asUintN(64, rip + length));
  const blocking = readField(context, FIELD.GUEST_INTERRUPTIBILITY);
  if ((blocking & 3n) !== 0n) writeField(context, FIELD.GUEST_INTERRUPTIBILITY, blocking & ~3n);
  if ((readField(context, FIELD.GUEST_RFLAGS) & RFLAGS_TF) !== 0n) {
    const pending = readField(context, FIELD.GUEST_PENDING_DEBUG);
    writeField(context, FIELD.GUEST_PENDING_DEBUG, pending | PENDING_SINGLE_STEP);
  }
  context.vcpu.retired += 1;
};

const VALID = 1n << 31n;
const HARDWARE_EXCEPTION = 3n << 8n;
const DELIVER_ERROR_CODE = 1n << 11n;
/** In IDT-vectoring information; undefined there, reserved in the entry's field. */
const NMI_UNBLOCKED = 1n << 12n;

/** Makes the next VM entry deliver an exception; SDM Vol. 3C 24.8.3 "VM-Entry Controls for Event Injection". */
export const injectException = (context: ExitContext, vector: number, errorCode?: number): void => {
  const withCode = errorCode === undefined ? 0n : DELIVER_ERROR_CODE;
  writeField(
    context,
    FIELD.ENTRY_INTERRUPTION_INFORMATION,
    VALID | HARDWARE_EXCEPTION | withCode | BigInt(vector),
  );
  writeField(context, FIELD.ENTRY_EXCEPTION_ERROR_CODE, BigInt(errorCode ?? 0));
};

export const hasInjection = ({ hypervisor }: ExitContext): boolean =>
  (hypervisor.hardware.read(FIELD.ENTRY_INTERRUPTION_INFORMATION) & VALID) !== 0n;

/** Makes the next VM entry deliver the event whose delivery the exit interrupted, if there is one. */
export const injectInterrupted = (context: ExitContext): void => {
  const vectoring = readField(context, FIELD.IDT_VECTORING_INFORMATION);
  if ((vectoring & VALID) === 0n) return;
  writeField(context, FIELD.IDT_VECTORING_INFORMATION, 0n);
  if (hasInjection(context)) return;
  const code = readField(context, FIELD.IDT_VECTORING_ERROR_CODE);
  const length = readField(context, FIELD.EXIT_INSTRUCTION_LENGTH);
  writeField(context, FIELD.ENTRY_INTERRUPTION_INFORMATION, vectoring & ~NMI_UNBLOCKED);
  writeField(context, FIELD.ENTRY_EXCEPTION_ERROR_CODE, code);
  writeField(context, FIELD.ENTRY_INSTRUCTION_LENGTH, length);
};

/** What event breakpoints, logs and pages show of the exit that is in the VMCS. */
export const exitEvent = (context: ExitContext, name: string): VmExitEvent => {
  const { hypervisor, vcpu, reason, qualification } = context;
  const number = (field: number): number => Number(readField(context, field));
  return {
    kind: 'vm-exit',
    domain: vcpu.domain.id,
    vcpu: vcpu.id,
    retired: vcpu.retired,
    timeNs: hypervisor.nowNs,
    rip: readField(context, FIELD.GUEST_RIP),
    reason: name,
    number: reason,
    qualification,
    instructionLength: number(FIELD.EXIT_INSTRUCTION_LENGTH),
    guestLinear: readField(context, FIELD.GUEST_LINEAR_ADDRESS),
    guestPhysical: number(FIELD.GUEST_PHYSICAL_ADDRESS) as VmExitEvent['guestPhysical'],
    interruptionInformation: number(FIELD.EXIT_INTERRUPTION_INFORMATION),
    instructionInformation: number(FIELD.EXIT_INSTRUCTION_INFORMATION),
  };
};
