/** Shifts and rotates: SDM Vol. 1 5.1.5 "Shift and Rotate Instructions". */
import { carryWordOf, selectWords, withCarryAndOverflow } from '../flags.ts';
import { defineInstruction, type Instruction, type UndefinedByCount } from '../instruction.ts';
import type { Operand, Width } from '../operands.ts';
import type { Semantics, StatusFlag, StatusWords } from '../semantics.ts';

const NOTHING: UndefinedByCount = { flags: [] };
const ALL_FLAGS: readonly StatusFlag[] = ['CF', 'PF', 'AF', 'ZF', 'SF', 'OF'];

/** A count of 0 changes no flag; OF is defined for a count of 1 alone, AF never. */
const undefinedAfterShift = (count: number): UndefinedByCount =>
  count === 0 ? NOTHING : { flags: count === 1 ? ['AF'] : ['AF', 'OF'] };

/** SHL and SHR shift out nothing but zeros beyond the width: CF is undefined then. */
const undefinedAfterLogicalShift = (count: number, width: Width): UndefinedByCount =>
  count >= width ? { flags: ['AF', 'OF', 'CF'] } : undefinedAfterShift(count);

const undefinedAfterRotate = (count: number): UndefinedByCount =>
  count < 2 ? NOTHING : { flags: ['OF'] };

/** A 16-bit operand shifted by more than 16 is undefined, and all flags are. */
const undefinedAfterDoubleShift = (count: number, width: Width): UndefinedByCount =>
  count > width ? { flags: ALL_FLAGS, result: true } : undefinedAfterShift(count);

/** The width in which 8- and 16-bit operands are shifted, so that bits beyond the top are kept. */
const workWidth = (width: Width): 32 | 64 => (width === 64 ? 64 : 32);

/** The count of `operand`, masked to 5 or 6 bits, in the work width. */
const countOf = <V>(s: Semantics<V>, operand: Operand): V => {
  const work = workWidth(s.form.width);
  const count = s.zeroExtend(s.read(operand, 8), work);
  return s.bind(s.and(count, s.constant(work - 1, work)));
};

const bit = <V>(s: Semantics<V>, value: V, position: V): V =>
  s.truncate(s.shiftRight(value, position), 1);

const topBit = <V>(s: Semantics<V>, value: V, width: Width): V => {
  const work = workWidth(width);
  return bit(s, s.zeroExtend(value, work), s.constant(width - 1, work));
};

/** The words after a shift with a count that is not 0. */
const shiftWords = <V>(s: Semantics<V>, result: V, cf: V, of: V): StatusWords<V> => {
  const sign = s.bind(s.signExtend(result, 64));
  return { result: sign, sign, carry: s.bind(carryWordOf(s, cf, of)) };
};

/** Writes the result, and the flags unless the count is 0, which changes none. */
const commit = <V>(
  s: Semantics<V>,
  destination: Operand,
  result: V,
  count: V,
  words: StatusWords<V>,
): void => {
  const kept = selectWords(s, s.isZero(count), s.statusWords(), words);
  const next = { result: s.bind(kept.result), sign: s.bind(kept.sign), carry: s.bind(kept.carry) };
  s.write(destination, result);
  s.setStatusWords(next);
};

const shl = defineInstruction({
  mnemonic: 'shl',
  title: 'Shift Left',
  access: 'readWrite',
  source: 'SDM Vol. 2B, SAL/SAR/SHL/SHR',
  writesFlags: ['CF', 'PF', 'ZF', 'SF', 'OF'],
  undefinedFlags: ['AF'],
  undefinedByCount: undefinedAfterLogicalShift,
  semantics(s, destination, source) {
    const { width } = s.form;
    const work = workWidth(width);
    const value = s.zeroExtend(s.read(destination), work);
    const count = countOf(s, source);
    const before = s.shiftLeft(value, s.subtract(count, s.constant(1, work)));
    const cf = s.bind(bit(s, before, s.constant(width - 1, work)));
    const result = s.bind(s.truncate(s.shiftLeft(value, count), width));
    const of = s.xor(topBit(s, result, width), cf);
    commit(s, destination, result, count, shiftWords(s, result, cf, of));
  },
});

