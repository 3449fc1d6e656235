/**
 * The projection of meanings on handlers: `Semantics` whose values are WebAssembly expressions.
 *
 * What is read is bound to a local at once. Writes are collected and come last, after everything
 * that may fault, so that a handler which leaves has changed nothing: the precise engine then
 * executes the instruction, finds the same fault and delivers it.
 */
import type {
  ExceptionName,
  Form,
  MemoryOperand,
  Operand,
  OperationName,
  RegisterOperand,
  SegmentRegister,
  Semantics,
  StatusFlag,
  StatusWords,
  ValueWidth,
  Width,
} from '../../../isa/index.ts';
import * as state from '../../cpu/state.ts';
import * as w from '../wasm/expression.ts';
import type { FunctionWriter } from '../wasm/function-writer.ts';
import type { HandlerForm } from './forms.ts';
import { RECORD } from './record.ts';
import { ACCESS_FAULTS, ACCESS_WRITES } from './translation-tables.ts';

export interface Value {
  readonly code: w.Expression;
  readonly width: ValueWidth;
  /** Known not to be 0, masked as a count or not. */
  readonly isNonZero?: boolean;
}

/** A meaning asks for what handlers do not do; the form is left to the precise engine. */
export class Unsupported extends Error {}

/** How a handler goes on; given by the generator. */
export interface Control {
  /** Leaves before anything was changed, to the precise engine. */
  leave(): void;
  /** The same for another of LEAVE_REASONS. */
  leaveFor(reason: number): void;
  /** The same after an access that `fill` has refused; it has told why. A page fault may go on. */
  leaveAccess(): void;
  /** To the next record. */
  next(): void;
  /** To the direct branch's target, or past it. */
  link(which: 'taken' | 'notTaken'): void;
  /** To any address. */
  jump(target: w.Expression): void;
  /** IRETQ, and then as a jump; or it leaves. */
  returnFromInterrupt(): void;
  /** The function that fills the TLB: (address, access) -> host address, or 0. */
  readonly fill: number;
}

const CF_BIT = 63;
const DIRECTION_BIT = 10;
const ZERO_ADDRESS = w.i32(0);
/** Of access rights: unusable, code, expand-down, writable. SDM Vol. 3C 24.4.1, Table 24-2. */
const SEGMENT_KIND = 0x1_000e;
const SEGMENT_WRITABLE = 2;

const typeOf = (width: ValueWidth): w.ValueType => (width === 64 ? 'i64' : 'i32');
const maskOf = (width: ValueWidth): number => (width === 1 ? 1 : width === 8 ? 0xff : 0xffff);
/** Cuts what an operation may have carried beyond a narrow width. */
const cut = (code: w.Expression, width: ValueWidth): Value => ({
  width,
  code: width >= 32 ? code : w.and(code, w.i32(maskOf(width))),
});

/** A narrow value sign-extended within 32 bits; others as they are. */
const signed = ({ code, width }: Value): w.Expression =>
  width === 8 || width === 16 ? w.signExtendLow(code, width) : code;

type Word = 'result' | 'sign' | 'carry';
const WORD_SLOTS: Record<Word, number> = {
  result: state.FLAG_RESULT,
  sign: state.FLAG_SIGN,
  carry: state.FLAG_CARRY,
};

export class Projection implements Semantics<Value> {
  readonly form: Form;
  readonly #f: FunctionWriter;
  readonly #record: w.Expression;
  readonly #handler: HandlerForm;
  readonly #control: Control;
  readonly #registerSlots: readonly number[];
  readonly #addresses = new Map<Operand, Value>();
  /** Host addresses that may be written, by the operand or offset they were asked for. */
  readonly #writable = new Map<Operand | Value, w.Expression>();
  readonly #words = new Map<Word, Value>();
  readonly #commits: (() => void)[] = [];
  #newWords: StatusWords<Value> | undefined;
  #finish: (() => void) | undefined;
  #writesRegisters = false;
  /** Within when(): what is accessed here may not be accessed at all. */
  #isConditional = false;

