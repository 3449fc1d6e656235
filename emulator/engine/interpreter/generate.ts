/**
 * Writes the interpreter of a code size: a WebAssembly module with a handler for each form. A
 * handler takes a record and gives the next one, or 0 when it leaves. `run` dispatches until a
 * handler leaves; `step` executes one record by a given handler.
 */
import { LEAVE_REASONS } from '../../cpu/processor.ts';
import * as state from '../../cpu/state.ts';
import * as w from '../wasm/expression.ts';
import { FunctionWriter } from '../wasm/function-writer.ts';
import { ModuleWriter } from '../wasm/module-writer.ts';
import { writeFill } from './fill.ts';
import { type FastWidth, type HandlerForm, handlerFormsOf } from './forms.ts';
import { writeGoingOn } from './going-on.ts';
import { OPERATION_FORMS } from './operation-forms.ts';
import { type Control, Projection, Unsupported } from './projection.ts';
import { HEADER, HEADER_BYTES, RECORD, RECORD_BYTES } from './record.ts';
import { writeUsualEvents } from './usual-events.ts';

export interface Interpreter {
  readonly bytes: Uint8Array<ArrayBuffer>;
  /** Handler numbers by form key. */
  readonly handlers: ReadonlyMap<string, number>;
}

/** Keys of handlers that belong to no instruction. */
export const LEAVE_FORM = '(leave)';
export const GO_ON_FORM = '(go on)';

const ZERO = w.i32(0);
const RECORD_PARAMETER = w.local('i32', 0);

/** How many forms the branch table holds; more make one function too large for good code. */
const BRANCH_TABLE_FORMS = 180;

interface Shared {
  readonly codeWidth: FastWidth;
  readonly fill: number;
  readonly leave: number;
  readonly find: number;
  readonly outOfBudget: number;
  /** (record) -> next record, or 0 when it leaves: after a refused access, and for IRETQ. */
  readonly refused: number;
  readonly returnFromInterrupt: number;
}

/** Where a handler returns to: from its own function, or round the loop of `run`. */
interface Exits {
  next(record: w.Expression): void;
  leave(): void;
}

const controlOf = (
  f: FunctionWriter,
  record: w.Expression,
  shared: Shared,
  exits: Exits,
): Control => {
  const enter = (block: w.Expression): void => {
    const left = f.bind(
      w.subtract(
        w.load('i32', 32, ZERO, state.BUDGET),
        w.load('i32', 32, block, HEADER.instructions),
      ),
    );
    f.if(w.lessSigned(left, ZERO), () => {
      f.call(shared.outOfBudget, block);
      exits.leave();
    });
    f.store(32, ZERO, state.BUDGET, left);
    exits.next(w.add(block, w.i32(HEADER_BYTES)));
  };
  const findOrLeave = (block: w.Expression, target: w.Expression, link: w.Expression): void => {
    f.call(shared.find, target, link);
    f.setFromStack(block);
    f.if(w.isZero(block), () => exits.leave());
  };
  const page = w.load('i64', 64, ZERO, state.RIP_PAGE);
  const wrapped = (target: w.Expression) =>
    shared.codeWidth === 64 ? target : w.and(target, w.i64(0xffff_ffff));
  const targets = {
    taken: wrapped(w.add(page, w.load('i64', 64, record, RECORD.immediate))),
    notTaken: wrapped(
      w.add(
        page,
        w.add(
          w.load('i64', 16, record, RECORD.pageOffset),
          w.load('i64', 8, record, RECORD.length),
        ),
      ),
    ),
  };
  const leaveFor = (reason: number): void => {
    f.store(32, ZERO, state.LEAVE_REASON, w.i32(reason));
    f.call(shared.leave, record);
    exits.leave();
  };
  const goOnBy = (callee: number): void => {
    const next = f.temporary('i32');
    f.call(callee, record);
    f.setFromStack(next);
    f.if(next, () => exits.next(next));
    exits.leave();
  };
  return {
    fill: shared.fill,
    leave: () => leaveFor(LEAVE_REASONS.precise),
    leaveFor,
    leaveAccess: () => goOnBy(shared.refused),
    returnFromInterrupt: () => goOnBy(shared.returnFromInterrupt),
    next: () => exits.next(w.add(record, w.i32(RECORD_BYTES))),
    link: (which) => {
      const at = RECORD[which];
      const block = f.bind(w.load('i32', 32, record, at));
      f.if(w.isZero(block), () => {
        findOrLeave(block, targets[which], w.add(record, w.i32(at)));
      });
      enter(block);
    },
    jump: (target) => {
      const block = f.temporary('i32');
      findOrLeave(block, target, ZERO);
      enter(block);
    },
  };
};

type Emit = (f: FunctionWriter, record: w.Expression, shared: Shared, exits: Exits) => void;

interface Handler {
  readonly key: string;
  readonly emit: Emit;
}

const PSEUDO: readonly Handler[] = [
  ...OPERATION_FORMS.map(
    ({ key, emit }): Handler => ({
      key,
      emit: (f, record, shared, exits) => emit(f, record, controlOf(f, record, shared, exits)),
    }),
  ),
  {
    key: LEAVE_FORM,
    emit: (f, record, shared, exits) => controlOf(f, record, shared, exits).leave(),
  },
  {
    key: GO_ON_FORM,
    emit: (f, record, shared, exits) => controlOf(f, record, shared, exits).link('taken'),
  },
];

