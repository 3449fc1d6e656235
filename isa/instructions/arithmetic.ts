/** Binary arithmetic: SDM Vol. 1 5.1.2 "Binary Arithmetic Instructions". */
import {
  carryWordOf,
  flagsOfAddition,
  flagsOfSubtraction,
  withCarry,
  withCarryAndOverflow,
} from '../flags.ts';
import { defineInstruction, type Instruction } from '../instruction.ts';
import type { Operand, Width } from '../operands.ts';
import type { Semantics, StatusFlag } from '../semantics.ts';

const ALL_FLAGS: readonly StatusFlag[] = ['CF', 'PF', 'AF', 'ZF', 'SF', 'OF'];

const add = defineInstruction({
  mnemonic: 'add',
  title: 'Add',
  access: 'readWrite',
  source: 'SDM Vol. 2A, ADD',
  writesFlags: ALL_FLAGS,
  lockable: true,
  semantics(s, destination, source) {
    const a = s.read(destination);
    const b = s.read(source, s.form.width);
    const sum = s.bind(s.add(a, b));
    s.write(destination, sum);
    s.setStatusWords(flagsOfAddition(s, a, b, sum, s.form.width));
  },
});

const adc = defineInstruction({
  mnemonic: 'adc',
  title: 'Add With Carry',
  access: 'readWrite',
  source: 'SDM Vol. 2A, ADC',
  readsFlags: ['CF'],
  writesFlags: ALL_FLAGS,
  lockable: true,
  semantics(s, destination, source) {
    const a = s.read(destination);
    const b = s.read(source, s.form.width);
    const carryIn = s.zeroExtend(s.flag('CF'), s.form.width);
    const sum = s.bind(s.add(s.add(a, b), carryIn));
    s.write(destination, sum);
    s.setStatusWords(flagsOfAddition(s, a, b, sum, s.form.width));
  },
});

const sub = defineInstruction({
  mnemonic: 'sub',
  title: 'Subtract',
  access: 'readWrite',
  source: 'SDM Vol. 2B, SUB',
  writesFlags: ALL_FLAGS,
  lockable: true,
  semantics(s, destination, source) {
    const a = s.read(destination);
    const b = s.read(source, s.form.width);
    const difference = s.bind(s.subtract(a, b));
    s.write(destination, difference);
    s.setStatusWords(flagsOfSubtraction(s, a, b, difference, s.form.width));
  },
});

const sbb = defineInstruction({
  mnemonic: 'sbb',
  title: 'Integer Subtraction With Borrow',
  access: 'readWrite',
  source: 'SDM Vol. 2B, SBB',
  readsFlags: ['CF'],
  writesFlags: ALL_FLAGS,
  lockable: true,
  semantics(s, destination, source) {
    const a = s.read(destination);
    const b = s.read(source, s.form.width);
    const borrowIn = s.zeroExtend(s.flag('CF'), s.form.width);
    const difference = s.bind(s.subtract(s.subtract(a, b), borrowIn));
    s.write(destination, difference);
    s.setStatusWords(flagsOfSubtraction(s, a, b, difference, s.form.width));
  },
});

const cmp = defineInstruction({
  mnemonic: 'cmp',
  title: 'Compare Two Operands',
  access: 'read',
  source: 'SDM Vol. 2A, CMP',
  writesFlags: ALL_FLAGS,
  semantics(s, first, second) {
    const a = s.read(first);
    const b = s.read(second, s.form.width);
    const difference = s.bind(s.subtract(a, b));
    s.setStatusWords(flagsOfSubtraction(s, a, b, difference, s.form.width));
  },
});

const neg = defineInstruction({
  mnemonic: 'neg',
  title: "Two's Complement Negation",
  access: 'readWrite',
  source: 'SDM Vol. 2B, NEG',
  writesFlags: ALL_FLAGS,
  lockable: true,
  semantics(s, destination) {
    const zero = s.constant(0, s.form.width);
    const value = s.read(destination);
    const negated = s.bind(s.subtract(zero, value));
    s.write(destination, negated);
    s.setStatusWords(flagsOfSubtraction(s, zero, value, negated, s.form.width));
  },
});

