/**
 * The body of one WebAssembly function. Temporaries that a scope has made are used again by later
 * ones: engines' compile time grows with the number of locals times that of control merges.
 */
import { ByteWriter } from './byte-writer.ts';
import { type Expression, local, OPCODE, type ValueType } from './expression.ts';

/** A block or loop that branches may name. */
export type Label = number & { readonly label: unique symbol };

const STORES: Record<ValueType, Readonly<Record<number, number>>> = {
  i32: { 8: 0x3a, 16: 0x3b, 32: 0x36 },
  i64: { 8: 0x3c, 16: 0x3d, 32: 0x3e, 64: 0x37 },
};
export const TYPE_CODE: Record<ValueType, number> = { i32: 0x7f, i64: 0x7e };
const NO_RESULT = 0x40;

export class FunctionWriter {
  readonly #parameters: number;
  readonly #code = new ByteWriter();
  readonly #locals: ValueType[] = [];
  readonly #free: Record<ValueType, number[]> = { i32: [], i64: [] };
  #scope: number[] = [];
  #depth = 0;

  constructor(parameters: number) {
    this.#parameters = parameters;
  }

  /** Gives the temporaries back that `write` has made. */
  scoped(write: () => void): void {
    const outer = this.#scope;
    this.#scope = [];
    write();
    for (const index of this.#scope) {
      const type = this.#locals[index - this.#parameters];
      if (type !== undefined) this.#free[type].push(index);
    }
    this.#scope = outer;
  }

  temporary(type: ValueType): Expression {
    let index = this.#free[type].pop();
    if (index === undefined) {
      this.#locals.push(type);
      index = this.#parameters + this.#locals.length - 1;
    }
    this.#scope.push(index);
    return local(type, index);
  }

  /** The value, computed here, once. */
  bind(value: Expression): Expression {
    if (value.constant !== undefined) return value;
    const target = this.temporary(value.type);
    this.set(target, value);
    return target;
  }

  push({ opcode, operands, constant, immediate }: Expression): void {
    for (const operand of operands) this.push(operand);
    this.#code.byte(opcode);
    if (constant !== undefined) this.#code.signed(constant);
    else if (opcode === OPCODE.localGet) this.#code.unsigned(immediate);
    else if (opcode >= OPCODE.firstLoad && opcode <= OPCODE.lastLoad) {
      this.#code.byte(0);
      this.#code.unsigned(immediate);
    }
  }

  set(target: Expression, value: Expression): void {
    this.push(value);
    this.setFromStack(target);
  }
  setFromStack(target: Expression): void {
    this.#code.byte(0x21);
    this.#code.unsigned(target.immediate);
  }

  store(width: number, address: Expression, offset: number, value: Expression): void {
    const opcode = STORES[value.type][width];
    if (opcode === undefined) throw new Error(`There is no ${value.type} store of ${width} bits.`);
    this.push(address);
    this.push(value);
    this.#code.byte(opcode);
    this.#code.byte(0);
    this.#code.unsigned(offset);
  }

  block(): Label {
    return this.#open(0x02);
  }
  loop(): Label {
    return this.#open(0x03);
  }
  if(condition: Expression, then: () => void, otherwise?: () => void): void {
    this.push(condition);
    this.#open(0x04);
    then();
    if (otherwise !== undefined) {
      this.#code.byte(0x05);
      otherwise();
    }
    this.end();
  }
  end(): void {
    this.#code.byte(0x0b);
    this.#depth -= 1;
  }
  #open(opcode: number): Label {
    this.#code.byte(opcode);
    this.#code.byte(NO_RESULT);
    this.#depth += 1;
    return this.#depth as Label;
  }

  branch(label: Label): void {
    this.#code.byte(0x0c);
    this.#code.unsigned(this.#depth - label);
  }
  branchIf(condition: Expression, label: Label): void {
    this.push(condition);
    this.#code.byte(0x0d);
    this.#code.unsigned(this.#depth - label);
  }
  branchTable(index: Expression, labels: readonly Label[], otherwise: Label): void {
    this.push(index);
    this.#code.byte(0x0e);
    this.#code.unsigned(labels.length);
    for (const label of labels) this.#code.unsigned(this.#depth - label);
    this.#code.unsigned(this.#depth - otherwise);
  }

  return(value: Expression): void {
    this.push(value);
    this.#code.byte(0x0f);
  }
  call(callee: number, ...values: readonly Expression[]): void {
    for (const value of values) this.push(value);
    this.#code.byte(0x10);
    this.#code.unsigned(callee);
  }
  callIndirect(type: number, index: Expression, ...values: readonly Expression[]): void {
    for (const value of values) this.push(value);
    this.push(index);
    this.#code.byte(0x11);
    this.#code.unsigned(type);
    this.#code.byte(0);
  }
  unreachable(): void {
    this.#code.byte(0x00);
  }

  /** The function's entry of the code section, without its length. */
  bytes(): Uint8Array {
    const body = new ByteWriter();
    body.unsigned(this.#locals.length);
    for (const type of this.#locals) {
      body.unsigned(1);
      body.byte(TYPE_CODE[type]);
    }
    body.append(this.#code.bytes());
    body.byte(0x0b);
    return body.bytes();
  }
}
