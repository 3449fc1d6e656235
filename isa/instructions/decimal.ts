/** Decimal arithmetic, which 64-bit mode does not have: SDM Vol. 1 5.1.3. */
import { defineInstruction, type Instruction } from '../instruction.ts';
import type { Semantics, StatusWords } from '../semantics.ts';

const RAX = 0;

/** SF, ZF and PF of a byte, with CF and AF as given and OF clear. */
const decimalFlags = <V>(s: Semantics<V>, byte: V, cf: V, af: V): StatusWords<V> => {
  const sign = s.bind(s.signExtend(byte, 64));
  const carry = s.bind(s.zeroExtend(cf, 64));
  const top = s.or(s.shiftLeft(carry, s.constant(63, 64)), s.shiftLeft(carry, s.constant(62, 64)));
  const half = s.shiftLeft(s.zeroExtend(af, 64), s.constant(3, 64));
  return { result: sign, sign, carry: s.bind(s.or(top, half)) };
};

/** Whether AF is set or the low digit is no digit. */
const lowDigitIsOff = <V>(s: Semantics<V>, al: V): V => {
  const digit = s.and(al, s.constant(15, 8));
  return s.bind(s.or(s.flag('AF'), s.lessUnsigned(s.constant(9, 8), digit)));
};

/** DAA and DAS: AL to two packed digits after an addition or subtraction. */
const packed = (mnemonic: 'daa' | 'das', title: string): Instruction =>
  defineInstruction({
    mnemonic,
    title,
    access: 'none',
    source: `SDM Vol. 2A, ${mnemonic.toUpperCase()}`,
    readsFlags: ['CF', 'AF'],
    writesFlags: ['CF', 'PF', 'AF', 'ZF', 'SF'],
    undefinedFlags: ['OF'],
    semantics(s) {
      const adds = mnemonic === 'daa';
      const al = s.bind(s.register(RAX, 8));
      const carry = s.bind(s.flag('CF'));
      const low = lowDigitIsOff(s, al);
      const high = s.bind(s.or(carry, s.lessUnsigned(s.constant(0x99, 8), al)));
      const six = s.select(low, s.constant(6, 8), s.constant(0, 8));
      const sixty = s.select(high, s.constant(0x60, 8), s.constant(0, 8));
      const change = s.bind(s.add(six, sixty));
      const result = s.bind(adds ? s.add(al, change) : s.subtract(al, change));
      const borrow = s.and(low, s.lessUnsigned(al, s.constant(6, 8)));
      const cf = s.bind(adds ? high : s.or(high, borrow));
      const words = decimalFlags(s, result, cf, low);
      s.setRegister(RAX, result);
      s.setStatusWords(words);
    },
  });

/** AAA and AAS: AX to unpacked digits after an addition or subtraction. */
const unpacked = (mnemonic: 'aaa' | 'aas', title: string): Instruction =>
  defineInstruction({
    mnemonic,
    title,
    access: 'none',
    source: `SDM Vol. 2A, ${mnemonic.toUpperCase()}`,
    readsFlags: ['AF'],
    writesFlags: ['CF', 'AF'],
    undefinedFlags: ['OF', 'SF', 'ZF', 'PF'],
    semantics(s) {
      const ax = s.bind(s.register(RAX, 16));
      const low = lowDigitIsOff(s, s.truncate(ax, 8));
      const step = s.constant(0x106, 16);
      const moved = mnemonic === 'aaa' ? s.add(ax, step) : s.subtract(ax, step);
      const digits = s.and(s.select(low, moved, ax), s.constant(0xff0f, 16));
      const result = s.bind(digits);
      const words = decimalFlags(s, s.truncate(result, 8), low, low);
      s.setRegister(RAX, result);
      s.setStatusWords(words);
    },
  });

const aam = defineInstruction({
  mnemonic: 'aam',
  title: 'ASCII Adjust AX After Multiply',
  access: 'none',
  source: 'SDM Vol. 2A, AAM',
  writesFlags: ['PF', 'ZF', 'SF'],
  undefinedFlags: ['OF', 'AF', 'CF'],
  semantics(s, base) {
    const zero = s.constant(0, 8);
    const { quotient, remainder } = s.divideWide(false, zero, s.register(RAX, 8), s.read(base, 8));
    const high = s.shiftLeft(s.zeroExtend(quotient, 32), s.constant(8, 32));
    const ax = s.bind(s.truncate(s.or(high, s.zeroExtend(remainder, 32)), 16));
    const none = s.constant(0, 1);
    s.setRegister(RAX, ax);
    s.setStatusWords(decimalFlags(s, s.truncate(ax, 8), none, none));
  },
});

const aad = defineInstruction({
  mnemonic: 'aad',
  title: 'ASCII Adjust AX Before Division',
  access: 'none',
  source: 'SDM Vol. 2A, AAD',
  writesFlags: ['PF', 'ZF', 'SF'],
  undefinedFlags: ['OF', 'AF', 'CF'],
  semantics(s, base) {
    const ax = s.zeroExtend(s.register(RAX, 16), 32);
    const high = s.truncate(s.shiftRight(ax, s.constant(8, 32)), 8);
    const al = s.bind(s.add(s.register(RAX, 8), s.multiply(high, s.read(base, 8))));
    const none = s.constant(0, 1);
    s.setRegister(RAX, s.zeroExtend(al, 16));
    s.setStatusWords(decimalFlags(s, al, none, none));
  },
});

export const decimal: readonly Instruction[] = [
  packed('daa', 'Decimal Adjust AL After Addition'),
  packed('das', 'Decimal Adjust AL After Subtraction'),
  unpacked('aaa', 'ASCII Adjust After Addition'),
  unpacked('aas', 'ASCII Adjust AL After Subtraction'),
  aam,
  aad,
];