const inc = defineInstruction({
  mnemonic: 'inc',
  title: 'Increment by 1',
  access: 'readWrite',
  source: 'SDM Vol. 2A, INC',
  writesFlags: ['PF', 'AF', 'ZF', 'SF', 'OF'],
  lockable: true,
  semantics(s, destination) {
    const one = s.constant(1, s.form.width);
    const value = s.read(destination);
    const carry = s.bind(s.flag('CF'));
    const sum = s.bind(s.add(value, one));
    s.write(destination, sum);
    s.setStatusWords(withCarry(s, flagsOfAddition(s, value, one, sum, s.form.width), carry));
  },
});

const dec = defineInstruction({
  mnemonic: 'dec',
  title: 'Decrement by 1',
  access: 'readWrite',
  source: 'SDM Vol. 2A, DEC',
  writesFlags: ['PF', 'AF', 'ZF', 'SF', 'OF'],
  lockable: true,
  semantics(s, destination) {
    const one = s.constant(1, s.form.width);
    const value = s.read(destination);
    const carry = s.bind(s.flag('CF'));
    const difference = s.bind(s.subtract(value, one));
    s.write(destination, difference);
    const words = flagsOfSubtraction(s, value, one, difference, s.form.width);
    s.setStatusWords(withCarry(s, words, carry));
  },
});

const RAX = 0;
const RDX = 2;

/** Low and high half of a product, each of `width`. */
const productOf = <V>(s: Semantics<V>, signed: boolean, a: V, b: V, width: Width) => {
  if (width === 64) {
    return { low: s.bind(s.multiply(a, b)), high: s.bind(s.multiplyHigh(signed, a, b)) };
  }
  const wide = width === 32 ? 64 : 32;
  const extend = (value: V) => (signed ? s.signExtend(value, wide) : s.zeroExtend(value, wide));
  const product = s.bind(s.multiply(extend(a), extend(b)));
  return {
    low: s.bind(s.truncate(product, width)),
    high: s.bind(s.truncate(s.shiftRight(product, s.constant(width, wide)), width)),
  };
};

/** CF and OF tell whether the upper half matters; the other flags follow the low half. */
const setProductFlags = <V>(s: Semantics<V>, low: V, overflow: V): void => {
  const sign = s.bind(s.signExtend(low, 64));
  const cf = s.bind(overflow);
  s.setStatusWords({ result: sign, sign, carry: carryWordOf(s, cf, cf) });
};

const signOf = <V>(s: Semantics<V>, value: V, width: Width): V => {
  if (width === 64) return s.shiftRightSigned(value, s.constant(63, 64));
  const wide = s.signExtend(value, 32);
  return s.truncate(s.shiftRightSigned(wide, s.constant(31, 32)), width);
};

const multiplyAccumulator = <V>(s: Semantics<V>, signed: boolean, operand: Operand): void => {
  const { width } = s.form;
  const { low, high } = productOf(s, signed, s.register(RAX, width), s.read(operand), width);
  const insignificant = signed ? signOf(s, low, width) : s.constant(0, width);
  const overflow = s.not(s.equal(high, insignificant));
  if (width === 8) {
    const ax = s.or(
      s.zeroExtend(low, 16),
      s.truncate(s.shiftLeft(s.zeroExtend(high, 32), s.constant(8, 32)), 16),
    );
    s.setRegister(RAX, ax);
  } else {
    s.setRegister(RAX, low);
    s.setRegister(RDX, high);
  }
  setProductFlags(s, low, overflow);
};

const mul = defineInstruction({
  mnemonic: 'mul',
  title: 'Unsigned Multiply',
  access: 'read',
  source: 'SDM Vol. 2B, MUL',
  writesFlags: ['CF', 'OF'],
  undefinedFlags: ['SF', 'ZF', 'AF', 'PF'],
  semantics(s, operand) {
    multiplyAccumulator(s, false, operand);
  },
});

