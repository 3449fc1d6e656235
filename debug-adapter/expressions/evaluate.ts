/**
 * The expression language's meaning: 64-bit unsigned integers that wrap, and strings that can be
 * compared. What names and memory are is the scope's affair.
 */
import { type Expression, ExpressionError, type MemorySize } from './parse.ts';

export type Value = bigint | string;

/** Where names, calls and memory come from. Nothing asked here may change the machine. */
export interface Scope {
  /** undefined: there is no such name. */
  name(name: string): Value | undefined;
  /** undefined: there is no such function. */
  call(name: string, args: readonly Value[]): Value | undefined;
  /** Memory at a linear address, little-endian; undefined: not mapped. */
  read(address: bigint, size: MemorySize): bigint | undefined;
}

const wrap = (value: bigint): bigint => BigInt.asUintN(64, value);
const truth = (value: boolean): bigint => (value ? 1n : 0n);

/** Whether C would take it as true; a string is true unless it is empty. */
export function isTrue(value: Value): boolean {
  return typeof value === 'bigint' ? value !== 0n : value !== '';
}

function arithmetic(operator: string, a: bigint, b: bigint, at: number): bigint {
  switch (operator) {
    case '+':
      return a + b;
    case '-':
      return a - b;
    case '*':
      return a * b;
    case '/':
    case '%':
      if (b === 0n) throw new ExpressionError('division by zero', at);
      return operator === '/' ? a / b : a % b;
    case '&':
      return a & b;
    case '|':
      return a | b;
    case '^':
      return a ^ b;
    case '<<':
      return b > 63n ? 0n : a << b;
    case '>>':
      return b > 63n ? 0n : a >> b;
    case '<':
      return truth(a < b);
    case '<=':
      return truth(a <= b);
    case '>':
      return truth(a > b);
    case '>=':
      return truth(a >= b);
    default:
      throw new ExpressionError(`no operator '${operator}'`, at);
  }
}

/** Evaluates; throws ExpressionError. `&&`, `||` and `?:` evaluate only what they need. */
export function evaluateExpression(expression: Expression, scope: Scope): Value {
  const value = (inner: Expression): Value => evaluateExpression(inner, scope);
  const integer = (inner: Expression, at: number): bigint => {
    const result = value(inner);
    if (typeof result === 'string') {
      throw new ExpressionError(`a number is expected, not '${result}'`, at);
    }
    return result;
  };
  switch (expression.kind) {
    case 'literal':
      return typeof expression.value === 'bigint' ? wrap(expression.value) : expression.value;
    case 'name': {
      const found = scope.name(expression.name);
      if (found !== undefined) return found;
      throw new ExpressionError(`nothing is named '${expression.name}'`, expression.at);
    }
    case 'call': {
      const found = scope.call(expression.name, expression.args.map(value));
      if (found !== undefined) return found;
      throw new ExpressionError(`no function '${expression.name}'`, expression.at);
    }
    case 'memory': {
      const address = wrap(integer(expression.address, expression.at));
      const found = scope.read(address, expression.size);
      if (found !== undefined) return found;
      throw new ExpressionError(`0x${address.toString(16)} is not mapped`, expression.at);
    }
    case 'choice':
      return value(isTrue(value(expression.test)) ? expression.yes : expression.no);
    case 'unary': {
      if (expression.operator === '!') return truth(!isTrue(value(expression.operand)));
      const operand = integer(expression.operand, 0);
      if (expression.operator === '-') return wrap(-operand);
      return expression.operator === '~' ? wrap(~operand) : operand;
    }
    case 'binary': {
      const { operator, left, right, at } = expression;
      if (operator === '&&') return truth(isTrue(value(left)) && isTrue(value(right)));
      if (operator === '||') return truth(isTrue(value(left)) || isTrue(value(right)));
      if (operator === '==') return truth(value(left) === value(right));
      if (operator === '!=') return truth(value(left) !== value(right));
      return wrap(arithmetic(operator, integer(left, at), integer(right, at), at));
    }
  }
}
