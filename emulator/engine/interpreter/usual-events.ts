/**
 * Generated functions for exceptions and IRETQ in their usual form: 64-bit mode, gates and segments
 * of the GDT with all checks passed, frames within a page, memory that the second level of the TLB
 * knows. Each does all, or nothing and gives 0; then exceptions.ts and interrupt-return.ts (cpu/) do
 * it, which come to the same result and say why. Source: SDM Vol. 3A 6.14 "Exception and Interrupt
 * Handling in 64-bit Mode"; Vol. 2A, IRET.
 */
import * as state from '../../cpu/state.ts';
import * as w from '../wasm/expression.ts';
import { FunctionWriter } from '../wasm/function-writer.ts';
import type { ModuleWriter } from '../wasm/module-writer.ts';
import { lacks, quad, word, ZERO } from './slots.ts';
import { CONTEXT_ALIGNMENT, CONTEXT_USER } from './translation-tables.ts';
import {
  accessOf,
  callerIn,
  isCanonical,
  isLong,
  levelOf,
  not,
  type Parts,
  parameter,
  readFlags,
  setQuad,
  setWord,
  supervisorContext,
  unless,
  writeParts,
  writeStatus,
} from './usual-parts.ts';

const RSP = state.registerSlot(4);
const RING_0_STACK = 4;
/** From CR4.SMAP to CONTEXT_ALIGNMENT. */
const SMAP_SHIFT = 10;

const RFLAGS_TF = 0x100;
const RFLAGS_IF = 0x200;
const RFLAGS_IOPL = 0x3000;
const RFLAGS_NT = 0x4000;
const RFLAGS_RF = 0x1_0000;
const RFLAGS_VM = 0x2_0000;
const STATUS = 0x8d5;
/** Bits that IRETQ restores at any level. */
const RESTORED = 0x25_4dd5;
const BLOCKED_NMI = 8;

const INTERRUPT_GATE = 0xe;
/** Of a descriptor's access: present, code, not conforming, 64-bit, accessed; without DPL and R. */
const CODE_MASK = 0x609d;
const LONG_CODE = 0x2099;
/** Present, writable data, accessed; without DPL and E. */
const DATA_MASK = 0x9b;
const WRITABLE_DATA = 0x93;
const CONFORMING_CODE = 0x1c;
const UNUSABLE = 1 << 16;

export interface UsualEvents {
  /** (vector, error code or -1, whether RF is set in the image of RFLAGS) -> 1 if it is delivered. */
  readonly deliver: number;
  /** (flags that are refused) -> 1 if it has returned. */
  readonly returnFromInterrupt: number;
}

export const writeUsualEvents = (module: ModuleWriter): UsualEvents => {
  const parts = writeParts(module);
  return {
    deliver: module.function(
      module.type(['i32', 'i32', 'i32'], ['i32']),
      writeDeliver(parts),
      'deliver',
    ),
    returnFromInterrupt: module.function(
      module.type(['i32'], ['i32']),
      writeReturn(parts),
      'returnFromInterrupt',
    ),
  };
};

