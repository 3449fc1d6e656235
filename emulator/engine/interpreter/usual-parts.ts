/**
 * What the generated functions of usual-events.ts are made of: memory by the second level of the
 * TLB, descriptors, segment registers, RFLAGS.
 */
import * as state from '../../cpu/state.ts';
import { PAGE_HAS_CODE, PAGE_HAS_CODE_TABLE, PAGE_HAS_TABLE } from '../../memory/machine-memory.ts';
import * as w from '../wasm/expression.ts';
import { FunctionWriter } from '../wasm/function-writer.ts';
import type { ModuleWriter } from '../wasm/module-writer.ts';
import { lacks, quad, word, ZERO } from './slots.ts';
import {
  CONTEXT_ALIGNMENT,
  CONTEXT_GENERATION,
  CONTEXT_USER,
  SECOND_WRITABLE,
} from './translation-tables.ts';

const SPECIAL = PAGE_HAS_CODE | PAGE_HAS_TABLE | PAGE_HAS_CODE_TABLE;
/** From RFLAGS.AC to CONTEXT_ALIGNMENT. */
const AC_SHIFT = 7;

export const parameter = (index: number): w.Expression => w.local('i32', index);
export const not = w.isZero;
export const levelOf = (access: w.Expression): w.Expression =>
  w.and(w.shiftRight(access, w.i32(5)), w.i32(3));
export const accessOf = (high: w.Expression): w.Expression =>
  w.and(w.shiftRight(high, w.i32(8)), w.i32(0xf0ff));
export const isCanonical = (address: w.Expression): w.Expression =>
  w.equal(w.shiftRightSigned(w.shiftLeft(address, w.i64(16)), w.i64(16)), address);

export const setWord = (f: FunctionWriter, address: number, value: w.Expression): void =>
  f.store(32, ZERO, address, value);
export const setQuad = (f: FunctionWriter, address: number, value: w.Expression): void =>
  f.store(64, ZERO, address, value);
export const unless = (f: FunctionWriter, condition: w.Expression): void =>
  f.if(not(condition), () => f.return(ZERO));

/** Functions by number. */
export interface Parts {
  /** (address, bytes, TLB context, whether it is written) -> host address, or 0. */
  readonly place: number;
  /** (selector, TLB context) -> host address of its descriptor in the GDT, or 0. */
  readonly descriptor: number;
  /** (slot, selector, access, descriptor's low and high half): base and limit are the descriptor's. */
  readonly setSegment: number;
  /** CPL and RFLAGS.AC have changed. */
  readonly setContexts: number;
}

export const writeParts = (module: ModuleWriter): Parts => {
  const i32s = (count: number): 'i32'[] => Array.from({ length: count }, () => 'i32');
  const place = module.function(module.type(['i64', 'i32', 'i32', 'i32'], ['i32']), writePlace());
  const descriptor = module.function(module.type(i32s(2), ['i32']), writeDescriptor(place));
  const setSegment = module.function(module.type(i32s(5), []), writeSetSegment());
  const setContexts = module.function(module.type([], []), writeSetContexts());
  return { place, descriptor, setSegment, setContexts };
};

const writePlace = (): FunctionWriter => {
  const f = new FunctionWriter(4);
  const address = w.local('i64', 0);
  const [bytes, context, writes] = [parameter(1), parameter(2), parameter(3)];
  const low = f.bind(w.wrap(address));
  const offset = f.bind(w.and(low, w.i32(0xfff)));
  f.if(w.lessUnsigned(w.i32(4096), w.add(offset, bytes)), () => f.return(ZERO));
  const number = w.and(w.shiftRight(low, w.i32(12)), w.i32(state.TLB_SECOND_ENTRIES - 1));
  const entry = f.bind(w.shiftLeft(number, w.i32(4)));
  const tag = w.or(w.and(address, w.i64(-4096)), w.extendUnsigned(context));
  unless(f, w.equal(w.load('i64', 64, entry, state.TLB_SECOND), tag));
  const known = f.bind(w.load('i32', 32, entry, state.TLB_SECOND + 8));
  const host = f.bind(w.and(known, w.i32(~SECOND_WRITABLE)));
  f.if(writes, () => {
    unless(f, w.and(known, w.i32(SECOND_WRITABLE)));
    const frame = w.shiftRight(w.subtract(host, w.i32(state.RAM)), w.i32(12));
    unless(f, lacks(w.load('i32', 8, frame, state.PAGE_FLAGS), SPECIAL));
  });
  f.return(w.add(host, offset));
  f.unreachable();
  return f;
};

const writeDescriptor = (place: number): FunctionWriter => {
  const f = new FunctionWriter(2);
  const selector = parameter(0);
  const offset = f.bind(w.and(selector, w.i32(0xfff8)));
  unless(f, lacks(selector, 4));
  unless(f, offset);
  f.if(w.lessUnsigned(word(state.GDTR_LIMIT), w.add(offset, w.i32(7))), () => f.return(ZERO));
  f.call(
    place,
    w.add(quad(state.GDTR_BASE), w.extendUnsigned(offset)),
    w.i32(8),
    parameter(1),
    ZERO,
  );
  return returning(f);
};