const imul = defineInstruction({
  mnemonic: 'imul',
  title: 'Signed Multiply',
  // With one operand it is only read; with more, the first is a register.
  access: 'read',
  source: 'SDM Vol. 2A, IMUL',
  writesFlags: ['CF', 'OF'],
  undefinedFlags: ['SF', 'ZF', 'AF', 'PF'],
  semantics(s, first, second, third) {
    if (second === undefined) {
      multiplyAccumulator(s, true, first);
      return;
    }
    const { width } = s.form;
    const a = s.read(third === undefined ? first : second);
    const b = s.read(third ?? second, width);
    const { low, high } = productOf(s, true, a, b, width);
    const overflow = s.not(s.equal(high, signOf(s, low, width)));
    s.write(first, low);
    setProductFlags(s, low, overflow);
  },
});

/** The dividend is AX for bytes, else rDX:rAX; flags are undefined and stay as they are. */
const divideAccumulator = <V>(s: Semantics<V>, signed: boolean, operand: Operand): void => {
  const { width } = s.form;
  const divisor = s.read(operand);
  if (width !== 8) {
    const { quotient, remainder } = s.divideWide(
      signed,
      s.register(RDX, width),
      s.register(RAX, width),
      divisor,
    );
    s.setRegister(RAX, quotient);
    s.setRegister(RDX, remainder);
    return;
  }
  const ax = s.zeroExtend(s.register(RAX, 16), 32);
  const high = s.truncate(s.shiftRight(ax, s.constant(8, 32)), 8);
  const { quotient, remainder } = s.divideWide(signed, high, s.register(RAX, 8), divisor);
  const top = s.truncate(s.shiftLeft(s.zeroExtend(remainder, 32), s.constant(8, 32)), 16);
  s.setRegister(RAX, s.or(s.zeroExtend(quotient, 16), top));
};

const div = defineInstruction({
  mnemonic: 'div',
  title: 'Unsigned Divide',
  access: 'read',
  source: 'SDM Vol. 2A, DIV',
  undefinedFlags: ALL_FLAGS,
  semantics(s, operand) {
    divideAccumulator(s, false, operand);
  },
});

const idiv = defineInstruction({
  mnemonic: 'idiv',
  title: 'Signed Divide',
  access: 'read',
  source: 'SDM Vol. 2A, IDIV',
  undefinedFlags: ALL_FLAGS,
  semantics(s, operand) {
    divideAccumulator(s, true, operand);
  },
});

/** ADCX and ADOX: addition whose carry is CF or OF alone. */
const addWithOneFlag = (mnemonic: 'adcx' | 'adox', flag: 'CF' | 'OF'): Instruction =>
  defineInstruction({
    mnemonic,
    title: `Unsigned Integer Addition With ${flag === 'CF' ? 'Carry' : 'Overflow'} Flag`,
    access: 'readWrite',
    source: `SDM Vol. 2A, ${mnemonic.toUpperCase()}`,
    readsFlags: [flag],
    writesFlags: [flag],
    semantics(s, destination, source) {
      const { width } = s.form;
      const a = s.read(destination);
      const b = s.read(source);
      const carryIn = s.bind(s.flag(flag));
      const sum = s.bind(s.add(s.add(a, b), s.zeroExtend(carryIn, width)));
      const carryOut = s.bind(s.or(s.lessUnsigned(sum, a), s.and(carryIn, s.equal(sum, a))));
      const words = s.statusWords();
      const cf = flag === 'CF' ? carryOut : s.bind(s.flag('CF'));
      const of = flag === 'OF' ? carryOut : s.bind(s.flag('OF'));
      const changed = withCarryAndOverflow(s, words, cf, of);
      const carry = s.bind(changed.carry);
      s.write(destination, sum);
      s.setStatusWords({ ...changed, carry });
    },
  });

export const arithmetic: readonly Instruction[] = [
  add,
  adc,
  sub,
  sbb,
  cmp,
  neg,
  inc,
  dec,
  mul,
  imul,
  div,
  idiv,
  addWithOneFlag('adcx', 'CF'),
  addWithOneFlag('adox', 'OF'),
];