const emitForm =
  (form: HandlerForm): Emit =>
  (f, record, shared, exits) => {
    const projection = new Projection(f, form, record, controlOf(f, record, shared, exits));
    form.definition.semantics(projection, ...form.operands);
    projection.commit();
  };

/** The function of a handler; undefined if handlers cannot express the form's meaning. */
const functionOf = ({ emit }: Handler, shared: Shared): FunctionWriter | undefined => {
  const f = new FunctionWriter(1);
  try {
    emit(f, RECORD_PARAMETER, shared, {
      next: (record) => f.return(record),
      leave: () => f.return(ZERO),
    });
  } catch (error) {
    if (error instanceof Unsupported) return undefined;
    throw error;
  }
  f.unreachable();
  return f;
};

export const generateInterpreter = (codeWidth: FastWidth): Interpreter => {
  const module = new ModuleWriter();
  const handlerType = module.type(['i32'], ['i32']);
  const slow = module.import('slow', module.type(['i32', 'i32', 'i32'], ['i32']));
  const shared: Shared = { codeWidth, ...writeShared(module, slow) };
  const formsOfWidth = handlerFormsOf(codeWidth);
  const all = formsOfWidth.forms.map((form) => ({ key: form.key, emit: emitForm(form) }));
  const hot = Math.min(formsOfWidth.hot, BRANCH_TABLE_FORMS);
  const handlers: Handler[] = [];
  const functions: number[] = [];
  for (const handler of [...all.slice(0, hot), ...PSEUDO, ...all.slice(hot)]) {
    const body = functionOf(handler, shared);
    if (body === undefined) continue;
    handlers.push(handler);
    functions.push(module.function(handlerType, body));
  }
  module.table(functions);
  writeRun(module, handlerType, handlers.slice(0, hot), shared);
  const step = new FunctionWriter(2);
  step.callIndirect(handlerType, w.local('i32', 1), RECORD_PARAMETER);
  module.function(module.type(['i32', 'i32'], ['i32']), step, 'step');
  return {
    bytes: module.bytes(),
    handlers: new Map(handlers.map(({ key }, index) => [key, index])),
  };
};

/** Functions that handlers call when they leave or look for a block. */
const writeShared = (module: ModuleWriter, slow: number): Omit<Shared, 'codeWidth'> => {
  const fill = module.function(module.type(['i64', 'i32'], ['i32']), writeFill(slow));
  const reason = (f: FunctionWriter, value: number) =>
    f.store(32, ZERO, state.LEAVE_REASON, w.i32(value));

  const leave = new FunctionWriter(1);
  leave.store(32, ZERO, state.LAST_RECORD, RECORD_PARAMETER);
  const leaveIndex = module.function(module.type(['i32'], []), leave);

  // (target, address of the link) -> block, or 0 with RIP set.
  const find = new FunctionWriter(2);
  const target = w.local('i64', 0);
  const wanted = find.bind(
    w.or(w.and(target, w.i64(0xffff_ffff_ffffn)), w.load('i64', 64, ZERO, state.CODE_CONTEXT)),
  );
  const mask = (state.BLOCK_HASH_ENTRIES - 1) * 16;
  const entry = find.bind(w.and(w.shiftLeft(w.wrap(target), w.i32(4)), w.i32(mask)));
  find.if(w.equal(w.load('i64', 64, entry, state.BLOCK_HASH), wanted), () => {
    find.store(64, ZERO, state.RIP_PAGE, w.and(target, w.i64(-4096)));
    find.return(w.load('i32', 32, entry, state.BLOCK_HASH + 8));
  });
  find.store(64, ZERO, state.RIP, target);
  find.store(32, ZERO, state.LAST_RECORD, w.local('i32', 1));
  reason(find, LEAVE_REASONS.needBlock);
  find.return(ZERO);
  find.unreachable();
  const findIndex = module.function(module.type(['i64', 'i32'], ['i32']), find);

  const outOfBudget = new FunctionWriter(1);
  const offset = w.load('i64', 32, RECORD_PARAMETER, HEADER.pageOffset);
  const page = w.load('i64', 64, ZERO, state.RIP_PAGE);
  outOfBudget.store(64, ZERO, state.RIP, w.add(page, offset));
  reason(outOfBudget, LEAVE_REASONS.budget);
  const outOfBudgetIndex = module.function(module.type(['i32'], []), outOfBudget);
  const entering = { leave: leaveIndex, find: findIndex, outOfBudget: outOfBudgetIndex };
  return { fill, ...entering, ...writeGoingOn(module, entering, writeUsualEvents(module)) };
};

const writeRun = (
  module: ModuleWriter,
  handlerType: number,
  hot: readonly Handler[],
  shared: Shared,
): void => {
  const f = new FunctionWriter(1);
  const record = RECORD_PARAMETER;
  const handler = w.load('i32', 16, record, RECORD.handler);
  const loop = f.loop();
  const cold = f.block();
  const labels = hot.map(() => f.block()).reverse();
  f.branchTable(handler, labels, cold);
  for (const { emit } of hot) {
    f.end();
    f.scoped(() =>
      emit(f, record, shared, {
        next: (next) => {
          f.set(record, next);
          f.branch(loop);
        },
        leave: () => f.return(ZERO),
      }),
    );
  }
  f.end();
  f.callIndirect(handlerType, handler, record);
  f.setFromStack(record);
  f.branchIf(record, loop);
  f.end();
  f.return(ZERO);
  f.unreachable();
  module.function(handlerType, f, 'run');
};
