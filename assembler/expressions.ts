/**
 * Expressions: tokens to a tree, and a tree to a value. A value is a number, plus registers (in an
 * address) and sections (of labels), each with a factor, as in NASM; `label - label` of one section
 * is therefore a plain number long before anybody knows where the section will stand.
 */
import type { NamedRegister } from '../isa/index.ts';
import { registersByName } from '../isa/index.ts';
import type { Token } from './lexer.ts';
import { parseInteger, stringValue } from './literals.ts';

export type Node =
  | { readonly type: 'number'; readonly value: bigint }
  | { readonly type: 'symbol'; readonly name: string; readonly token: Token }
  | { readonly type: 'here' | 'base'; readonly token: Token }
  | { readonly type: 'register'; readonly register: NamedRegister }
  | {
      readonly type: 'unary';
      readonly operator: string;
      readonly operand: Node;
      readonly token: Token;
    }
  | {
      readonly type: 'binary';
      readonly operator: string;
      readonly left: Node;
      readonly right: Node;
      readonly token: Token;
    }
  /** `symbol wrt ..plt`: the symbol by way of something the linker makes. */
  | {
      readonly type: 'wrt';
      readonly operand: Node;
      readonly frame: string;
      readonly token: Token;
    }
  | { readonly type: 'choice'; readonly test: Node; readonly yes: Node; readonly no: Node };

/** What a value can be relative to. */
export interface SegmentKey {
  readonly name: string;
}

export interface Value {
  readonly number: bigint;
  readonly terms: readonly (readonly [NamedRegister | SegmentKey, bigint])[];
  readonly unknown: boolean;
}

export interface Hint {
  register?: NamedRegister;
  type: 'none' | 'base' | 'notBase' | 'summed';
}

export interface Scope {
  symbol(name: string, token: Token): Value;
  here(token: Token): Value;
  base(token: Token): Value;
  /** Throws if nothing of that name can stand after `wrt`. */
  checkFrame?(frame: string, token: Token): void;
  hint?: Hint;
}

/** A mistake in an expression, at its tokens. */
export class ExpressionError extends Error {
  readonly tokens: readonly Token[];
  constructor(message: string, tokens: readonly Token[]) {
    super(message);
    this.tokens = tokens;
  }
}

const LEVELS: readonly (readonly string[])[] = [
  ['||'],
  ['^^'],
  ['&&'],
  ['=', '==', '<>', '!=', '<', '<=', '>', '>=', '<=>'],
  ['|'],
  ['^'],
  ['&'],
  ['<<', '>>', '<<<', '>>>'],
  ['+', '-'],
  ['*', '/', '//', '%', '%%'],
];

const UNARY = new Set(['+', '-', '~', '!']);
const MAX_DEPTH = 200;

/** Reads expressions from a list of tokens, from `position` on. */
export class ExpressionParser {
  position = 0;
  private depth = 0;
  private readonly tokens: readonly Token[];
  private readonly resolve: (name: string) => string;

  constructor(tokens: readonly Token[], resolve: (name: string) => string) {
    this.tokens = tokens;
    this.resolve = resolve;
  }

  peek(): Token | undefined {
    return this.tokens[this.position];
  }

  peekText(ahead = 0): string | undefined {
    const token = this.tokens[this.position + ahead];
    return token?.kind === 'string' ? undefined : token?.text;
  }

  next(): Token | undefined {
    return this.tokens[this.position++];
  }

  /** The token that many places ahead. */
  tokensFrom(ahead: number): Token | undefined {
    return this.tokens[this.position + ahead];
  }

  /** One whole expression. */
  parse(): Node {
    if (++this.depth > MAX_DEPTH) throw this.error('The expression is nested too deeply.');
    const test = this.level(0);
    let node = test;
    if (this.peekText() === '?') {
      this.position++;
      const yes = this.parse();
      if (this.peekText() !== ':') throw this.error('Expected `:` and the other value of `?`.');
      this.position++;
      node = { type: 'choice', test, yes, no: this.parse() };
    }
    this.depth--;
    const wrt = this.peek();
    const frame = this.tokensFrom(1);
    if (wrt?.kind !== 'id' || wrt.text.toLowerCase() !== 'wrt' || frame?.kind !== 'id') return node;
    this.position += 2;
    return { type: 'wrt', operand: node, frame: frame.text, token: frame };
  }

  private level(at: number): Node {
    const operators = LEVELS[at];
    if (operators === undefined) return this.unary();
    let left = this.level(at + 1);
    for (;;) {
      const token = this.peek();
      if (token?.kind !== 'op' && token?.kind !== 'percent') return left;
      if (!operators.includes(token.text)) return left;
      this.position++;
      left = { type: 'binary', operator: token.text, left, right: this.level(at + 1), token };
    }
  }