const writeDeliver = ({ place, descriptor, setSegment, setContexts }: Parts): FunctionWriter => {
  const f = new FunctionWriter(3);
  const [vector, errorCode, resumes] = [parameter(0), parameter(1), parameter(2)];
  const called = callerIn(f);
  unless(f, isLong());
  const context = f.bind(supervisorContext());
  // The processor's own accesses are not lifted out of SMAP by RFLAGS.AC.
  const isLifted = w.and(context, w.i32(CONTEXT_ALIGNMENT));
  f.if(w.and(w.shiftRight(word(state.CR4), w.i32(SMAP_SHIFT)), isLifted), () => f.return(ZERO));
  const offset = f.bind(w.shiftLeft(vector, w.i32(4)));
  f.if(w.lessUnsigned(word(state.IDTR_LIMIT), w.add(offset, w.i32(15))), () => f.return(ZERO));
  const gate = called(
    place,
    w.add(quad(state.IDTR_BASE), w.extendUnsigned(offset)),
    w.i32(16),
    context,
    ZERO,
  );
  const low = f.bind(w.load('i32', 32, gate));
  const middle = f.bind(w.load('i32', 32, gate, 4));
  const type = f.bind(w.and(w.shiftRight(middle, w.i32(8)), w.i32(0x1f)));
  // Present, and not with a stack of its own.
  unless(f, w.equal(w.and(type, w.i32(0x1e)), w.i32(INTERRUPT_GATE)));
  unless(f, w.equal(w.and(middle, w.i32(0x8007)), w.i32(0x8000)));
  const entryLow = w.or(w.and(middle, w.i32(0xffff_0000 | 0)), w.and(low, w.i32(0xffff)));
  const high = w.shiftLeft(w.load('i64', 32, gate, 8), w.i64(32));
  const entry = f.bind(w.or(high, w.extendUnsigned(entryLow)));
  unless(f, isCanonical(entry));
  const selector = f.bind(w.shiftRight(low, w.i32(16)));
  const code = called(descriptor, selector, context);
  const codeHigh = f.bind(w.load('i32', 32, code, 4));
  const access = f.bind(accessOf(codeHigh));
  const target = f.bind(levelOf(access));
  const cpl = f.bind(word(state.CPL));
  unless(f, w.equal(w.and(access, w.i32(CODE_MASK)), w.i32(LONG_CODE)));
  const changes = f.bind(w.differs(target, cpl));
  f.if(w.and(changes, w.differs(target, ZERO)), () => f.return(ZERO));
  const top = f.bind(quad(RSP));
  f.if(changes, () => {
    const limit = word(state.segmentLimit(state.TR));
    f.if(w.lessUnsigned(limit, w.i32(RING_0_STACK + 7)), () => f.return(ZERO));
    const at = w.add(quad(state.segmentBase(state.TR)), w.i64(RING_0_STACK));
    f.set(top, w.load('i64', 64, called(place, at, w.i32(8), context, ZERO)));
  });
  const hasCode = f.bind(not(w.lessSigned(errorCode, ZERO)));
  const bytes = f.bind(w.add(w.i32(40), w.shiftLeft(hasCode, w.i32(3))));
  const bottom = f.bind(w.subtract(w.and(top, w.i64(-16)), w.extendUnsigned(bytes)));
  const ofUser = w.select(w.equal(target, w.i32(3)), w.i32(CONTEXT_USER), ZERO);
  const frame = called(place, bottom, bytes, w.or(context, ofUser), w.i32(1));

  f.if(hasCode, () => {
    f.store(64, frame, 0, w.extendUnsigned(errorCode));
    f.set(frame, w.add(frame, w.i32(8)));
  });
  const rflags = readFlags(f);
  const resume = w.select(resumes, w.i32(RFLAGS_RF), ZERO);
  const selectorOf = (segment: number): w.Expression =>
    w.load('i64', 32, ZERO, state.segmentSelector(segment));
  f.store(64, frame, 0, quad(state.RIP));
  f.store(64, frame, 8, selectorOf(state.CS));
  f.store(64, frame, 16, w.extendUnsigned(w.or(rflags, resume)));
  f.store(64, frame, 24, quad(RSP));
  f.store(64, frame, 32, selectorOf(state.SS));

  setQuad(f, RSP, bottom);
  f.if(changes, () => {
    const rights = w.or(w.i32(UNUSABLE), w.shiftLeft(target, w.i32(5)));
    f.call(setSegment, w.i32(state.segmentSelector(state.SS)), target, rights, ZERO, ZERO);
  });
  const own = w.or(w.and(selector, w.i32(0xfffc)), target);
  const codeLow = w.load('i32', 32, code);
  f.call(setSegment, w.i32(state.segmentSelector(state.CS)), own, access, codeLow, codeHigh);
  setWord(f, state.CPL, target);
  setQuad(f, state.RIP, entry);
  const cleared = RFLAGS_TF | RFLAGS_NT | RFLAGS_RF | RFLAGS_VM;
  const mask = w.select(w.and(type, w.i32(1)), w.i32(~cleared), w.i32(~(cleared | RFLAGS_IF)));
  setWord(f, state.RFLAGS_REST, w.and(word(state.RFLAGS_REST), mask));
  setWord(f, state.INTERRUPTIBILITY, w.and(word(state.INTERRUPTIBILITY), w.i32(~3)));
  setWord(f, state.ACTIVITY, ZERO);
  f.call(setContexts);
  f.return(w.i32(1));
  f.unreachable();
  return f;
};

