/**
 * The algebra of the status flags, shared by all instructions.
 *
 * The six flags live in three 64-bit words (StatusWords in semantics.ts). An addition or
 * subtraction leaves its sign-extended result and its vector of carries out of each bit, shifted
 * so that the carry out of the operand's top bit is bit 63; AF is the carry out of bit 3. No word
 * says which operation made it, so reading a flag needs no dispatch, and POPF can make any mix.
 *
 * Definitions of the flags: SDM Vol. 1 3.4.3.1 "Status Flags".
 */
import type { Width } from './operands.ts';
import type { Semantics, StatusWords } from './semantics.ts';

const AF_BIT = 8;

/** A carry vector of the operand's width, as a carry word. */
const carryWord = <V>(s: Semantics<V>, carries: V, width: Width): V => {
  if (width === 64) return carries;
  const wide = s.zeroExtend(carries, 64);
  const top = s.shiftLeft(wide, s.constant(64 - width, 64));
  return s.or(top, s.and(wide, s.constant(AF_BIT, 64)));
};

const signed = <V>(s: Semantics<V>, result: V): V => s.bind(s.signExtend(result, 64));

/** After `result = a + b (+ carry in)`, all of `width`. */
export const flagsOfAddition = <V>(
  s: Semantics<V>,
  a: V,
  b: V,
  result: V,
  width: Width,
): StatusWords<V> => {
  const carries = s.or(s.and(a, b), s.and(s.or(a, b), s.not(result)));
  const sign = signed(s, result);
  return { result: sign, sign, carry: carryWord(s, carries, width) };
};

/** After `result = a - b (- borrow in)`, all of `width`. */
export const flagsOfSubtraction = <V>(
  s: Semantics<V>,
  a: V,
  b: V,
  result: V,
  width: Width,
): StatusWords<V> => {
  const notA = s.not(a);
  const borrows = s.or(s.and(notA, b), s.and(s.or(notA, b), result));
  const sign = signed(s, result);
  return { result: sign, sign, carry: carryWord(s, borrows, width) };
};

/** After a logical operation: CF, OF and AF are clear (AF is undefined). */
export const flagsOfLogic = <V>(s: Semantics<V>, result: V): StatusWords<V> => {
  const sign = signed(s, result);
  return { result: sign, sign, carry: s.constant(0, 64) };
};

/** A carry word from CF and OF as conditions; AF is clear. */
export const carryWordOf = <V>(s: Semantics<V>, cf: V, of: V): V => {
  const carry = s.bind(s.zeroExtend(cf, 64));
  const overflow = s.zeroExtend(of, 64);
  return s.or(
    s.shiftLeft(carry, s.constant(63, 64)),
    s.shiftLeft(s.xor(carry, overflow), s.constant(62, 64)),
  );
};

/** The words with CF replaced; OF, AF and the rest stay. */
export const withCarry = <V>(s: Semantics<V>, words: StatusWords<V>, cf: V): StatusWords<V> => {
  const top = s.constant(63, 64);
  const old = s.bind(words.carry);
  const flip = s.bind(s.xor(s.shiftRight(old, top), s.zeroExtend(cf, 64)));
  const mask = s.or(s.shiftLeft(flip, top), s.shiftLeft(flip, s.constant(62, 64)));
  return { ...words, carry: s.xor(old, mask) };
};

/** The words with CF and OF replaced; AF and the rest stay. */
export const withCarryAndOverflow = <V>(
  s: Semantics<V>,
  words: StatusWords<V>,
  cf: V,
  of: V,
): StatusWords<V> => {
  const low = s.and(words.carry, s.constant(0x3fff_ffff_ffff_ffffn, 64));
  return { ...words, carry: s.or(low, carryWordOf(s, cf, of)) };
};

/** The words in which only the condition of ZF is meaningful: the others are clear. */
export const flagsOfZero = <V>(s: Semantics<V>, zf: V, cf: V): StatusWords<V> => ({
  result: s.zeroExtend(s.xor(zf, s.constant(1, 1)), 64),
  sign: s.constant(1, 64),
  carry: carryWordOf(s, cf, s.constant(0, 1)),
});

/** The words chosen by a condition, one by one. */
export const selectWords = <V>(
  s: Semantics<V>,
  condition: V,
  ifTrue: StatusWords<V>,
  ifFalse: StatusWords<V>,
): StatusWords<V> => ({
  result: s.select(condition, ifTrue.result, ifFalse.result),
  sign: s.select(condition, ifTrue.sign, ifFalse.sign),
  carry: s.select(condition, ifTrue.carry, ifFalse.carry),
});

export const CF = 0x001;
export const PF = 0x004;
export const AF = 0x010;
export const ZF = 0x040;
export const SF = 0x080;
export const OF = 0x800;
/** The six status flags in RFLAGS. */
export const STATUS_FLAGS = CF | PF | AF | ZF | SF | OF;

const oddParity = (byte: number): boolean => {
  const folded = byte ^ (byte >> 4);
  return ((0x6996 >> (folded & 15)) & 1) === 1;
};

/** The six flags of RFLAGS that three words mean; the words as halves of unsigned 64-bit values. */
export const statusFlagsOf = (result: bigint, sign: bigint, carry: bigint): number => {
  const topTwo = Number(BigInt.asUintN(2, carry >> 62n));
  const overflow = topTwo === 1 || topTwo === 2;
  return (
    (topTwo & 2 ? CF : 0) |
    (overflow ? OF : 0) |
    (carry & 8n ? AF : 0) |
    (BigInt.asUintN(64, result) === 0n ? ZF : 0) |
    (sign & 0x8000_0000_0000_0000n ? SF : 0) |
    (oddParity(Number(sign & 0xffn)) ? 0 : PF)
  );
};

/** Three words, unsigned, that mean the six flags of this RFLAGS value. */
export const statusWordsOf = (rflags: number): StatusWords<bigint> => {
  const carry = rflags & CF ? 1n : 0n;
  const overflow = rflags & OF ? 1n : 0n;
  return {
    result: rflags & ZF ? 0n : 1n,
    sign: (rflags & SF ? 0x8000_0000_0000_0000n : 0n) | (rflags & PF ? 0n : 1n),
    carry: (carry << 63n) | ((carry ^ overflow) << 62n) | (rflags & AF ? 8n : 0n),
  };
};
