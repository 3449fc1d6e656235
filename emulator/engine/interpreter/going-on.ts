/**
 * Generated functions by which a page fault and IRETQ go on in generated code, if the run loop has
 * allowed it (GOES_ON): they do the event, and enter the block at the new RIP.
 */
import { LEAVE_REASONS } from '../../cpu/processor.ts';
import * as state from '../../cpu/state.ts';
import * as w from '../wasm/expression.ts';
import { FunctionWriter } from '../wasm/function-writer.ts';
import type { ModuleWriter } from '../wasm/module-writer.ts';
import { HEADER, HEADER_BYTES, RECORD, RECORD_BYTES } from './record.ts';
import { quad, word, ZERO } from './slots.ts';
import type { UsualEvents } from './usual-events.ts';

/** Functions of generate.ts. */
interface Entering {
  /** (record): stands there. */
  readonly leave: number;
  /** (target, address of the link) -> block, or 0 with RIP set. */
  readonly find: number;
  /** (block): stands there. */
  readonly outOfBudget: number;
}

const PF = 14;
const RFLAGS_TF = 0x100;
const RFLAGS_RF = 0x1_0000;
const RECORD_PARAMETER = w.local('i32', 0);

const may = (bit: number): w.Expression => w.and(word(state.GOES_ON), w.i32(bit));

const result = (f: FunctionWriter): w.Expression => {
  const value = f.temporary('i32');
  f.setFromStack(value);
  return value;
};

export const writeGoingOn = (
  module: ModuleWriter,
  entering: Entering,
  events: UsualEvents,
): { refused: number; returnFromInterrupt: number } => {
  const enter = module.function(module.type([], ['i32']), writeEnter(entering));
  const type = module.type(['i32'], ['i32']);
  return {
    refused: module.function(type, writeRefused(entering, events, enter)),
    returnFromInterrupt: module.function(type, writeReturn(entering, events, enter)),
  };
};

/** () -> the first record of the block at RIP, or 0 when that is to be left. */
const writeEnter = ({ find, outOfBudget }: Entering): FunctionWriter => {
  const f = new FunctionWriter(0);
  f.call(find, quad(state.RIP), ZERO);
  const block = result(f);
  f.if(w.isZero(block), () => f.return(ZERO));
  const left = f.bind(
    w.subtract(word(state.BUDGET), w.load('i32', 32, block, HEADER.instructions)),
  );
  f.if(w.lessSigned(left, ZERO), () => {
    f.call(outOfBudget, block);
    f.return(ZERO);
  });
  f.store(32, ZERO, state.BUDGET, left);
  f.return(w.add(block, w.i32(HEADER_BYTES)));
  f.unreachable();
  return f;
};

/** After a refused access: a page fault is delivered. A delivery counts as an instruction. */
const writeRefused = (entering: Entering, events: UsualEvents, enter: number): FunctionWriter => {
  const f = new FunctionWriter(1);
  const record = RECORD_PARAMETER;
  const isFault = w.equal(word(state.LEAVE_REASON), w.i32(LEAVE_REASONS.fault));
  const mayDeliver = w.differs(may(state.MAY_GO_ON.pageFault), ZERO);
  f.if(w.and(isFault, mayDeliver), () => {
    // The budget has been charged with the whole block.
    const number = f.bind(w.load('i32', 8, record, RECORD.number));
    const before = w.add(w.multiply(number, w.i32(RECORD_BYTES)), w.i32(HEADER_BYTES));
    const count = w.load('i32', 32, w.subtract(record, before), HEADER.instructions);
    const left = f.bind(w.add(word(state.BUDGET), w.subtract(count, number)));
    f.if(w.lessSigned(ZERO, left), () => {
      const offset = w.load('i64', 16, record, RECORD.pageOffset);
      f.store(64, ZERO, state.RIP, w.add(quad(state.RIP_PAGE), offset));
      f.call(events.deliver, w.i32(PF), word(state.FAULT_ERROR), w.i32(1));
      f.if(result(f), () => {
        f.store(64, ZERO, state.CR2, quad(state.FAULT_ADDRESS));
        f.store(32, ZERO, state.BUDGET, w.subtract(left, w.i32(1)));
        f.store(32, ZERO, state.DELIVERIES, w.add(word(state.DELIVERIES), w.i32(1)));
        f.call(enter);
        f.return(result(f));
      });
    });
  });
  f.call(entering.leave, record);
  f.return(ZERO);
  f.unreachable();
  return f;
};

/** IRETQ, but for one that sets TF: that is looked at after the next instruction. */
const writeReturn = (entering: Entering, events: UsualEvents, enter: number): FunctionWriter => {
  const f = new FunctionWriter(1);
  f.if(may(state.MAY_GO_ON.interruptReturn), () => {
    f.call(events.returnFromInterrupt, w.i32(RFLAGS_TF));
    f.if(result(f), () => {
      f.call(enter);
      const next = result(f);
      // The instruction that follows clears RF.
      const cleared = w.and(word(state.RFLAGS_REST), w.i32(~RFLAGS_RF));
      f.if(next, () => f.store(32, ZERO, state.RFLAGS_REST, cleared));
      f.return(next);
    });
  });
  f.store(32, ZERO, state.LEAVE_REASON, w.i32(LEAVE_REASONS.operation));
  f.call(entering.leave, RECORD_PARAMETER);
  f.return(ZERO);
  f.unreachable();
  return f;
};