const writeReturn = ({ place, descriptor, setSegment, setContexts }: Parts): FunctionWriter => {
  const f = new FunctionWriter(1);
  const refused = parameter(0);
  const called = callerIn(f);
  unless(f, isLong());
  unless(f, lacks(word(state.INTERRUPTIBILITY), BLOCKED_NMI));
  unless(f, lacks(word(state.RFLAGS_REST), RFLAGS_NT));
  const context = f.bind(supervisorContext());
  const isLifted = w.and(context, w.i32(CONTEXT_ALIGNMENT));
  f.if(w.and(w.shiftRight(word(state.CR4), w.i32(SMAP_SHIFT)), isLifted), () => f.return(ZERO));
  const cpl = f.bind(word(state.CPL));
  const ofUser = w.select(w.equal(cpl, w.i32(3)), w.i32(CONTEXT_USER), ZERO);
  const frame = called(place, quad(RSP), w.i32(40), w.or(context, ofUser), ZERO);
  const rip = f.bind(w.load('i64', 64, frame));
  const selector = f.bind(w.load('i32', 16, frame, 8));
  const popped = f.bind(w.load('i32', 32, frame, 16));
  const stackSelector = f.bind(w.load('i32', 16, frame, 32));
  const target = f.bind(w.and(selector, w.i32(3)));
  unless(f, isCanonical(rip));
  f.if(w.and(popped, refused), () => f.return(ZERO));
  f.if(w.lessUnsigned(target, cpl), () => f.return(ZERO));
  const code = called(descriptor, selector, context);
  const codeHigh = f.bind(w.load('i32', 32, code, 4));
  const access = f.bind(accessOf(codeHigh));
  unless(f, w.equal(w.and(access, w.i32(CODE_MASK)), w.i32(LONG_CODE)));
  unless(f, w.equal(levelOf(access), target));
  const stackAccess = f.bind(w.or(w.i32(UNUSABLE), w.shiftLeft(target, w.i32(5))));
  const stackLow = f.temporary('i32');
  const stackHigh = f.temporary('i32');
  f.set(stackLow, ZERO);
  f.set(stackHigh, ZERO);
  f.if(
    w.and(stackSelector, w.i32(0xfffc)),
    () => {
      const stack = called(descriptor, stackSelector, context);
      f.set(stackLow, w.load('i32', 32, stack));
      f.set(stackHigh, w.load('i32', 32, stack, 4));
      f.set(stackAccess, accessOf(stackHigh));
      unless(f, w.equal(w.and(stackAccess, w.i32(DATA_MASK)), w.i32(WRITABLE_DATA)));
      unless(f, w.equal(levelOf(stackAccess), target));
      unless(f, w.equal(w.and(stackSelector, w.i32(3)), target));
    },
    () => f.if(w.equal(target, w.i32(3)), () => f.return(ZERO)),
  );

  const stackSlot = w.i32(state.segmentSelector(state.SS));
  f.call(setSegment, stackSlot, stackSelector, stackAccess, stackLow, stackHigh);
  const codeLow = w.load('i32', 32, code);
  f.call(setSegment, w.i32(state.segmentSelector(state.CS)), selector, access, codeLow, codeHigh);
  setQuad(f, state.RIP, rip);
  setQuad(f, RSP, w.load('i64', 64, frame, 24));
  const old = f.bind(word(state.RFLAGS_REST));
  const iopl = w.and(w.shiftRight(old, w.i32(12)), w.i32(3));
  const mayInterrupt = w.select(w.lessUnsigned(iopl, cpl), ZERO, w.i32(RFLAGS_IF));
  const mayRaise = w.select(cpl, ZERO, w.i32(RFLAGS_IOPL));
  const mask = f.bind(w.or(w.i32(RESTORED & ~STATUS), w.or(mayInterrupt, mayRaise)));
  const kept = w.and(old, w.xor(mask, w.i32(-1)));
  setWord(f, state.RFLAGS_REST, w.or(kept, w.or(w.and(popped, mask), w.i32(2))));
  writeStatus(f, popped);
  setWord(f, state.CPL, target);
  f.if(w.differs(target, cpl), () => {
    for (const segment of [state.ES, state.DS, state.FS, state.GS])
      dropInner(f, segment, target, setSegment);
  });
  f.call(setContexts);
  f.return(w.i32(1));
  f.unreachable();
  return f;
};

/** A return outwards clears a data segment that the outer level may not use. */
const dropInner = (
  f: FunctionWriter,
  segment: number,
  level: w.Expression,
  setSegment: number,
): void =>
  f.scoped(() => {
    const access = f.bind(word(state.segmentAccess(segment)));
    const isConforming = w.equal(w.and(access, w.i32(CONFORMING_CODE)), w.i32(CONFORMING_CODE));
    const mayStay = w.or(isConforming, not(w.lessUnsigned(levelOf(access), level)));
    const isDropped = w.and(not(mayStay), lacks(access, UNUSABLE));
    f.if(isDropped, () => {
      const slot = w.i32(state.segmentSelector(segment));
      f.call(setSegment, slot, ZERO, w.i32(UNUSABLE), ZERO, ZERO);
    });
  });