const shiftRightBy = (mnemonic: 'shr' | 'sar', title: string): Instruction =>
  defineInstruction({
    mnemonic,
    title,
    access: 'readWrite',
    source: 'SDM Vol. 2B, SAL/SAR/SHL/SHR',
    writesFlags: ['CF', 'PF', 'ZF', 'SF', 'OF'],
    undefinedFlags: ['AF'],
    undefinedByCount: mnemonic === 'sar' ? undefinedAfterShift : undefinedAfterLogicalShift,
    semantics(s, destination, source) {
      const { width } = s.form;
      const work = workWidth(width);
      const signed = mnemonic === 'sar';
      const operand = s.read(destination);
      const value = signed ? s.signExtend(operand, work) : s.zeroExtend(operand, work);
      const shift = (by: ReturnType<typeof countOf<typeof value>>) =>
        signed ? s.shiftRightSigned(value, by) : s.shiftRight(value, by);
      const count = countOf(s, source);
      const cf = s.bind(s.truncate(shift(s.subtract(count, s.constant(1, work))), 1));
      const result = s.bind(s.truncate(shift(count), width));
      const of = signed ? s.constant(0, 1) : topBit(s, operand, width);
      commit(s, destination, result, count, shiftWords(s, result, cf, of));
    },
  });

/** `value` rotated left by `count` modulo the width; 8 and 16 bits by hand. */
const rotateLeft = <V>(s: Semantics<V>, value: V, count: V, width: Width): V => {
  if (width >= 32) return s.rotateLeft(value, count);
  const wide = s.zeroExtend(value, 32);
  const by = s.bind(s.and(count, s.constant(width - 1, 32)));
  const back = s.subtract(s.constant(width, 32), by);
  return s.truncate(s.or(s.shiftLeft(wide, by), s.shiftRight(wide, back)), width);
};

const rotate = (mnemonic: 'rol' | 'ror', title: string): Instruction =>
  defineInstruction({
    mnemonic,
    title,
    access: 'readWrite',
    source: 'SDM Vol. 2B, RCL/RCR/ROL/ROR',
    writesFlags: ['CF', 'OF'],
    undefinedByCount: undefinedAfterRotate,
    semantics(s, destination, source) {
      const { width } = s.form;
      const work = workWidth(width);
      const value = s.read(destination);
      const count = countOf(s, source);
      const left = mnemonic === 'rol';
      const by = left ? count : s.negate(count);
      const result = s.bind(rotateLeft(s, value, s.bind(by), width));
      const top = s.bind(topBit(s, result, width));
      const cf = left ? s.bind(s.truncate(result, 1)) : top;
      const wide = s.zeroExtend(result, work);
      const of = s.xor(top, left ? cf : bit(s, wide, s.constant(width - 2, work)));
      const words = s.statusWords();
      commit(s, destination, result, count, withCarryAndOverflow(s, words, cf, of));
    },
  });

/** RCL and RCR rotate through CF: one bit more than the width, so that no wide value holds it. */
const rotateThroughCarry = (mnemonic: 'rcl' | 'rcr', title: string): Instruction =>
  defineInstruction({
    mnemonic,
    title,
    access: 'readWrite',
    source: 'SDM Vol. 2B, RCL/RCR/ROL/ROR',
    readsFlags: ['CF'],
    writesFlags: ['CF', 'OF'],
    undefinedByCount: undefinedAfterRotate,
    tier: 'precise',
    semantics(s, destination, source) {
      const { width } = s.form;
      const work = workWidth(width);
      const left = mnemonic === 'rcl';
      const one = s.constant(1, work);
      const top = s.constant(width - 1, work);
      const count = countOf(s, source);
      let value = s.zeroExtend(s.read(destination), work);
      let cf = s.flag('CF');
      for (let i = 0; i < work; i += 1) {
        const active = s.lessUnsigned(s.constant(i, work), rotations(s, count, width));
        const carry = s.zeroExtend(cf, work);
        const out = left ? bit(s, value, top) : s.truncate(value, 1);
        const moved = left
          ? s.or(s.shiftLeft(value, one), carry)
          : s.or(s.shiftRight(value, one), s.shiftLeft(carry, top));
        value = s.select(active, s.zeroExtend(s.truncate(moved, width), work), value);
        cf = s.select(active, out, cf);
      }
      const result = s.truncate(value, width);
      const high = topBit(s, result, width);
      const next = bit(s, value, s.constant(width - 2, work));
      const of = s.xor(high, left ? cf : next);
      commit(s, destination, result, count, withCarryAndOverflow(s, s.statusWords(), cf, of));
    },
  });

