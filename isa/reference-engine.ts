/**
 * The reference engine: evaluates a meaning with bigints. Slow and plain, it is the definition
 * that other engines are tested against, and the precise path for whatever they leave aside.
 *
 * All writes are buffered and handed to the host at the end, so that an instruction that faults
 * half way has changed nothing, however many stores it makes.
 */
import type { DecodedInstruction } from './decode.ts';
import type { ExceptionName } from './exceptions.ts';
import { statusFlagsOf } from './flags.ts';
import type { MemoryOperand, Operand, SegmentRegister, Width } from './operands.ts';
import type { OperationName, Semantics, StatusFlag, StatusWords, ValueWidth } from './semantics.ts';

/** The state that meanings are evaluated on. Values are unsigned. */
export interface ReferenceHost {
  readRegister(register: number): bigint;
  writeRegister(register: number, value: bigint): void;
  readStatusWords(): StatusWords<bigint>;
  writeStatusWords(words: StatusWords<bigint>): void;
  readDirectionFlag(): boolean;
  writeDirectionFlag(value: boolean): void;
  readSelector(segment: SegmentRegister): bigint;
  /** RIP of the instruction that is evaluated. */
  readInstructionPointer(): bigint;
  writeInstructionPointer(value: bigint): void;
  /** Whether an offset is within the code segment; asked outside 64-bit mode only. */
  isInCodeSegment(offset: bigint): boolean;
  /**
   * The linear address of an access, after the checks of segmentation and canonical form;
   * undefined if it faults: the fault is pending with the host.
   */
  linearOf(
    segment: SegmentRegister,
    offset: bigint,
    lengthBytes: number,
    writes: boolean,
    form: { readonly codeWidth: 16 | 32 | 64; readonly addressWidth: 16 | 32 | 64 },
  ): bigint | undefined;
  /** Reads memory; undefined if a fault or a VM exit is pending with the host. */
  read(linear: bigint, lengthBytes: number): bigint | undefined;
  /** Whether a write would succeed; false if a fault or a VM exit is pending with the host. */
  mayWrite(linear: bigint, lengthBytes: number): boolean;
  /** Writes memory that mayWrite has allowed. */
  write(linear: bigint, lengthBytes: number, value: bigint): void;
  /** Makes a fault pending. */
  raise(exception: ExceptionName): void;
}

/**
 * How an evaluation ended.
 *   next, jumped  completed; RIP is that of the next instruction, or of the target
 *   again         one iteration of a REP string instruction is done and more are to come
 *   pending       a fault or a VM exit is pending with the host; nothing was changed
 *   operation     everything is done but the named operation, which the caller now runs
 */
export type Evaluation =
  | { readonly kind: 'next' | 'jumped' | 'again' | 'pending' }
  | {
      readonly kind: 'operation';
      readonly operation: OperationName;
      readonly args: readonly bigint[];
    };

interface Value {
  readonly bits: bigint;
  readonly width: ValueWidth;
}

/** Thrown through a meaning when an access faults; never leaves this file. */
const PENDING = new Error('A fault or VM exit is pending.');

const NEXT: Evaluation = { kind: 'next' };
const JUMPED: Evaluation = { kind: 'jumped' };
const AGAIN: Evaluation = { kind: 'again' };
const PENDING_EVALUATION: Evaluation = { kind: 'pending' };

/** Evaluates one instruction whose definition is known. */
export const evaluate = (instruction: DecodedInstruction, host: ReferenceHost): Evaluation => {
  const { definition } = instruction;
  if (definition === undefined) {
    host.raise('UD');
    return PENDING_EVALUATION;
  }
  const run = new Run(instruction, host);
  try {
    definition.semantics(run, ...instruction.operands);
  } catch (thrown) {
    if (thrown === PENDING) return PENDING_EVALUATION;
    throw thrown;
  }
  return run.commit();
};

const mask = (bits: bigint, width: ValueWidth): bigint => BigInt.asUintN(width, bits);
const signedOf = ({ bits, width }: Value): bigint => BigInt.asIntN(width, bits);

interface Store {
  readonly linear: bigint;
  readonly bytes: number;
  readonly bits: bigint;
}

/** One evaluation: the buffered writes and how it goes on. */
class Run implements Semantics<Value> {
  readonly form;
  readonly #instruction: DecodedInstruction;
  readonly #host: ReferenceHost;
  readonly #registers = new Map<number, bigint>();
  readonly #stores: Store[] = [];
  #words: StatusWords<Value> | undefined;
  #direction: boolean | undefined;
  #target: bigint | undefined;
  #again = false;
  #operation: { operation: OperationName; args: readonly bigint[] } | undefined;

