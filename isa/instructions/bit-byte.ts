/** Bit and byte instructions: SDM Vol. 1 5.1.6 "Bit and Byte Instructions", and BMI1, BMI2. */
import { flagsOfLogic, flagsOfZero, withCarry } from '../flags.ts';
import { defineInstruction, type Instruction } from '../instruction.ts';
import type { Operand, Width } from '../operands.ts';
import type { Semantics, StatusWords } from '../semantics.ts';

type Change = <V>(s: Semantics<V>, value: V, mask: V) => V;

const workWidth = (width: Width): 32 | 64 => (width === 64 ? 64 : 32);

/**
 * The offset of the operand that holds bit `index` of a bit string in memory: a register index
 * reaches beyond the operand, forwards and backwards.
 */
const bitStringOffset = <V>(s: Semantics<V>, base: Operand, position: Operand, index: V) => {
  if (base.kind !== 'memory' || position.kind === 'immediate') return undefined;
  const { width, addressWidth } = s.form;
  const shift = { 8: 3, 16: 4, 32: 5, 64: 6 }[width];
  const distance = s.shiftRightSigned(s.signExtend(index, 64), s.constant(shift, 64));
  const sum = s.add(s.addressOf(base), s.multiply(distance, s.constant(width / 8, 64)));
  const cut = addressWidth === 64 ? sum : s.zeroExtend(s.truncate(sum, addressWidth), 64);
  return { segment: base.segment, offset: s.bind(cut) };
};

const bitTest = (mnemonic: string, title: string, change: Change | undefined): Instruction =>
  defineInstruction({
    mnemonic,
    title,
    access: change === undefined ? 'read' : 'readWrite',
    source: `SDM Vol. 2A, ${mnemonic.toUpperCase()}`,
    writesFlags: ['CF'],
    undefinedFlags: ['OF', 'SF', 'AF', 'PF'],
    lockable: change !== undefined,
    semantics(s, base, position) {
      const { width } = s.form;
      const work = workWidth(width);
      const index = s.read(position, width);
      const low = s.bind(s.and(s.zeroExtend(index, work), s.constant(width - 1, work)));
      const far = bitStringOffset(s, base, position, index);
      const load = change === undefined ? 'load' : 'loadForUpdate';
      const operand = far === undefined ? s.read(base) : s[load](far.segment, far.offset, width);
      const old = s.bind(s.zeroExtend(operand, work));
      const bit = s.bind(s.truncate(s.shiftRight(old, low), 1));
      const words = withCarry(s, s.statusWords(), bit);
      const next = { ...words, carry: s.bind(words.carry) };
      if (change !== undefined) {
        const mask = s.shiftLeft(s.constant(1, work), low);
        const changed = s.bind(s.truncate(change(s, old, mask), width));
        if (far === undefined) s.write(base, changed);
        else s.store(far.segment, far.offset, changed);
      }
      s.setStatusWords(next);
    },
  });

/** BSF and BSR leave the destination as it is if the source is 0. */
const bitScan = (mnemonic: 'bsf' | 'bsr', title: string): Instruction =>
  defineInstruction({
    mnemonic,
    title,
    access: 'readWrite',
    source: `SDM Vol. 2A, ${mnemonic.toUpperCase()}`,
    writesFlags: ['ZF'],
    undefinedFlags: ['CF', 'OF', 'SF', 'AF', 'PF'],
    semantics(s, destination, source) {
      const { width } = s.form;
      const work = workWidth(width);
      const value = s.bind(s.zeroExtend(s.read(source), work));
      const zero = s.bind(s.isZero(value));
      const found =
        mnemonic === 'bsf'
          ? s.countTrailingZeros(value)
          : s.subtract(s.constant(work - 1, work), s.countLeadingZeros(value));
      const position = s.bind(s.truncate(found, width));
      s.when(s.not(zero), () => s.write(destination, position));
      s.setStatusWords(flagsOfZero(s, zero, s.constant(0, 1)));
    },
  });

/** LZCNT and TZCNT: the operand size for a source of 0, told by CF. */
const countZeros = (mnemonic: 'lzcnt' | 'tzcnt', title: string): Instruction =>
  defineInstruction({
    mnemonic,
    title,
    access: 'write',
    source: `SDM Vol. 2, ${mnemonic.toUpperCase()}`,
    writesFlags: ['CF', 'ZF'],
    undefinedFlags: ['OF', 'SF', 'AF', 'PF'],
    semantics(s, destination, source) {
      const { width } = s.form;
      const work = workWidth(width);
      const value = s.bind(s.zeroExtend(s.read(source), work));
      const guard = width === 16 ? s.or(value, s.constant(0x1_0000, 32)) : value;
      const counted =
        mnemonic === 'tzcnt'
          ? s.countTrailingZeros(guard)
          : s.subtract(s.countLeadingZeros(value), s.constant(work - width, work));
      const count = s.bind(s.truncate(counted, width));
      s.write(destination, count);
      s.setStatusWords(flagsOfZero(s, s.isZero(count), s.isZero(value)));
    },
  });

