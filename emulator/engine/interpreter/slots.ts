/** Slots of the machine's memory (cpu/state.ts) and bits, as WebAssembly expressions. */
import * as w from '../wasm/expression.ts';

export const ZERO = w.i32(0);
/** The i32 at a fixed address. */
export const word = (address: number): w.Expression => w.load('i32', 32, ZERO, address);
/** The i64 at a fixed address. */
export const quad = (address: number): w.Expression => w.load('i64', 64, ZERO, address);
/** Whether any of the bits is set, as 0 or 1. */
export const has = (value: w.Expression, bits: number): w.Expression =>
  w.differs(w.and(value, w.i32(bits)), ZERO);
export const lacks = (value: w.Expression, bits: number): w.Expression =>
  w.isZero(w.and(value, w.i32(bits)));