  constructor(instruction: DecodedInstruction, host: ReferenceHost) {
    this.#instruction = instruction;
    this.#host = host;
    this.form = instruction.form;
  }

  /** Hands all writes to the host and says how the instruction ended. */
  commit(): Evaluation {
    const host = this.#host;
    for (const { linear, bytes, bits } of this.#stores) host.write(linear, bytes, bits);
    for (const [register, bits] of this.#registers) host.writeRegister(register, bits);
    if (this.#words !== undefined) {
      const { result, sign, carry } = this.#words;
      host.writeStatusWords({ result: result.bits, sign: sign.bits, carry: carry.bits });
    }
    if (this.#direction !== undefined) host.writeDirectionFlag(this.#direction);
    if (this.#operation !== undefined) return { kind: 'operation', ...this.#operation };
    if (this.#again) return AGAIN;
    if (this.#target === undefined) {
      host.writeInstructionPointer(this.#nextPointer());
      return NEXT;
    }
    host.writeInstructionPointer(this.#target);
    return JUMPED;
  }

  #nextPointer(): bigint {
    const next = this.#host.readInstructionPointer() + BigInt(this.#instruction.lengthBytes);
    return BigInt.asUintN(this.form.codeWidth === 64 ? 64 : 32, next);
  }

  #of(bits: bigint, width: ValueWidth): Value {
    return { bits: mask(bits, width), width };
  }

  #condition(holds: boolean): Value {
    return { bits: holds ? 1n : 0n, width: 1 };
  }

  constant(value: bigint | number, width: ValueWidth): Value {
    return this.#of(BigInt(value), width);
  }
  widthOf(value: Value): ValueWidth {
    return value.width;
  }
  add(a: Value, b: Value): Value {
    return this.#of(a.bits + b.bits, a.width);
  }
  subtract(a: Value, b: Value): Value {
    return this.#of(a.bits - b.bits, a.width);
  }
  multiply(a: Value, b: Value): Value {
    return this.#of(a.bits * b.bits, a.width);
  }
  multiplyHigh(signed: boolean, a: Value, b: Value): Value {
    const product = signed ? signedOf(a) * signedOf(b) : a.bits * b.bits;
    return this.#of(product >> BigInt(a.width), a.width);
  }
  and(a: Value, b: Value): Value {
    return this.#of(a.bits & b.bits, a.width);
  }
  or(a: Value, b: Value): Value {
    return this.#of(a.bits | b.bits, a.width);
  }
  xor(a: Value, b: Value): Value {
    return this.#of(a.bits ^ b.bits, a.width);
  }
  not(a: Value): Value {
    return this.#of(~a.bits, a.width);
  }
  negate(a: Value): Value {
    return this.#of(-a.bits, a.width);
  }
  #count(a: Value, count: Value): bigint {
    return count.bits & (a.width === 64 ? 63n : 31n);
  }
  shiftLeft(a: Value, count: Value): Value {
    return this.#of(a.bits << this.#count(a, count), a.width);
  }
  shiftRight(a: Value, count: Value): Value {
    return this.#of(a.bits >> this.#count(a, count), a.width);
  }
  shiftRightSigned(a: Value, count: Value): Value {
    return this.#of(signedOf(a) >> this.#count(a, count), a.width);
  }
  rotateLeft(a: Value, count: Value): Value {
    const by = count.bits & BigInt(a.width - 1);
    return this.#of((a.bits << by) | (a.bits >> (BigInt(a.width) - by)), a.width);
  }
  rotateRight(a: Value, count: Value): Value {
    return this.rotateLeft(a, this.negate(count));
  }
  countOnes(a: Value): Value {
    let ones = 0n;
    for (let rest = a.bits; rest !== 0n; rest &= rest - 1n) ones += 1n;
    return this.#of(ones, a.width);
  }
  countLeadingZeros(a: Value): Value {
    const digits = a.bits === 0n ? 0 : a.bits.toString(2).length;
    return this.#of(BigInt(a.width - digits), a.width);
  }
  countTrailingZeros(a: Value): Value {
    if (a.bits === 0n) return this.#of(BigInt(a.width), a.width);
    return this.#of(BigInt((a.bits & -a.bits).toString(2).length - 1), a.width);
  }
  equal(a: Value, b: Value): Value {
    return this.#condition(a.bits === b.bits);
  }
  lessUnsigned(a: Value, b: Value): Value {
    return this.#condition(a.bits < b.bits);
  }
  lessSigned(a: Value, b: Value): Value {
    return this.#condition(signedOf(a) < signedOf(b));
  }
  isZero(a: Value): Value {
    return this.#condition(a.bits === 0n);
  }
  zeroExtend(a: Value, width: Width): Value {
    return this.#of(a.bits, width);
  }
  signExtend(a: Value, width: Width): Value {
    return this.#of(signedOf(a), width);
  }
  truncate(a: Value, width: ValueWidth): Value {
    return this.#of(a.bits, width);
  }
  select(condition: Value, ifTrue: Value, ifFalse: Value): Value {
    return condition.bits === 1n ? ifTrue : ifFalse;
  }
  bind(a: Value): Value {
    return a;
  }

  read(operand: Operand, width?: Width): Value {
    switch (operand.kind) {
      case 'register': {
        const bits = this.#register(operand.register) >> (operand.high ? 8n : 0n);
        return this.#of(bits, operand.high ? 8 : (width ?? operand.width));
      }
      case 'memory': {
        const size = width ?? (operand.width === 0 ? 64 : operand.width);
        const updates =
          this.#instruction.definition?.access === 'readWrite' &&
          operand === this.#instruction.operands[0];
        return this.#load(operand.segment, this.addressOf(operand), size, updates);
      }
      case 'immediate':
        return this.#of(operand.value, width ?? operand.width);
      case 'segmentRegister':
        return this.#of(this.#host.readSelector(operand.register as SegmentRegister), 16);
      default:
        throw new Error(`An operand of kind ${operand.kind} has no value.`);
    }
  }

  write(operand: Operand, value: Value): void {
    if (operand.kind === 'register') {
      if (operand.high) this.#writeHighByte(operand.register, value);
      else this.setRegister(operand.register, value);
    } else if (operand.kind === 'memory') {
      this.store(operand.segment, this.addressOf(operand), value);
    } else {
      throw new Error(`An operand of kind ${operand.kind} cannot be written.`);
    }
  }

  #writeHighByte(register: number, value: Value): void {
    const rest = this.#register(register) & ~0xff00n;
    this.#registers.set(register, rest | (value.bits << 8n));
  }

  addressOf(operand: MemoryOperand): Value {
    const { base, index, scale, displacement } = operand;
    const start =
      base === 'rip' ? this.#nextPointer() : base === undefined ? 0n : this.#register(base);
    const offset = index === undefined ? 0n : this.#register(index) * BigInt(scale);
    const sum = mask(start + offset + displacement, this.form.addressWidth);
    return this.#of(sum, 64);
  }

  /** A register with the writes that this instruction has made so far. */
  #register(register: number): bigint {
    return this.#registers.get(register) ?? this.#host.readRegister(register);
  }
  register(register: number, width: Width): Value {
    return this.#of(this.#register(register), width);
  }
  setRegister(register: number, { bits, width }: Value): void {
    if (width >= 32) {
      this.#registers.set(register, bits);
      return;
    }
    const low = (1n << BigInt(width)) - 1n;
    this.#registers.set(register, (this.#register(register) & ~low) | bits);
  }

  load(segment: SegmentRegister, offset: Value, width: Width): Value {
    return this.#load(segment, offset, width, false);
  }
  loadForUpdate(segment: SegmentRegister, offset: Value, width: Width): Value {
    return this.#load(segment, offset, width, true);
  }
  #linear(segment: SegmentRegister, offset: Value, bytes: number, writes: boolean): bigint {
    const linear = this.#host.linearOf(segment, offset.bits, bytes, writes, this.form);
    if (linear === undefined) throw PENDING;
    return linear;
  }
  #load(segment: SegmentRegister, offset: Value, width: Width, updates: boolean): Value {
    const bytes = width / 8;
    const linear = this.#linear(segment, offset, bytes, updates);
    if (updates && !this.#host.mayWrite(linear, bytes)) throw PENDING;
    const bits = this.#host.read(linear, bytes);
    if (bits === undefined) throw PENDING;
    return this.#of(this.#withStores(linear, bytes, bits), width);
  }
  /** What memory holds once the stores so far are made. */
  #withStores(linear: bigint, bytes: number, bits: bigint): bigint {
    let value = bits;
    for (const store of this.#stores) {
      for (let i = 0; i < store.bytes; i += 1) {
        const at = Number(BigInt.asIntN(64, store.linear + BigInt(i) - linear));
        if (at < 0 || at >= bytes) continue;
        const shift = BigInt(at * 8);
        const byte = (store.bits >> BigInt(i * 8)) & 0xffn;
        value = (value & ~(0xffn << shift)) | (byte << shift);
      }
    }
    return value;
  }
  store(segment: SegmentRegister, offset: Value, value: Value): void {
    const bytes = value.width / 8;
    const linear = this.#linear(segment, offset, bytes, true);
    if (!this.#host.mayWrite(linear, bytes)) throw PENDING;
    this.#stores.push({ linear, bytes, bits: value.bits });
  }

  flag(flag: StatusFlag): Value {
    return this.#condition((this.#statusFlags() & FLAG_BITS[flag]) !== 0);
  }
  #statusFlags(): number {
    const { result, sign, carry } = this.statusWords();
    return statusFlagsOf(result.bits, sign.bits, carry.bits);
  }
  statusWords(): StatusWords<Value> {
    if (this.#words !== undefined) return this.#words;
    const { result, sign, carry } = this.#host.readStatusWords();
    return { result: this.#of(result, 64), sign: this.#of(sign, 64), carry: this.#of(carry, 64) };
  }
  setStatusWords(words: StatusWords<Value>): void {
    this.#words = words;
  }
  condition(condition: number): Value {
    const flags = this.#statusFlags();
    const is = (flag: StatusFlag) => (flags & FLAG_BITS[flag]) !== 0;
    const less = is('SF') !== is('OF');
    const holds = [
      is('OF'),
      is('CF'),
      is('ZF'),
      is('CF') || is('ZF'),
      is('SF'),
      is('PF'),
      less,
      less || is('ZF'),
    ][condition >> 1];
    return this.#condition((holds === true) !== ((condition & 1) === 1));
  }
  directionFlag(): Value {
    return this.#condition(this.#direction ?? this.#host.readDirectionFlag());
  }
  setDirectionFlag(value: Value): void {
    this.#direction = value.bits === 1n;
  }

  nextInstruction(): Value {
    return this.#of(this.#nextPointer(), 64);
  }
  jump(target: Operand | Value): void {
    if ('bits' in target) {
      this.#target = this.#checked(target.bits);
    } else if (target.kind === 'target') {
      const { codeWidth, width } = this.form;
      const size = codeWidth === 64 ? 64 : width === 16 ? 16 : 32;
      this.#target = this.#checked(mask(this.#nextPointer() + target.displacement, size));
    }
  }
  /** A jump to a non-canonical address, or beyond the code segment, faults at the jump. */
  #checked(target: bigint): bigint {
    if (this.form.codeWidth !== 64) {
      const offset = mask(target, 32);
      return this.#host.isInCodeSegment(offset) ? offset : this.raise('GP');
    }
    if (BigInt.asUintN(64, BigInt.asIntN(48, target)) === target) return target;
    return this.raise('GP');
  }
  branch(condition: Value, target: Operand): void {
    if (condition.bits === 1n) this.jump(target);
  }
  when(condition: Value, then: () => void): void {
    if (condition.bits === 1n) then();
  }
  raise(exception: ExceptionName): never {
    this.#host.raise(exception);
    throw PENDING;
  }
  divideWide(signed: boolean, high: Value, low: Value, divisor: Value) {
    const { width } = divisor;
    if (divisor.bits === 0n) this.raise('DE');
    const unsigned = (high.bits << BigInt(width)) | low.bits;
    const dividend = signed ? BigInt.asIntN(2 * width, unsigned) : unsigned;
    const by = signed ? signedOf(divisor) : divisor.bits;
    const quotient = dividend / by;
    const fits = signed ? BigInt.asIntN(width, quotient) : mask(quotient, width);
    if (fits !== quotient) this.raise('DE');
    return {
      quotient: this.#of(quotient, width),
      remainder: this.#of(dividend % by, width),
    };
  }

  repeatString(body: () => void, until: 'zf' | undefined): void {
    const { repeat, addressWidth } = this.form;
    if (repeat === undefined) {
      body();
      return;
    }
    const counter = 1;
    const count = this.register(counter, addressWidth);
    if (count.bits === 0n) return;
    body();
    const left = this.subtract(count, this.constant(1, addressWidth));
    this.setRegister(counter, left);
    const stopped = until === 'zf' && (this.flag('ZF').bits === 1n) !== (repeat === 'rep');
    this.#again = left.bits !== 0n && !stopped;
  }

  call(operation: OperationName, ...operands: readonly Value[]): void {
    this.#operation = { operation, args: operands.map(({ bits }) => bits) };
  }
}

const FLAG_BITS: Readonly<Record<StatusFlag, number>> = {
  CF: 0x001,
  PF: 0x004,
  AF: 0x010,
  ZF: 0x040,
  SF: 0x080,
  OF: 0x800,
};