const popcnt = defineInstruction({
  mnemonic: 'popcnt',
  title: 'Return the Count of Number of Bits Set to 1',
  access: 'write',
  source: 'SDM Vol. 2B, POPCNT',
  writesFlags: ['CF', 'PF', 'AF', 'ZF', 'SF', 'OF'],
  semantics(s, destination, source) {
    const value = s.bind(s.read(source));
    const work = workWidth(s.form.width);
    s.write(destination, s.truncate(s.countOnes(s.zeroExtend(value, work)), s.form.width));
    s.setStatusWords(flagsOfZero(s, s.isZero(value), s.constant(0, 1)));
  },
});

const setcc = defineInstruction({
  mnemonic: 'setcc',
  title: 'Set Byte on Condition',
  access: 'write',
  source: 'SDM Vol. 2B, SETcc',
  readsFlags: ['CF', 'PF', 'ZF', 'SF', 'OF'],
  semantics(s, destination) {
    s.write(destination, s.zeroExtend(s.condition(s.form.condition ?? 0), 8));
  },
});

/** CRC32C, a bit at a time: polynomial 0x11EDC6F41, reflected. */
const crc32 = defineInstruction({
  mnemonic: 'crc32',
  title: 'Accumulate CRC32 Value',
  access: 'readWrite',
  source: 'SDM Vol. 2A, CRC32',
  tier: 'precise',
  semantics(s, destination, source) {
    const data = s.read(source);
    const bits = s.widthOf(data);
    let crc = s.zeroExtend(s.truncate(s.zeroExtend(s.read(destination, 32), 64), 32), 64);
    crc = s.xor(crc, s.zeroExtend(data, 64));
    const one = s.constant(1, 64);
    for (let i = 0; i < bits; i += 1) {
      const moved = s.shiftRight(crc, one);
      crc = s.select(s.truncate(crc, 1), s.xor(moved, s.constant(0x82f6_3b78n, 64)), moved);
    }
    s.write(destination, s.truncate(crc, s.form.width));
  },
});

/** The words of BMI1's logic: `cf` is given, OF is clear, AF and PF are undefined. */
const bmiFlags = <V>(s: Semantics<V>, result: V, cf: V): StatusWords<V> =>
  withCarry(s, flagsOfLogic(s, result), cf);

const andn = defineInstruction({
  mnemonic: 'andn',
  title: 'Logical AND NOT',
  access: 'write',
  source: 'SDM Vol. 2A, ANDN',
  writesFlags: ['CF', 'ZF', 'SF', 'OF'],
  undefinedFlags: ['AF', 'PF'],
  semantics(s, destination, inverted, source) {
    if (source === undefined) return;
    const result = s.bind(s.and(s.not(s.read(inverted)), s.read(source)));
    s.write(destination, result);
    s.setStatusWords(flagsOfLogic(s, result));
  },
});

const lowestBit = (
  mnemonic: 'blsi' | 'blsr' | 'blsmsk',
  title: string,
  carryIfZero: boolean,
  combine: <V>(s: Semantics<V>, value: V, one: V) => V,
): Instruction =>
  defineInstruction({
    mnemonic,
    title,
    access: 'write',
    source: `SDM Vol. 2A, ${mnemonic.toUpperCase()}`,
    writesFlags: ['CF', 'ZF', 'SF', 'OF'],
    undefinedFlags: ['AF', 'PF'],
    semantics(s, destination, source) {
      const value = s.bind(s.read(source));
      const result = s.bind(combine(s, value, s.constant(1, s.form.width)));
      const zero = s.isZero(value);
      const words = bmiFlags(s, result, carryIfZero ? zero : s.not(zero));
      const next = { ...words, carry: s.bind(words.carry) };
      s.write(destination, result);
      s.setStatusWords(next);
    },
  });