  constructor(f: FunctionWriter, handler: HandlerForm, record: w.Expression, control: Control) {
    this.#f = f;
    this.#handler = handler;
    this.#record = record;
    this.#control = control;
    this.form = handler.form;
    let next = 0;
    this.#registerSlots = handler.operands.map((operand) => {
      if (operand.kind !== 'register') return -1;
      const slot = RECORD.registers[next];
      next += 1;
      if (slot === undefined) throw new Unsupported('three registers');
      return slot;
    });
  }

  /** Writes what was collected, and goes on. */
  commit(): void {
    for (const commit of this.#commits) commit();
    const words = this.#newWords;
    if (words !== undefined && !this.#handler.isQuiet) {
      for (const name of ['result', 'sign', 'carry'] as const) {
        if (words[name] === this.#words.get(name)) continue;
        this.#f.store(64, ZERO_ADDRESS, WORD_SLOTS[name], words[name].code);
      }
    }
    if (this.#finish === undefined) this.#control.next();
    else this.#finish();
  }

  #bound(code: w.Expression, width: ValueWidth): Value {
    return { code: this.#f.bind(code), width };
  }
  constant(value: bigint | number, width: ValueWidth): Value {
    const bits = BigInt.asUintN(width, BigInt(value));
    return { code: w.constant(typeOf(width), bits), width };
  }
  widthOf(value: Value): ValueWidth {
    return value.width;
  }
  add(a: Value, b: Value): Value {
    return cut(w.add(a.code, b.code), a.width);
  }
  subtract(a: Value, b: Value): Value {
    return cut(w.subtract(a.code, b.code), a.width);
  }
  multiply(a: Value, b: Value): Value {
    return cut(w.multiply(a.code, b.code), a.width);
  }
  multiplyHigh(isSigned: boolean, a: Value, b: Value): Value {
    if (a.width === 32) {
      const extend = isSigned ? w.extendSigned : w.extendUnsigned;
      const product = w.multiply(extend(a.code), extend(b.code));
      return { code: w.wrap(w.shiftRight(product, w.i64(32))), width: 32 };
    }
    if (a.width !== 64) throw new Unsupported('multiplyHigh of a narrow value');
    return { code: this.#highProduct(isSigned, this.bind(a).code, this.bind(b).code), width: 64 };
  }
  /** The upper 64 bits of a 128-bit product, from four products of halves. */
  #highProduct(isSigned: boolean, a: w.Expression, b: w.Expression): w.Expression {
    const bind = (code: w.Expression) => this.#f.bind(code);
    const low = (code: w.Expression) => bind(w.and(code, w.i64(0xffff_ffff)));
    const shift = isSigned ? w.shiftRightSigned : w.shiftRight;
    const high = (code: w.Expression) => bind(shift(code, w.i64(32)));
    const [aLow, aHigh, bLow, bHigh] = [low(a), high(a), low(b), high(b)];
    const lowest = w.shiftRight(w.multiply(aLow, bLow), w.i64(32));
    const middle = bind(w.add(w.multiply(aHigh, bLow), lowest));
    const other = bind(w.add(w.multiply(aLow, bHigh), w.and(middle, w.i64(0xffff_ffff))));
    return w.add(w.add(w.multiply(aHigh, bHigh), high(middle)), high(other));
  }
  and(a: Value, b: Value): Value {
    const code = w.and(a.code, b.code);
    return {
      code,
      width: a.width,
      isNonZero: a.isNonZero === true && b.code.constant !== undefined,
    };
  }
  or(a: Value, b: Value): Value {
    return { code: w.or(a.code, b.code), width: a.width };
  }
  xor(a: Value, b: Value): Value {
    return { code: w.xor(a.code, b.code), width: a.width };
  }
  not(a: Value): Value {
    if (a.width === 1) return { code: w.isZero(a.code), width: 1 };
    return cut(w.xor(a.code, w.constant(a.code.type, -1)), a.width);
  }
  negate(a: Value): Value {
    return this.subtract(this.constant(0, a.width), a);
  }
  shiftLeft(a: Value, count: Value): Value {
    return cut(w.shiftLeft(a.code, count.code), a.width);
  }
  shiftRight(a: Value, count: Value): Value {
    return { code: w.shiftRight(a.code, count.code), width: a.width };
  }
  shiftRightSigned(a: Value, count: Value): Value {
    return cut(w.shiftRightSigned(signed(a), count.code), a.width);
  }
  #onlyWide(a: Value): void {
    if (a.width < 32) throw new Unsupported('an operation of 32 and 64 bits');
  }
  rotateLeft(a: Value, count: Value): Value {
    this.#onlyWide(a);
    return { code: w.rotateLeft(a.code, count.code), width: a.width };
  }
  rotateRight(a: Value, count: Value): Value {
    this.#onlyWide(a);
    return { code: w.rotateRight(a.code, count.code), width: a.width };
  }
  countOnes(a: Value): Value {
    return { code: w.countOnes(a.code), width: a.width };
  }
  countLeadingZeros(a: Value): Value {
    this.#onlyWide(a);
    return { code: w.countLeadingZeros(a.code), width: a.width };
  }
  countTrailingZeros(a: Value): Value {
    this.#onlyWide(a);
    return { code: w.countTrailingZeros(a.code), width: a.width };
  }
  equal(a: Value, b: Value): Value {
    return { code: w.equal(a.code, b.code), width: 1 };
  }
  lessUnsigned(a: Value, b: Value): Value {
    return { code: w.lessUnsigned(a.code, b.code), width: 1 };
  }
  lessSigned(a: Value, b: Value): Value {
    return { code: w.lessSigned(signed(a), signed(b)), width: 1 };
  }
  isZero(a: Value): Value {
    if (a.isNonZero === true) return this.constant(0, 1);
    return { code: w.isZero(a.code), width: 1 };
  }
  zeroExtend(a: Value, width: Width): Value {
    const code = width === 64 ? w.extendUnsigned(a.code) : a.code;
    return { code, width, isNonZero: a.isNonZero === true };
  }
  signExtend(a: Value, width: Width): Value {
    if (a.width === 1) throw new Unsupported('signExtend of a condition');
    return width === 64 ? { code: w.extendSigned(signed(a)), width } : cut(signed(a), width);
  }
  truncate(a: Value, width: ValueWidth): Value {
    if (width === 64) return a;
    return width >= a.width ? { code: a.code, width } : cut(w.wrap(a.code), width);
  }
  select(condition: Value, ifTrue: Value, ifFalse: Value): Value {
    return {
      code: w.select(condition.code, ifTrue.code, ifFalse.code),
      width: ifTrue.width,
    };
  }
  bind(a: Value): Value {
    return { ...this.#bound(a.code, a.width), isNonZero: a.isNonZero === true };
  }

  read(operand: Operand, width?: Width): Value {
    switch (operand.kind) {
      case 'register': {
        const size = width ?? operand.width;
        this.#mayReadRegisters();
        return this.#bound(w.load(typeOf(size), size, this.#slotOf(operand)), size);
      }
      case 'memory': {
        const size = width ?? (operand.width === 0 ? 64 : operand.width);
        const [first] = this.#handler.operands;
        const updates = this.#handler.definition.access === 'readWrite' && operand === first;
        return this.#load(this.#linearOf(operand, size), operand, size, updates);
      }
      case 'immediate': {
        const size = width ?? operand.width;
        const value = this.#bound(w.load(typeOf(size), size, this.#record, RECORD.immediate), size);
        return { ...value, isNonZero: operand === this.#handler.count };
      }
      default:
        throw new Unsupported(`an operand of kind ${operand.kind}`);
    }
  }
  #slotOf(operand: RegisterOperand): w.Expression {
    const slot = this.#registerSlots[this.#handler.operands.indexOf(operand)];
    if (slot === undefined || slot < 0) throw new Unsupported('a register that is no operand');
    return this.#f.bind(w.load('i32', 16, this.#record, slot));
  }
  #mayReadRegisters(): void {
    if (this.#writesRegisters) throw new Unsupported('a register read after a write');
  }

  write(operand: Operand, value: Value): void {
    if (operand.kind === 'register') this.#writeSlot(this.#slotOf(operand), 0, value);
    else if (operand.kind === 'memory') this.#storeOperand(operand, value);
    else throw new Unsupported(`a write to an operand of kind ${operand.kind}`);
  }
  #storeOperand(operand: MemoryOperand, value: Value): void {
    if (value.width === 1) throw new Unsupported('a condition written to memory');
    this.#store(this.#linearOf(operand, value.width), operand, value);
  }
  #writeSlot(address: w.Expression, offset: number, value: Value): void {
    this.#writesRegisters = true;
    const { code, width } = this.bind(value);
    if (width === 1) throw new Unsupported('a condition written to a register');
    this.#commits.push(() =>
      width === 32
        ? this.#f.store(64, address, offset, w.extendUnsigned(code))
        : this.#f.store(width, address, offset, code),
    );
  }

  addressOf(operand: MemoryOperand): Value {
    const known = this.#addresses.get(operand);
    if (known !== undefined) return known;
    this.#mayReadRegisters();
    const kind = this.#handler.memoryKinds[this.#handler.operands.indexOf(operand)];
    const width = this.form.codeWidth === 64 ? 64 : 32;
    const type = typeOf(width);
    const slot = (at: number) => w.load(type, width, w.load('i32', 16, this.#record, at));
    const base = slot(RECORD.base);
    const scale = w.load(type, 8, this.#record, RECORD.scale);
    const sum = kind === 'b' ? base : w.add(base, w.shiftLeft(slot(RECORD.index), scale));
    const displacement = w.load('i32', 32, this.#record, RECORD.displacement);
    const code =
      width === 64
        ? w.add(sum, w.extendSigned(displacement))
        : w.extendUnsigned(w.add(sum, displacement));
    const address = this.#bound(code, 64);
    this.#addresses.set(operand, address);
    return address;
  }
  #linearOf(operand: MemoryOperand, width: Width): w.Expression {
    const { code } = this.addressOf(operand);
    if (this.#handler.memoryKinds[this.#handler.operands.indexOf(operand)] !== 's') return code;
    const segment = this.#f.bind(w.load('i32', 16, this.#record, RECORD.segment));
    const linear = this.#f.bind(w.add(code, w.load('i64', 64, segment)));
    if (this.form.codeWidth === 64) return linear;
    this.#checkSegment(segment, code, width);
    return w.and(linear, w.i64(0xffff_ffff));
  }
  /** Leaves if the segment is none of writable data that holds the access; of others it may be, too. */
  #checkSegment(base: w.Expression, offset: w.Expression, width: Width): void {
    const field = (slot: number) => slot - state.segmentBase(0);
    const access = w.load('i32', 32, base, field(state.segmentAccess(0)));
    const limit = w.load('i64', 32, base, field(state.segmentLimit(0)));
    const isOther = w.differs(w.and(access, w.i32(SEGMENT_KIND)), w.i32(SEGMENT_WRITABLE));
    const isBeyond = w.lessUnsigned(limit, w.add(offset, w.i64(width / 8 - 1)));
    this.#f.if(w.or(isOther, isBeyond), () => this.#control.leave());
  }

  register(register: number, width: Width): Value {
    this.#mayReadRegisters();
    const slot = state.registerSlot(register);
    return this.#bound(w.load(typeOf(width), width, ZERO_ADDRESS, slot), width);
  }
  setRegister(register: number, value: Value): void {
    this.#writeSlot(ZERO_ADDRESS, state.registerSlot(register), value);
  }

  load(segment: SegmentRegister, offset: Value, width: Width): Value {
    this.#hasNoBase(segment);
    return this.#load(offset.code, offset, width, false);
  }
  loadForUpdate(segment: SegmentRegister, offset: Value, width: Width): Value {
    this.#hasNoBase(segment);
    return this.#load(offset.code, offset, width, true);
  }
  store(segment: SegmentRegister, offset: Value, value: Value): void {
    this.#hasNoBase(segment);
    this.#store(offset.code, offset, value);
  }
  /** Where an operand's own segment is asked for, it may be FS or GS. */
  #hasNoBase(segment: SegmentRegister): void {
    const isOfOperand = this.#handler.operands.some(
      (one) => one.kind === 'memory' && one.segment === segment,
    );
    if (isOfOperand && this.#handler.memoryKinds.includes('s')) {
      throw new Unsupported('an offset in FS or GS');
    }
  }
  #load(linear: w.Expression, place: Operand | Value, width: Width, updates: boolean): Value {
    const host = this.#probe(linear, width, updates);
    if (updates) this.#writable.set(place, host);
    return this.#bound(w.load(typeOf(width), width, host), width);
  }
  #store(linear: w.Expression, place: Operand | Value, value: Value): void {
    const { code, width } = this.bind(value);
    if (width === 1) throw new Unsupported('a condition written to memory');
    const host = this.#writable.get(place) ?? this.#probe(linear, width, true);
    this.#commits.push(() => this.#f.store(width, host, 0, code));
  }

  /** The host address of an access, by the TLB or by the function that fills it. */
  #probe(linear: w.Expression, width: Width, writes: boolean): w.Expression {
    const f = this.#f;
    const table = writes ? state.TLB_WRITE : state.TLB_READ;
    const address = f.bind(linear);
    const host = f.temporary('i32');
    const mask = (state.TLB_ENTRIES - 1) * state.TLB_ENTRY_BYTES;
    const entry = f.bind(w.and(w.shiftRight(w.wrap(address), w.i32(8)), w.i32(mask)));
    const last = width === 8 ? address : w.add(address, w.i64(width / 8 - 1));
    const page = w.and(last, w.i64(-4096));
    const tag = w.or(page, w.load('i64', 64, ZERO_ADDRESS, state.TLB_CONTEXT));
    f.if(
      w.equal(w.load('i64', 64, entry, table), tag),
      () => f.set(host, w.add(w.load('i32', 32, entry, table + 8), w.wrap(address))),
      () => {
        const faults = this.#isConditional ? 0 : ACCESS_FAULTS;
        const access = (writes ? ACCESS_WRITES : 0) | faults | (width / 8);
        f.call(this.#control.fill, address, w.i32(access));
        f.setFromStack(host);
        f.if(w.isZero(host), () => this.#control.leaveAccess());
      },
    );
    return host;
  }

  #word(name: Word): Value {
    const changed = this.#newWords;
    if (changed !== undefined) return changed[name];
    const known = this.#words.get(name);
    if (known !== undefined) return known;
    const value = this.#bound(w.load('i64', 64, ZERO_ADDRESS, WORD_SLOTS[name]), 64);
    this.#words.set(name, value);
    return value;
  }
  flag(flag: StatusFlag): Value {
    const negative = (code: w.Expression): Value => ({
      code: w.lessSigned(code, w.i64(0)),
      width: 1,
    });
    switch (flag) {
      case 'CF':
        return {
          code: w.wrap(w.shiftRight(this.#word('carry').code, w.i64(CF_BIT))),
          width: 1,
        };
      case 'OF': {
        const { code } = this.#word('carry');
        return negative(w.xor(code, w.shiftLeft(code, w.i64(1))));
      }
      case 'ZF':
        return this.isZero(this.#word('result'));
      case 'SF':
        return negative(this.#word('sign').code);
      case 'AF':
        return {
          code: w.and(w.wrap(w.shiftRight(this.#word('carry').code, w.i64(3))), w.i32(1)),
          width: 1,
        };
      case 'PF': {
        const low = w.and(w.wrap(this.#word('sign').code), w.i32(0xff));
        return { code: w.isZero(w.and(w.countOnes(low), w.i32(1))), width: 1 };
      }
    }
  }
  statusWords(): StatusWords<Value> {
    return {
      result: this.#word('result'),
      sign: this.#word('sign'),
      carry: this.#word('carry'),
    };
  }
  setStatusWords({ result, sign, carry }: StatusWords<Value>): void {
    const boundResult = this.bind(result);
    this.#newWords = {
      result: boundResult,
      sign: sign === result ? boundResult : this.bind(sign),
      carry: this.bind(carry),
    };
  }
  condition(condition: number): Value {
    const base = this.#positive(condition >> 1);
    return (condition & 1) === 1 ? this.not(base) : base;
  }
  #positive(kind: number): Value {
    switch (kind) {
      case 0:
        return this.flag('OF');
      case 1:
        return this.flag('CF');
      case 2:
        return this.flag('ZF');
      case 3:
        return this.or(this.flag('CF'), this.flag('ZF'));
      case 4:
        return this.flag('SF');
      case 5:
        return this.flag('PF');
      default: {
        const { code } = this.#word('carry');
        const overflow = w.xor(code, w.shiftLeft(code, w.i64(1)));
        const less = w.lessSigned(w.xor(overflow, this.#word('sign').code), w.i64(0));
        const value: Value = { code: less, width: 1 };
        return kind === 6 ? value : this.or(value, this.flag('ZF'));
      }
    }
  }
  directionFlag(): Value {
    const rest = w.load('i32', 32, ZERO_ADDRESS, state.RFLAGS_REST);
    return this.#bound(w.and(w.shiftRight(rest, w.i32(DIRECTION_BIT)), w.i32(1)), 1);
  }
  setDirectionFlag(value: Value): void {
    const rest = w.load('i32', 32, ZERO_ADDRESS, state.RFLAGS_REST);
    const bit = 1 << DIRECTION_BIT;
    const next = w.or(w.and(rest, w.i32(~bit)), w.shiftLeft(value.code, w.i32(DIRECTION_BIT)));
    this.#commits.push(() => this.#f.store(32, ZERO_ADDRESS, state.RFLAGS_REST, next));
  }

  nextInstruction(): Value {
    const page = w.load('i64', 64, ZERO_ADDRESS, state.RIP_PAGE);
    const offset = w.add(
      w.load('i64', 16, this.#record, RECORD.pageOffset),
      w.load('i64', 8, this.#record, RECORD.length),
    );
    const next = w.add(page, offset);
    return this.#bound(this.form.codeWidth === 64 ? next : w.and(next, w.i64(0xffff_ffff)), 64);
  }
  jump(target: Operand | Value): void {
    if ('kind' in target) {
      this.#finish = () => this.#control.link('taken');
      return;
    }
    const { code } = this.bind(target);
    this.#finish = () => this.#control.jump(code);
    // Of 32-bit code, the value is one of 32 bits.
    if (this.form.codeWidth !== 64) return;
    const canonical = w.shiftRightSigned(w.shiftLeft(code, w.i64(16)), w.i64(16));
    this.#f.if(w.differs(canonical, code), () => this.#control.leave());
  }
  branch(condition: Value, _target: Operand): void {
    const { code } = this.bind(condition);
    this.#finish = () => {
      this.#f.if(code, () => this.#control.link('taken'));
      this.#control.link('notTaken');
    };
  }
  when(condition: Value, then: () => void): void {
    const guard = this.bind(condition);
    const before = this.#commits.length;
    const outer = this.#isConditional;
    this.#isConditional = true;
    then();
    this.#isConditional = outer;
    const inner = this.#commits.splice(before);
    this.#commits.push(() =>
      this.#f.if(guard.code, () => {
        for (const commit of inner) commit();
      }),
    );
  }
  raise(_exception: ExceptionName): void {
    throw new Unsupported('a fault raised by a meaning');
  }
  divideWide(isSigned: boolean, high: Value, low: Value, divisor: Value) {
    const { width } = divisor;
    const leaveIf = (code: w.Expression) => this.#f.if(code, () => this.#control.leave());
    const by = this.#f.bind(
      isSigned ? w.extendSigned(signed(divisor)) : w.extendUnsigned(divisor.code),
    );
    leaveIf(w.isZero(by));
    // The lowest dividend by -1 would trap; the precise engine tells what it is.
    if (isSigned) leaveIf(w.equal(by, w.i64(-1)));
    const dividend = this.#f.bind(this.#dividend(isSigned, high, low, leaveIf));
    const divide = isSigned ? w.divideSigned : w.divideUnsigned;
    const quotient = this.#f.bind(divide(dividend, by));
    const remainder = (isSigned ? w.remainderSigned : w.remainderUnsigned)(dividend, by);
    const narrow = (code: w.Expression): Value =>
      this.bind(this.truncate({ code, width: 64 }, width));
    const result = narrow(quotient);
    if (width !== 64) {
      const back = isSigned ? w.extendSigned(signed(result)) : w.extendUnsigned(result.code);
      leaveIf(w.differs(back, quotient));
    }
    return { quotient: result, remainder: narrow(remainder) };
  }
  #dividend(
    isSigned: boolean,
    high: Value,
    low: Value,
    leaveIf: (code: w.Expression) => void,
  ): w.Expression {
    const { width } = low;
    if (width === 64) {
      const expected = isSigned ? w.shiftRightSigned(low.code, w.i64(63)) : w.i64(0);
      leaveIf(w.differs(high.code, expected));
      return low.code;
    }
    const upper = isSigned ? w.extendSigned(signed(high)) : w.extendUnsigned(high.code);
    return w.or(w.shiftLeft(upper, w.i64(width)), w.extendUnsigned(low.code));
  }
  repeatString(body: () => void, _until: 'zf' | undefined): void {
    body();
  }
  call(operation: OperationName): void {
    throw new Unsupported(`the operation ${operation}`);
  }
}
