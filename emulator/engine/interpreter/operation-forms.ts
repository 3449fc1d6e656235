/**
 * Handlers of instructions that are nothing but an operation (operation-plan.ts). Most leave to the
 * precise engine; those that a guest uses at every page fault are done here, or by the run loop.
 */
import { LEAVE_REASONS } from '../../cpu/processor.ts';
import * as state from '../../cpu/state.ts';
import type { OperationPlan } from '../operation-plan.ts';
import * as w from '../wasm/expression.ts';
import type { FunctionWriter } from '../wasm/function-writer.ts';
import type { Control } from './projection.ts';
import { RECORD } from './record.ts';
import { quad, word } from './slots.ts';

interface OperationForm {
  readonly key: string;
  /** Whether the instruction may be followed by others in its block. */
  readonly goesOn: boolean;
  readonly emit: (f: FunctionWriter, record: w.Expression, control: Control) => void;
}

const QUADWORD = 64n;
const CR2 = 2n;

/** Leaves to the precise engine. */
const other: OperationForm = {
  key: '(operation)',
  goesOn: false,
  emit: (_f, _record, control) => control.leaveFor(LEAVE_REASONS.operation),
};

const interruptReturn: OperationForm = {
  key: '(iretq)',
  goesOn: false,
  emit: (_f, _record, control) => control.returnFromInterrupt(),
};

const readFaultAddress: OperationForm = {
  key: '(mov r64, cr2)',
  goesOn: true,
  emit: (f, record, control) => {
    f.if(word(state.CPL), () => control.leaveFor(LEAVE_REASONS.operation));
    const register = w.load('i32', 16, record, RECORD.registers[0]);
    f.store(64, register, 0, quad(state.CR2));
    control.next();
  },
};

/** Nothing that engines remember is stale, so that nothing is to be forgotten. */
const invalidatePage: OperationForm = {
  key: '(invlpg)',
  goesOn: true,
  emit: (f, _record, control) => {
    f.if(w.or(word(state.CPL), word(state.INVLPG_LEAVES)), () =>
      control.leaveFor(LEAVE_REASONS.operation),
    );
    control.next();
  },
};

export const OPERATION_FORMS: readonly OperationForm[] = [
  other,
  interruptReturn,
  readFaultAddress,
  invalidatePage,
];

/** The form of an operation, and the general register that its handler writes. */
export const operationFormOf = (
  plan: OperationPlan,
): { readonly form: OperationForm; readonly register?: number } => {
  switch (plan.operation) {
    case 'interruptReturn':
      return { form: plan.args()[0] === QUADWORD ? interruptReturn : other };
    case 'readControlRegister': {
      const [number, register = 0n] = plan.args();
      return number === CR2 && plan.instruction.form.codeWidth === 64
        ? { form: readFaultAddress, register: Number(register) }
        : { form: other };
    }
    case 'invlpg':
      return { form: invalidatePage };
    default:
      return { form: other };
  }
};
