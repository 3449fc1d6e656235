/**
 * The expression language's syntax: C's operators and precedence over numbers, strings, dotted
 * names, calls and memory operands `byte [rsp+8]` (8 bytes when no size is named, as in NASM).
 */
export type MemorySize = 1 | 2 | 4 | 8;

export type Expression =
  | { readonly kind: 'literal'; readonly value: bigint | string }
  | { readonly kind: 'name'; readonly name: string; readonly at: number }
  | {
      readonly kind: 'call';
      readonly name: string;
      readonly args: readonly Expression[];
      readonly at: number;
    }
  | {
      readonly kind: 'memory';
      readonly address: Expression;
      readonly size: MemorySize;
      readonly at: number;
    }
  | { readonly kind: 'unary'; readonly operator: string; readonly operand: Expression }
  | {
      readonly kind: 'binary';
      readonly operator: string;
      readonly left: Expression;
      readonly right: Expression;
      readonly at: number;
    }
  | {
      readonly kind: 'choice';
      readonly test: Expression;
      readonly yes: Expression;
      readonly no: Expression;
    };

/** The user's mistake in an expression: a sentence that names the column, from 1. */
export class ExpressionError extends Error {
  override readonly name = 'ExpressionError';

  constructor(what: string, at: number) {
    super(`${what} (column ${at + 1})`);
  }
}

interface Token {
  readonly kind: 'number' | 'string' | 'name' | 'sign' | 'end';
  readonly text: string;
  readonly at: number;
}

const TOKEN =
  /\s*(?:(0[xX][0-9a-fA-F_]+|0[bB][01_]+|[0-9][0-9a-fA-F_]*[hH]\b|[0-9][0-9_]*)|('[^']*'|"[^"]*")|([A-Za-z_.$@][\w.$@]*)|(<<|>>|<=|>=|==|!=|&&|\|\||[-+*/%&|^~!<>()[\],?:]))/y;

/** Loosest first, as C binds them. */
const LEVELS: readonly (readonly string[])[] = [
  ['||'],
  ['&&'],
  ['|'],
  ['^'],
  ['&'],
  ['==', '!='],
  ['<', '<=', '>', '>='],
  ['<<', '>>'],
  ['+', '-'],
  ['*', '/', '%'],
];

const SIZES: ReadonlyMap<string, MemorySize> = new Map<string, MemorySize>([
  ['byte', 1],
  ['word', 2],
  ['dword', 4],
  ['qword', 8],
]);

/** Brackets and operators nested deeper than this are refused, so that no input exhausts the stack. */
const DEPTH_LIMIT = 100;

function tokenize(text: string): readonly Token[] {
  const tokens: Token[] = [];
  let at = 0;
  while (text.slice(at).trim() !== '') {
    TOKEN.lastIndex = at;
    const match = TOKEN.exec(text);
    if (match === null) {
      const start = at + (text.slice(at).length - text.slice(at).trimStart().length);
      throw new ExpressionError(`'${text[start]}' is not expected here`, start);
    }
    const [whole, number, string, name, sign] = match;
    const token = number ?? string ?? name ?? sign ?? '';
    const kind = number ? 'number' : string ? 'string' : name ? 'name' : 'sign';
    at += whole.length;
    tokens.push({ kind, text: token, at: at - token.length });
  }
  tokens.push({ kind: 'end', text: 'the end', at: text.length });
  return tokens;
}

function numberOf(token: Token): bigint {
  const digits = token.text.replaceAll('_', '');
  try {
    return BigInt(/h$/i.test(digits) ? `0x${digits.slice(0, -1)}` : digits);
  } catch {
    throw new ExpressionError(`'${token.text}' is not a number`, token.at);
  }
}

/** Parses a whole text; throws ExpressionError. */
export function parseExpression(text: string): Expression {
  const tokens = tokenize(text);
  const end: Token = { kind: 'end', text: 'the end', at: text.length };
  let index = 0;
  let depth = 0;
  const peek = (): Token => tokens[index] ?? end;
  const accept = (sign: string): boolean => {
    const found = peek().kind === 'sign' && peek().text === sign;
    if (found) index++;
    return found;
  };
  const expect = (sign: string): void => {
    if (!accept(sign)) {
      throw new ExpressionError(`'${sign}' is expected, not '${peek().text}'`, peek().at);
    }
  };

  function choice(): Expression {
    if (++depth > DEPTH_LIMIT) throw new ExpressionError('nested too deeply', peek().at);
    let result = binary(0);
    if (accept('?')) {
      const yes = choice();
      expect(':');
      result = { kind: 'choice', test: result, yes, no: choice() };
    }
    depth--;
    return result;
  }
  function binary(level: number): Expression {
    const operators = LEVELS[level];
    if (operators === undefined) return unary();
    let left = binary(level + 1);
    while (peek().kind === 'sign' && operators.includes(peek().text)) {
      const { text: operator, at } = peek();
      index++;
      left = { kind: 'binary', operator, left, right: binary(level + 1), at };
    }
    return left;
  }
  function unary(): Expression {
    for (const operator of ['-', '~', '!', '+']) {
      if (!accept(operator)) continue;
      if (++depth > DEPTH_LIMIT) throw new ExpressionError('nested too deeply', peek().at);
      const operand = unary();
      depth--;
      return { kind: 'unary', operator, operand };
    }
    return primary();
  }
  function memory(size: MemorySize, at: number): Expression {
    const address = choice();
    expect(']');
    return { kind: 'memory', address, size, at };
  }
  function primary(): Expression {
    const token = peek();
    index++;
    if (token.kind === 'number') return { kind: 'literal', value: numberOf(token) };
    if (token.kind === 'string') return { kind: 'literal', value: token.text.slice(1, -1) };
    if (token.kind === 'sign' && token.text === '(') {
      const inner = choice();
      expect(')');
      return inner;
    }
    if (token.kind === 'sign' && token.text === '[') return memory(8, token.at);
    if (token.kind !== 'name') {
      throw new ExpressionError(`a value is expected, not '${token.text}'`, token.at);
    }
    const size = SIZES.get(token.text.toLowerCase());
    if (size !== undefined && accept('[')) return memory(size, token.at);
    if (!accept('(')) return { kind: 'name', name: token.text, at: token.at };
    const args: Expression[] = [];
    if (!accept(')')) {
      do args.push(choice());
      while (accept(','));
      expect(')');
    }
    return { kind: 'call', name: token.text, args, at: token.at };
  }

  const result = choice();
  if (peek().kind !== 'end') {
    throw new ExpressionError(`'${peek().text}' is not expected here`, peek().at);
  }
  return result;
}
