/**
 * Exits that take one step: the interrupt window, exceptions that are handed back, instructions
 * that a guest without nested virtualization does not have, cache flushes.
 */
import { exitReasonNumber } from '../../vmx/exit-reasons.ts';
import { FIELD, INTERRUPT_WINDOW_EXITING } from '../hardware.ts';
import { handleShadowFault, isShadowFault } from '../shadow/fault-exit.ts';
import {
  advance,
  advanceStep,
  type ExitContext,
  type ExitHandler,
  type ExitSteps,
  hex,
  injectException,
  readField,
  step,
  writeField,
} from './exit.ts';

const UD = 6;

/** The guest can take interrupts now; VM entry injects the one that waits. */
export const interruptWindow: ExitHandler = {
  number: 7,
  *handle(context) {
    yield step(
      'Close the interrupt window',
      () => 'the interrupt that waits is injected by VM entry',
    );
    const controls = readField(context, FIELD.PRIMARY_CONTROLS);
    writeField(context, FIELD.PRIMARY_CONTROLS, controls & ~INTERRUPT_WINDOW_EXITING);
  },
};

/** An exception that the bitmap intercepts goes back to the guest, but for faults of shadow tables. */
export const exception: ExitHandler = {
  number: 0,
  *handle(context) {
    const information = readField(context, FIELD.EXIT_INTERRUPTION_INFORMATION);
    const { shadow } = context.vcpu.domain;
    if (shadow !== undefined && isShadowFault(context, information)) {
      yield* handleShadowFault(context, shadow);
      return;
    }
    yield step('Hand the exception back', () => `vector ${information & 0xffn}`);
    writeField(context, FIELD.ENTRY_INTERRUPTION_INFORMATION, information & ~(1n << 12n));
    const errorCode = readField(context, FIELD.EXIT_INTERRUPTION_ERROR_CODE);
    writeField(context, FIELD.ENTRY_EXCEPTION_ERROR_CODE, errorCode);
    const length = readField(context, FIELD.EXIT_INSTRUCTION_LENGTH);
    writeField(context, FIELD.ENTRY_INSTRUCTION_LENGTH, length);
  },
};

const skipping = (number: number, what: string): ExitHandler => ({
  number,
  *handle(context: ExitContext): ExitSteps {
    yield step('Do nothing', () => what);
    yield advanceStep(context);
    advance(context);
  },
});

/** Shadow entries follow every write to the guest's tables, so that none is stale. */
export const invlpg = skipping(14, "the shadow is in step with the guest's tables already");
export const invd = skipping(13, 'caches are not simulated');
export const wbinvd = skipping(54, 'caches are not simulated');

const undefinedInstruction = (number: number): ExitHandler => ({
  number,
  *handle(context: ExitContext): ExitSteps {
    const rip = readField(context, FIELD.GUEST_RIP);
    yield step('Inject #UD', () => `the instruction at ${hex(rip)} is not offered to this domain`);
    injectException(context, UD);
  },
});

/** VMX instructions and XSETBV. */
export const notOffered: readonly ExitHandler[] = [
  undefinedInstruction(exitReasonNumber('VMCLEAR')),
  undefinedInstruction(exitReasonNumber('VMLAUNCH')),
  undefinedInstruction(exitReasonNumber('VMPTRLD')),
  undefinedInstruction(exitReasonNumber('VMPTRST')),
  undefinedInstruction(exitReasonNumber('VMREAD')),
  undefinedInstruction(exitReasonNumber('VMRESUME')),
  undefinedInstruction(exitReasonNumber('VMWRITE')),
  undefinedInstruction(exitReasonNumber('VMXOFF')),
  undefinedInstruction(exitReasonNumber('VMXON')),
  undefinedInstruction(exitReasonNumber('INVEPT')),
  undefinedInstruction(exitReasonNumber('INVVPID')),
  undefinedInstruction(exitReasonNumber('XSETBV')),
  undefinedInstruction(exitReasonNumber('VMFUNC')),
];
