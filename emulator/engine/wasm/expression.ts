/**
 * WebAssembly expressions as pure trees. Constants are folded when a tree is built.
 * Opcodes: WebAssembly Core Specification 5.4 "Instructions".
 */
export type ValueType = 'i32' | 'i64';

export interface Expression {
  readonly type: ValueType;
  readonly opcode: number;
  readonly operands: readonly Expression[];
  /** The value of a constant, signed. */
  readonly constant: bigint | undefined;
  /** The index of a local, or the offset of a load. */
  readonly immediate: number;
}

export const OPCODE = {
  localGet: 0x20,
  select: 0x1b,
  i32Const: 0x41,
  i64Const: 0x42,
  firstLoad: 0x28,
  lastLoad: 0x35,
} as const;

const node = (
  type: ValueType,
  opcode: number,
  operands: readonly Expression[],
  immediate = 0,
): Expression => ({ type, opcode, operands, immediate, constant: undefined });

const bitsOf = (type: ValueType): 32 | 64 => (type === 'i64' ? 64 : 32);

export const constant = (type: ValueType, value: bigint | number): Expression => ({
  type,
  opcode: type === 'i64' ? OPCODE.i64Const : OPCODE.i32Const,
  operands: [],
  immediate: 0,
  constant: BigInt.asIntN(bitsOf(type), BigInt(value)),
});
export const i32 = (value: number): Expression => constant('i32', value);
export const i64 = (value: bigint | number): Expression => constant('i64', value);

export const local = (type: ValueType, index: number): Expression =>
  node(type, OPCODE.localGet, [], index);

type Fold = (a: bigint, b: bigint, bits: 32 | 64) => bigint;
type Binary = (a: Expression, b: Expression) => Expression;

const unsigned = (value: bigint, bits: 32 | 64): bigint => BigInt.asUintN(bits, value);
const truth = (holds: boolean): bigint => (holds ? 1n : 0n);
const countIn = (b: bigint, bits: 32 | 64): bigint => b & BigInt(bits - 1);

const binary =
  (opcode32: number, opcode64: number, fold: Fold, compares = false): Binary =>
  (a, b) => {
    if (a.type !== b.type) throw new Error(`Operands of ${a.type} and ${b.type} do not mix.`);
    const type = compares ? 'i32' : a.type;
    if (a.constant !== undefined && b.constant !== undefined) {
      return constant(type, fold(a.constant, b.constant, bitsOf(a.type)));
    }
    return node(type, a.type === 'i64' ? opcode64 : opcode32, [a, b]);
  };

/** Leaves an operation out whose right side is 0. */
const withRightZero =
  (operation: Binary): Binary =>
  (a, b) =>
    b.constant === 0n ? a : operation(a, b);
/** Leaves an operation out one side of which is 0. */
const withZero =
  (operation: Binary): Binary =>
  (a, b) =>
    b.constant === 0n ? a : a.constant === 0n ? b : operation(a, b);

export const add = withZero(binary(0x6a, 0x7c, (a, b) => a + b));
export const subtract = withRightZero(binary(0x6b, 0x7d, (a, b) => a - b));
export const multiply = binary(0x6c, 0x7e, (a, b) => a * b);
export const divideSigned = binary(0x6d, 0x7f, (a, b) => a / b);
export const divideUnsigned = binary(0x6e, 0x80, (a, b, n) => unsigned(a, n) / unsigned(b, n));
export const remainderSigned = binary(0x6f, 0x81, (a, b) => a % b);
export const remainderUnsigned = binary(0x70, 0x82, (a, b, n) => unsigned(a, n) % unsigned(b, n));
export const and = binary(0x71, 0x83, (a, b) => a & b);
export const or = withZero(binary(0x72, 0x84, (a, b) => a | b));
export const xor = withZero(binary(0x73, 0x85, (a, b) => a ^ b));
export const shiftLeft = withRightZero(binary(0x74, 0x86, (a, b, n) => a << countIn(b, n)));
export const shiftRightSigned = withRightZero(binary(0x75, 0x87, (a, b, n) => a >> countIn(b, n)));
export const shiftRight = withRightZero(
  binary(0x76, 0x88, (a, b, n) => unsigned(a, n) >> countIn(b, n)),
);
const rotated = (a: bigint, by: bigint, bits: 32 | 64): bigint =>
  (unsigned(a, bits) << by) | (unsigned(a, bits) >> (BigInt(bits) - by));