/** How often RCL and RCR rotate: 8- and 16-bit counts are taken modulo 9 and 17. */
const rotations = <V>(s: Semantics<V>, count: V, width: Width): V => {
  if (width >= 32) return count;
  const period = s.constant(width + 1, 32);
  let left = count;
  for (let i = 0; i < 3; i += 1) {
    left = s.select(s.lessUnsigned(left, period), left, s.subtract(left, period));
  }
  return left;
};

const shiftDouble = (mnemonic: 'shld' | 'shrd', title: string): Instruction =>
  defineInstruction({
    mnemonic,
    title,
    access: 'readWrite',
    source: `SDM Vol. 2B, ${mnemonic.toUpperCase()}`,
    writesFlags: ['CF', 'PF', 'ZF', 'SF', 'OF'],
    undefinedFlags: ['AF'],
    undefinedByCount: undefinedAfterDoubleShift,
    semantics(s, destination, source, amount) {
      if (amount === undefined) return;
      const { width } = s.form;
      const work = workWidth(width);
      const left = mnemonic === 'shld';
      const old = s.read(destination);
      const a = s.zeroExtend(old, work);
      const b = s.zeroExtend(s.read(source), work);
      const count = countOf(s, amount);
      const back = s.bind(s.subtract(s.constant(width, work), count));
      const last = s.bind(s.subtract(count, s.constant(1, work)));
      const moved = left
        ? s.or(s.shiftLeft(a, count), s.shiftRight(b, back))
        : s.or(s.shiftRight(a, count), s.shiftLeft(b, back));
      const none = s.bind(s.isZero(count));
      const result = s.bind(s.select(none, old, s.truncate(moved, width)));
      const out = left ? s.shiftLeft(a, last) : s.shiftRight(a, last);
      const cf = s.bind(bit(s, out, s.constant(left ? width - 1 : 0, work)));
      const of = s.xor(topBit(s, old, width), topBit(s, result, width));
      commit(s, destination, result, count, shiftWords(s, result, cf, of));
    },
  });

/** BMI2 shifts: no flags, the count in a register or an immediate. */
const flagless = (
  mnemonic: string,
  title: string,
  shift: <V>(s: Semantics<V>, value: V, count: V) => V,
): Instruction =>
  defineInstruction({
    mnemonic,
    title,
    access: 'write',
    source: `SDM Vol. 2, ${mnemonic.toUpperCase()}`,
    semantics(s, destination, source, count) {
      if (count === undefined) return;
      const by = count.kind === 'immediate' ? s.read(count, 8) : s.read(count);
      const wide = count.kind === 'immediate' ? s.zeroExtend(by, s.form.width) : by;
      s.write(destination, s.bind(shift(s, s.read(source), wide)));
    },
  });

export const shiftRotate: readonly Instruction[] = [
  shl,
  { ...shl, mnemonic: 'sal' },
  shiftRightBy('shr', 'Shift Logical Right'),
  shiftRightBy('sar', 'Shift Arithmetic Right'),
  rotate('rol', 'Rotate Left'),
  rotate('ror', 'Rotate Right'),
  rotateThroughCarry('rcl', 'Rotate Through Carry Left'),
  rotateThroughCarry('rcr', 'Rotate Through Carry Right'),
  shiftDouble('shld', 'Double Precision Shift Left'),
  shiftDouble('shrd', 'Double Precision Shift Right'),
  flagless('shlx', 'Shift Left Without Affecting Flags', (s, v, n) => s.shiftLeft(v, n)),
  flagless('shrx', 'Shift Right Without Affecting Flags', (s, v, n) => s.shiftRight(v, n)),
  flagless('sarx', 'Shift Arithmetic Right Without Affecting Flags', (s, v, n) =>
    s.shiftRightSigned(v, n),
  ),
  flagless('rorx', 'Rotate Right Logical Without Affecting Flags', (s, v, n) =>
    s.rotateRight(v, n),
  ),
];