const bextr = defineInstruction({
  mnemonic: 'bextr',
  title: 'Bit Field Extract',
  access: 'write',
  source: 'SDM Vol. 2A, BEXTR',
  writesFlags: ['CF', 'ZF', 'OF'],
  undefinedFlags: ['AF', 'SF', 'PF'],
  semantics(s, destination, source, control) {
    if (control === undefined) return;
    const { width } = s.form;
    const field = s.read(control);
    const byte = s.constant(0xff, width);
    const start = s.bind(s.and(field, byte));
    const length = s.bind(s.and(s.shiftRight(field, s.constant(8, width)), byte));
    const limit = s.constant(width, width);
    const zero = s.constant(0, width);
    const one = s.constant(1, width);
    const inside = s.lessUnsigned(start, limit);
    const moved = s.select(inside, s.shiftRight(s.read(source), start), zero);
    const mask = s.subtract(s.shiftLeft(one, length), one);
    const whole = s.not(s.lessUnsigned(length, limit));
    const result = s.bind(s.and(moved, s.select(whole, s.not(zero), mask)));
    s.write(destination, result);
    s.setStatusWords(flagsOfZero(s, s.isZero(result), s.constant(0, 1)));
  },
});

const bzhi = defineInstruction({
  mnemonic: 'bzhi',
  title: 'Zero High Bits Starting With Specified Bit Position',
  access: 'write',
  source: 'SDM Vol. 2A, BZHI',
  writesFlags: ['CF', 'ZF', 'SF', 'OF'],
  undefinedFlags: ['AF', 'PF'],
  semantics(s, destination, source, control) {
    if (control === undefined) return;
    const { width } = s.form;
    const index = s.bind(s.and(s.read(control), s.constant(0xff, width)));
    const one = s.constant(1, width);
    const mask = s.subtract(s.shiftLeft(one, index), one);
    const beyond = s.bind(s.not(s.lessUnsigned(index, s.constant(width, width))));
    const value = s.read(source);
    const result = s.bind(s.select(beyond, value, s.and(value, mask)));
    const words = bmiFlags(s, result, beyond);
    const next = { ...words, carry: s.bind(words.carry) };
    s.write(destination, result);
    s.setStatusWords(next);
  },
});

/** PDEP and PEXT, a mask bit at a time. */
const scatter = (mnemonic: 'pdep' | 'pext', title: string): Instruction =>
  defineInstruction({
    mnemonic,
    title,
    access: 'write',
    source: `SDM Vol. 2B, ${mnemonic.toUpperCase()}`,
    tier: 'precise',
    semantics(s, destination, source, selector) {
      if (selector === undefined) return;
      const { width } = s.form;
      const value = s.read(source);
      const mask = s.read(selector);
      const one = s.constant(1, width);
      let result = s.constant(0, width);
      let taken = s.constant(0, width);
      for (let i = 0; i < width; i += 1) {
        const place = s.constant(i, width);
        const selected = s.truncate(s.shiftRight(mask, place), 1);
        const [from, to] = mnemonic === 'pdep' ? [taken, place] : [place, taken];
        const bit = s.shiftLeft(s.and(s.shiftRight(value, from), one), to);
        result = s.select(selected, s.or(result, bit), result);
        taken = s.add(taken, s.zeroExtend(selected, width));
      }
      s.write(destination, result);
    },
  });

const mulx = defineInstruction({
  mnemonic: 'mulx',
  title: 'Unsigned Multiply Without Affecting Flags',
  access: 'write',
  source: 'SDM Vol. 2B, MULX',
  semantics(s, high, low, source) {
    if (source === undefined) return;
    const a = s.register(2, s.form.width);
    const b = s.bind(s.read(source));
    const upper = s.bind(s.multiplyHigh(false, a, b));
    s.write(low, s.bind(s.multiply(a, b)));
    s.write(high, upper);
  },
});

export const bitByte: readonly Instruction[] = [
  bitTest('bt', 'Bit Test', undefined),
  bitTest('bts', 'Bit Test and Set', (s, value, mask) => s.or(value, mask)),
  bitTest('btr', 'Bit Test and Reset', (s, value, mask) => s.and(value, s.not(mask))),
  bitTest('btc', 'Bit Test and Complement', (s, value, mask) => s.xor(value, mask)),
  bitScan('bsf', 'Bit Scan Forward'),
  bitScan('bsr', 'Bit Scan Reverse'),
  countZeros('lzcnt', 'Count the Number of Leading Zero Bits'),
  countZeros('tzcnt', 'Count the Number of Trailing Zero Bits'),
  popcnt,
  setcc,
  crc32,
  andn,
  lowestBit('blsi', 'Extract Lowest Set Isolated Bit', false, (s, v) => s.and(v, s.negate(v))),
  lowestBit('blsr', 'Reset Lowest Set Bit', true, (s, v, one) => s.and(v, s.subtract(v, one))),
  lowestBit('blsmsk', 'Get Mask Up to Lowest Set Bit', true, (s, v, one) =>
    s.xor(v, s.subtract(v, one)),
  ),
  bextr,
  bzhi,
  scatter('pdep', 'Parallel Bits Deposit'),
  scatter('pext', 'Parallel Bits Extract'),
  mulx,
];