  private unary(): Node {
    const token = this.next();
    if (token === undefined) throw this.error('Expected a value: a number, a name, `$` or `(`.');
    const { kind, text } = token;
    if (kind === 'op' && UNARY.has(text)) {
      if (++this.depth > MAX_DEPTH) throw this.error('The expression is nested too deeply.');
      const operand = this.unary();
      this.depth--;
      return { type: 'unary', operator: text, operand, token };
    }
    if (text === '(') {
      const inner = this.parse();
      if (this.peekText() !== ')') throw this.error('Expected `)`.');
      this.position++;
      return inner;
    }
    if (text === '$') return { type: 'here', token };
    if (text === '$$') return { type: 'base', token };
    if (kind === 'number') {
      const value = parseInteger(text);
      if (value === undefined) {
        throw new ExpressionError(`\`${text}\` is not a number; check digits and radix.`, [token]);
      }
      return { type: 'number', value: BigInt.asUintN(64, value) };
    }
    if (kind === 'string') return { type: 'number', value: stringValue(text) };
    if (kind === 'id') {
      const logarithm = /^__\??(ilog2[ewfc])\??__$/i.exec(text)?.[1]?.toLowerCase();
      if (logarithm !== undefined && this.peekText() === '(') {
        return { type: 'unary', operator: logarithm, operand: this.unary(), token };
      }
      if (text.toLowerCase() === 'seg') {
        return { type: 'unary', operator: 'seg', operand: this.unary(), token };
      }
      const register = registersByName.get(text.toLowerCase());
      if (register !== undefined) return { type: 'register', register };
      const name = text.startsWith('$') ? text.slice(1) : text;
      return { type: 'symbol', name: this.resolve(name), token };
    }
    this.position--;
    const what = kind === 'float' ? 'A floating-point number cannot stand here.' : '';
    throw new ExpressionError(what || `Expected a value instead of \`${text}\`.`, [token]);
  }

  error(message: string): ExpressionError {
    const at = this.peek() ?? this.tokens.at(-1);
    return new ExpressionError(message, at === undefined ? [] : [at]);
  }
}

const NONE: Value['terms'] = [];
export const constant = (number: bigint): Value => ({ number, terms: NONE, unknown: false });
export const UNKNOWN: Value = { number: 0n, terms: NONE, unknown: true };

/** True if the value is a number and nothing else. */
export const isPlain = (value: Value): boolean => value.terms.length === 0 && !value.unknown;

export const isRegister = (key: NamedRegister | SegmentKey): key is NamedRegister => 'order' in key;

/** The value of a tree, 64 bits wide. */
export function evaluate(node: Node, scope: Scope): Value {
  switch (node.type) {
    case 'number':
      return constant(node.value);
    case 'symbol':
      return scope.symbol(node.name, node.token);
    case 'here':
      return scope.here(node.token);
    case 'base':
      return scope.base(node.token);
    case 'register': {
      const { hint } = scope;
      if (hint?.type === 'none') Object.assign(hint, { register: node.register, type: 'base' });
      return { number: 0n, terms: [[node.register, 1n]], unknown: false };
    }
    case 'wrt':
      scope.checkFrame?.(node.frame, node.token);
      return evaluate(node.operand, scope);
    case 'choice': {
      const test = evaluate(node.test, scope);
      return evaluate(test.number !== 0n ? node.yes : node.no, scope);
    }
    case 'unary':
      return unaryValue(node.operator, evaluate(node.operand, scope), node.token);
    case 'binary': {
      const left = evaluate(node.left, scope);
      return binaryValue(node.operator, left, evaluate(node.right, scope), node.token, scope);
    }
  }
}

const wrap = (value: bigint): bigint => BigInt.asUintN(64, value);
const signed = (value: bigint): bigint => BigInt.asIntN(64, value);
const truth = (condition: boolean): bigint => (condition ? 1n : 0n);

function unaryValue(operator: string, value: Value, token: Token): Value {
  if (operator === '+') return value;
  if (operator === '-') return multiply(value, -1n);
  if (value.unknown) return UNKNOWN;
  if (operator === 'seg') return constant(0n);
  if (!isPlain(value)) throw notPlain(operator, token);
  if (operator.startsWith('ilog2')) return constant(logarithm(operator, value.number, token));
  return constant(operator === '~' ? wrap(~value.number) : truth(value.number === 0n));
}