export const rotateLeft = withRightZero(
  binary(0x77, 0x89, (a, b, n) => rotated(a, countIn(b, n), n)),
);
export const rotateRight = withRightZero(
  binary(0x78, 0x8a, (a, b, n) => rotated(a, countIn(-b, n), n)),
);
export const equal = binary(0x46, 0x51, (a, b) => truth(a === b), true);
export const differs = binary(0x47, 0x52, (a, b) => truth(a !== b), true);
export const lessSigned = binary(0x48, 0x53, (a, b) => truth(a < b), true);
export const lessUnsigned = binary(
  0x49,
  0x54,
  (a, b, n) => truth(unsigned(a, n) < unsigned(b, n)),
  true,
);

const unary = (
  type: ValueType,
  opcode: number,
  a: Expression,
  fold: (a: bigint) => bigint,
): Expression =>
  a.constant === undefined ? node(type, opcode, [a]) : constant(type, fold(a.constant));
const by64 = (a: Expression, opcode32: number, opcode64: number): number =>
  a.type === 'i64' ? opcode64 : opcode32;

export const isZero = (a: Expression): Expression =>
  unary('i32', by64(a, 0x45, 0x50), a, (value) => truth(value === 0n));
/** The low half of an i64; an i32 as it is. */
export const wrap = (a: Expression): Expression =>
  a.type === 'i32' ? a : unary('i32', 0xa7, a, (value) => value);
export const extendUnsigned = (a: Expression): Expression =>
  a.type === 'i64' ? a : unary('i64', 0xad, a, (value) => unsigned(value, 32));
export const extendSigned = (a: Expression): Expression =>
  a.type === 'i64' ? a : unary('i64', 0xac, a, (value) => value);
/** The low 8 or 16 bits, sign-extended within the type. */
export const signExtendLow = (a: Expression, bits: 8 | 16): Expression =>
  unary(a.type, bits === 8 ? by64(a, 0xc0, 0xc2) : by64(a, 0xc1, 0xc3), a, (value) =>
    BigInt.asIntN(bits, value),
  );

/** These are never asked of a constant that matters: they are not folded. */
const counting = (a: Expression, opcode32: number, opcode64: number): Expression =>
  node(a.type, by64(a, opcode32, opcode64), [a]);
export const countLeadingZeros = (a: Expression): Expression => counting(a, 0x67, 0x79);
export const countTrailingZeros = (a: Expression): Expression => counting(a, 0x68, 0x7a);
export const countOnes = (a: Expression): Expression => counting(a, 0x69, 0x7b);

export const select = (condition: Expression, a: Expression, b: Expression): Expression => {
  if (condition.constant !== undefined) return condition.constant === 0n ? b : a;
  return node(a.type, OPCODE.select, [a, b, condition]);
};

const LOADS: Record<ValueType, Readonly<Record<number, number>>> = {
  i32: { 8: 0x2d, 16: 0x2f, 32: 0x28 },
  i64: { 8: 0x31, 16: 0x33, 32: 0x35, 64: 0x29 },
};

/** Memory at `address + offset`, zero-extended. */
export const load = (
  type: ValueType,
  width: number,
  address: Expression,
  offset = 0,
): Expression => {
  const opcode = LOADS[type][width];
  if (opcode === undefined) throw new Error(`There is no ${type} load of ${width} bits.`);
  return node(type, opcode, [address], offset);
};