/** Gives back what is on the stack. */
const returning = (f: FunctionWriter): FunctionWriter => {
  const result = f.temporary('i32');
  f.setFromStack(result);
  f.return(result);
  f.unreachable();
  return f;
};

const writeSetSegment = (): FunctionWriter => {
  const f = new FunctionWriter(5);
  const [slot, selector, access] = [parameter(0), parameter(1), parameter(2)];
  const [low, high] = [parameter(3), parameter(4)];
  const raw = f.bind(w.or(w.and(high, w.i32(0xf_0000)), w.and(low, w.i32(0xffff))));
  const pages = w.or(w.shiftLeft(raw, w.i32(12)), w.i32(0xfff));
  const limit = w.select(w.and(access, w.i32(0x8000)), pages, raw);
  const base = w.or(
    w.or(w.and(high, w.i32(0xff00_0000 | 0)), w.shiftLeft(w.and(high, w.i32(0xff)), w.i32(16))),
    w.shiftRight(low, w.i32(16)),
  );
  const at = (address: number): number => address - state.segmentSelector(0);
  f.store(64, slot, at(state.segmentSelector(0)), w.extendUnsigned(selector));
  f.store(64, slot, at(state.segmentBase(0)), w.extendUnsigned(base));
  f.store(64, slot, at(state.segmentLimit(0)), w.extendUnsigned(limit));
  f.store(64, slot, at(state.segmentAccess(0)), w.extendUnsigned(access));
  return f;
};

/** RFLAGS.AC as a bit of TLB contexts. */
const alignmentContext = (): w.Expression =>
  w.and(w.shiftRight(word(state.RFLAGS_REST), w.i32(AC_SHIFT)), w.i32(CONTEXT_ALIGNMENT));

/** The context of supervisor accesses. */
export const supervisorContext = (): w.Expression =>
  w.or(w.and(word(state.TLB_CONTEXT), w.i32(CONTEXT_GENERATION)), alignmentContext());

const writeSetContexts = (): FunctionWriter => {
  const f = new FunctionWriter(0);
  const isUser = f.bind(w.equal(word(state.CPL), w.i32(3)));
  const user = w.select(isUser, w.i32(CONTEXT_USER), ZERO);
  setWord(f, state.TLB_CONTEXT, w.or(supervisorContext(), user));
  const code = w.and(word(state.CODE_CONTEXT + 4), w.i32(0x7fff_ffff));
  setWord(f, state.CODE_CONTEXT + 4, w.or(code, w.shiftLeft(isUser, w.i32(31))));
  return f;
};

/** RFLAGS as PUSHF would see it (cpu/rflags.ts). */
export const readFlags = (f: FunctionWriter): w.Expression => {
  const carry = f.bind(quad(state.FLAG_CARRY));
  const sign = f.bind(quad(state.FLAG_SIGN));
  const bit = (value: w.Expression, from: number, to: number): w.Expression => {
    const one = w.and(w.wrap(w.shiftRight(value, w.i64(from))), w.i32(1));
    return w.shiftLeft(one, w.i32(to));
  };
  const parity = w.and(w.countOnes(w.and(w.wrap(sign), w.i32(0xff))), w.i32(1));
  const flags = [
    bit(carry, 63, 0),
    w.shiftLeft(w.xor(parity, w.i32(1)), w.i32(2)),
    bit(carry, 3, 4),
    w.shiftLeft(w.isZero(quad(state.FLAG_RESULT)), w.i32(6)),
    bit(sign, 63, 7),
    bit(w.xor(carry, w.shiftLeft(carry, w.i64(1))), 63, 11),
  ];
  return f.bind(flags.reduce((sum, flag) => w.or(sum, flag), word(state.RFLAGS_REST)));
};

/** The status words of a value of RFLAGS. */
export const writeStatus = (f: FunctionWriter, rflags: w.Expression): void => {
  const bit = (from: number): w.Expression =>
    w.and(w.extendUnsigned(w.shiftRight(rflags, w.i32(from))), w.i64(1));
  const [cf, of] = [f.bind(bit(0)), bit(11)];
  setQuad(f, state.FLAG_RESULT, w.xor(bit(6), w.i64(1)));
  setQuad(f, state.FLAG_SIGN, w.or(w.xor(bit(2), w.i64(1)), w.shiftLeft(bit(7), w.i64(63))));
  const top = w.or(w.shiftLeft(cf, w.i64(63)), w.shiftLeft(w.xor(cf, of), w.i64(62)));
  setQuad(f, state.FLAG_CARRY, w.or(top, w.shiftLeft(bit(4), w.i64(3))));
};

/** Calls a function, and gives up if it gives 0. */
export const callerIn =
  (f: FunctionWriter) =>
  (callee: number, ...values: readonly w.Expression[]): w.Expression => {
    const result = f.temporary('i32');
    f.call(callee, ...values);
    f.setFromStack(result);
    unless(f, result);
    return result;
  };

export const isLong = (): w.Expression => w.equal(word(state.CODE_WIDTH), w.i32(64));