/** The logarithm to base 2: `f` rounds down, `c` up; `e` wants a power of two. */
function logarithm(operator: string, value: bigint, token: Token): bigint {
  const isPower = value !== 0n && (value & (value - 1n)) === 0n;
  if (operator === 'ilog2e' && !isPower) {
    throw new ExpressionError(`${value} is no power of two.`, [token]);
  }
  const down = value < 2n ? 0 : value.toString(2).length - 1;
  return BigInt(operator === 'ilog2c' && value > 1n && !isPower ? down + 1 : down);
}

const notPlain = (operator: string, token: Token): ExpressionError =>
  new ExpressionError(
    `\`${operator}\` needs plain numbers; an address is known only when the program is placed.`,
    [token],
  );

function binaryValue(operator: string, a: Value, b: Value, token: Token, scope: Scope): Value {
  if (operator === '+') return sum(a, b, scope.hint);
  if (operator === '-') return sum(a, multiply(b, -1n), scope.hint);
  if (operator === '*') {
    if (isPlain(a)) return multiply(b, a.number, scope.hint);
    if (isPlain(b)) return multiply(a, b.number, scope.hint);
    if (a.unknown || b.unknown) return UNKNOWN;
    throw notPlain(operator, token);
  }
  if (COMPARISONS.has(operator)) return comparison(operator, a, b, token);
  if (a.unknown || b.unknown) return UNKNOWN;
  if (!isPlain(a) || !isPlain(b)) throw notPlain(operator, token);
  return constant(wrap(arithmetic(operator, a.number, b.number, token)));
}

const COMPARISONS = new Set(['=', '==', '<>', '!=', '<', '<=', '>', '>=', '<=>']);

function comparison(operator: string, a: Value, b: Value, token: Token): Value {
  const difference = sum(a, multiply(b, -1n), undefined);
  if (difference.unknown) return UNKNOWN;
  if (!isPlain(difference)) {
    if (operator === '=' || operator === '==') return constant(0n);
    if (operator === '<>' || operator === '!=') return constant(1n);
    throw notPlain(operator, token);
  }
  const left = signed(a.number);
  const right = signed(b.number);
  switch (operator) {
    case '=':
    case '==':
      return constant(truth(left === right));
    case '<>':
    case '!=':
      return constant(truth(left !== right));
    case '<':
      return constant(truth(left < right));
    case '<=':
      return constant(truth(left <= right));
    case '>':
      return constant(truth(left > right));
    case '>=':
      return constant(truth(left >= right));
    default:
      return constant(wrap(left < right ? -1n : truth(left > right)));
  }
}

function arithmetic(operator: string, a: bigint, b: bigint, token: Token): bigint {
  switch (operator) {
    case '||':
      return truth(a !== 0n || b !== 0n);
    case '&&':
      return truth(a !== 0n && b !== 0n);
    case '^^':
      return truth((a !== 0n) !== (b !== 0n));
    case '|':
      return a | b;
    case '^':
      return a ^ b;
    case '&':
      return a & b;
    case '<<':
    case '<<<':
      return b >= 64n ? 0n : a << b;
    case '>>':
      return b >= 64n ? 0n : a >> b;
    case '>>>':
      return signed(a) >> (b >= 64n ? 63n : b);
    default:
      if (b === 0n) throw new ExpressionError('Division by zero.', [token]);
      if (operator === '/') return a / b;
      if (operator === '%') return a % b;
      return operator === '//' ? signed(a) / signed(b) : signed(a) % signed(b);
  }
}

function multiply(value: Value, factor: bigint, hint?: Hint): Value {
  if (hint?.type === 'base' && value.terms.some(([key]) => key === hint.register)) {
    hint.type = 'notBase';
  }
  const by = signed(factor);
  if (value.terms.length === 0) {
    return { number: wrap(value.number * by), terms: NONE, unknown: value.unknown };
  }
  const terms = value.terms.map(([key, by0]) => [key, signed(by0 * by)] as const);
  return {
    number: wrap(value.number * by),
    terms: terms.filter(([, by0]) => by0 !== 0n),
    unknown: value.unknown,
  };
}

function sum(a: Value, b: Value, hint: Hint | undefined): Value {
  const number = wrap(a.number + b.number);
  const unknown = a.unknown || b.unknown;
  if (a.terms.length === 0 || b.terms.length === 0) {
    return { number, terms: a.terms.length === 0 ? b.terms : a.terms, unknown };
  }
  const merged = new Map(a.terms);
  for (const [key, by] of b.terms) {
    const before = merged.get(key);
    const total = (before ?? 0n) + by;
    if (total === 0n) merged.delete(key);
    else merged.set(key, total);
    if (before !== undefined && total !== 0n && hint !== undefined) hint.type = 'summed';
  }
  return { number, terms: [...merged], unknown };
}
