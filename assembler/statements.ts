/**
 * One preprocessed line to a statement: label, prefixes, mnemonic, operands. Only the syntax is
 * settled here; names keep their trees, so that each pass evaluates them anew.
 */
import type { NamedRegister } from '../isa/index.ts';
import { isMnemonic, registersByName } from '../isa/index.ts';
import { ExpressionError, ExpressionParser, type Node } from './expressions.ts';
import type { Token } from './lexer.ts';
import { foldLiteralCalls } from './literal-functions.ts';

export interface ParsedOperand {
  readonly tokens: readonly Token[];
  readonly node: Node;
  readonly memory: boolean;
  readonly sizeBits?: number;
  readonly strict?: boolean;
  readonly to?: boolean;
  readonly distance?: 'short' | 'near' | 'far';
  readonly displacementBits?: number;
  readonly addressing?: 'rel' | 'abs';
  readonly noSplit?: boolean;
  readonly segment?: NamedRegister;
  /** After a colon: the offset of a far pointer, whose selector is `node`. */
  readonly offset?: Node;
  readonly offsetBits?: number;
  /** The index of `[base, index*scale]`. */
  readonly split?: Node;
  readonly mask?: number;
  readonly zeroing?: boolean;
  readonly broadcast?: number;
}

export interface Prefix {
  readonly word: string;
  readonly token: Token;
}

export type DataItem =
  | { readonly type: 'string'; readonly token: Token }
  | { readonly type: 'float'; readonly token: Token; readonly negative: boolean }
  | { readonly type: 'value'; readonly node: Node; readonly tokens: readonly Token[] }
  | { readonly type: 'gap' }
  /** `byte 5` among words: items of another size. */
  | { readonly type: 'sized'; readonly bytes: number; readonly items: readonly DataItem[] }
  | {
      readonly type: 'repeat';
      readonly count: Node;
      readonly items: readonly DataItem[];
      readonly tokens: readonly Token[];
    };

export type Body =
  | { readonly type: 'none' }
  | {
      readonly type: 'instruction';
      readonly mnemonic: string;
      readonly token: Token;
      readonly operands: readonly ParsedOperand[];
    }
  | { readonly type: 'data'; readonly bytes: number; readonly items: readonly DataItem[] }
  | {
      readonly type: 'reserve';
      readonly bytes: number;
      readonly count: Node;
      readonly tokens: readonly Token[];
    }
  | { readonly type: 'equ'; readonly operand: ParsedOperand }
  | { readonly type: 'incbin'; readonly file: Token; readonly numbers: readonly Node[] }
  | {
      readonly type: 'directive';
      readonly name: string;
      readonly token: Token;
      readonly tokens: readonly Token[];
    };

export interface Statement {
  readonly label?: { readonly name: string; readonly token: Token };
  readonly times?: { readonly node: Node; readonly tokens: readonly Token[] };
  readonly prefixes: readonly Prefix[];
  readonly body: Body;
  readonly tokens: readonly Token[];
}

const DATA: Record<string, number> = {
  db: 1,
  dw: 2,
  dd: 4,
  dq: 8,
  dt: 10,
  do: 16,
  ddq: 16,
  dy: 32,
  dz: 64,
};
const RESERVE: Record<string, number> = {
  resb: 1,
  resw: 2,
  resd: 4,
  resq: 8,
  rest: 10,
  reso: 16,
  resy: 32,
  resz: 64,
};
const SIZES: Record<string, number> = {
  byte: 8,
  word: 16,
  dword: 32,
  long: 32,
  qword: 64,
  tword: 80,
  tbyte: 80,
  oword: 128,
  yword: 256,
  zword: 512,
};
const PREFIXES = new Set([
  'lock',
  'rep',
  'repe',
  'repz',
  'repne',
  'repnz',
  'xacquire',
  'xrelease',
  'bnd',
  'nobnd',
  'o16',
  'o32',
  'o64',
  'a16',
  'a32',
  'a64',
  'osp',
  'asp',
]);
const DIRECTIVES = new Set([
  'section',
  'segment',
  'global',
  'static',
  'extern',
  'required',
  'common',
  'bits',
  'use16',
  'use32',
  'use64',
  'default',
  'org',
  'align',
  'alignb',
  'sectalign',
  'cpu',
  'absolute',
  'struc',
  'endstruc',
  'istruc',
  'at',
  'iend',
  'float',
  'warning',
  'list',
  'debug',
  'map',
  'group',
  '__sect__',
]);

/** True if the name means something at the start of a statement, so that it is no label. */
export function isReserved(text: string): boolean {
  const word = text.toLowerCase();
  return (
    word in DATA ||
    word in RESERVE ||
    PREFIXES.has(word) ||
    word === 'times' ||
    word === 'equ' ||
    word === 'incbin' ||
    isMnemonic(word)
  );
}

/** Reads a statement. `resolve` gives a local name its parent's. Throws `ExpressionError`. */
export function parseStatement(
  written: readonly Token[],
  resolve: (name: string) => string,
): Statement {
  const tokens = foldLiteralCalls(written);
  let at = 0;
  let label: Statement['label'];
  const first = tokens[0];
  const base: Omit<Statement, 'body'> = { prefixes: [], tokens };
  if (first === undefined) return { ...base, body: { type: 'none' } };
  if (first.text === '[' && first.kind === 'op') return { ...base, body: bracketed(tokens) };
  const directiveFirst = first.kind === 'id' && DIRECTIVES.has(first.text.toLowerCase());
  if (directiveFirst && tokens[1]?.text !== ':' && tokens[1]?.text.toLowerCase() !== 'equ') {
    return { ...base, body: directive(first, tokens.slice(1)) };
  }
  if (first.kind === 'id' && isLabel(first, tokens[1])) {
    const name = first.text.startsWith('$') ? first.text.slice(1) : first.text;
    label = { name: resolve(name), token: first };
    at = tokens[1]?.text === ':' ? 2 : 1;
  }
  const withLabel = label === undefined ? base : { ...base, label };
  const word = tokens[at]?.text.toLowerCase() ?? '';
  const after = tokens[at];
  if (after?.kind === 'id' && DIRECTIVES.has(word)) {
    return { ...withLabel, body: directive(after, tokens.slice(at + 1)) };
  }
  return { ...withLabel, ...parseRest(tokens, at, resolve) };
}

function isLabel(first: Token, second: Token | undefined): boolean {
  if (second?.text === ':') return true;
  if (second?.text.toLowerCase() === 'equ') return true;
  return !isReserved(first.text) && !registersByName.has(first.text.toLowerCase());
}

function bracketed(tokens: readonly Token[]): Body {
  const name = tokens[1];
  const last = tokens.at(-1);
  if (name?.kind !== 'id' || last?.text !== ']') {
    throw new ExpressionError('Expected a directive in brackets, such as `[bits 64]`.', tokens);
  }
  return directive(name, tokens.slice(2, -1));
}

const directive = (token: Token, tokens: readonly Token[]): Body => ({
  type: 'directive',
  name: token.text.toLowerCase(),
  token,
  tokens,
});

function parseRest(
  tokens: readonly Token[],
  start: number,
  resolve: (name: string) => string,
): Pick<Statement, 'prefixes' | 'body'> & { times?: NonNullable<Statement['times']> } {
  const prefixes: Prefix[] = [];
  let times: Statement['times'];
  let at = start;
  for (;;) {
    const token = tokens[at];
    const word = token?.text.toLowerCase() ?? '';
    if (token === undefined) break;
    if (token.text === '{' && tokens[at + 2]?.text === '}') {
      prefixes.push({ word: `{${tokens[at + 1]?.text.toLowerCase() ?? ''}}`, token });
      at += 3;
    } else if (token.kind === 'id' && word === 'times') {
      const parser = new ExpressionParser(tokens, resolve);
      parser.position = at + 1;
      const node = parser.parse();
      times = { node, tokens: tokens.slice(at + 1, parser.position) };
      at = parser.position;
    } else if (
      token.kind === 'id' &&
      (PREFIXES.has(word) || registersByName.get(word)?.class === 'segment')
    ) {
      prefixes.push({ word, token });
      at++;
    } else break;
  }
  const body = parseBody(tokens, at, resolve);
  return times === undefined ? { prefixes, body } : { prefixes, times, body };
}

function parseBody(tokens: readonly Token[], at: number, resolve: (name: string) => string): Body {
  const token = tokens[at];
  if (token === undefined) return { type: 'none' };
  const word = token.text.toLowerCase();
  const rest = tokens.slice(at + 1);
  if (token.kind !== 'id') {
    throw new ExpressionError(`Expected an instruction instead of \`${token.text}\`.`, [token]);
  }
  const data = DATA[word];
  if (data !== undefined)
    return { type: 'data', bytes: data, items: parseItems(rest, token, resolve) };
  const reserve = RESERVE[word];
  if (reserve !== undefined) {
    return { type: 'reserve', bytes: reserve, count: whole(rest, token, resolve), tokens: rest };
  }
  if (word === 'equ') {
    if (rest.length === 0) throw new ExpressionError('Expected a value after `equ`.', [token]);
    return { type: 'equ', operand: parseOperand(rest, resolve) };
  }
  if (word === 'incbin') return parseIncbin(rest, token, resolve);
  if (!isMnemonic(word)) {
    if (at > 0 && tokens[0] !== undefined && tokens[1] === token) {
      const [first] = tokens;
      throw new ExpressionError(`\`${first.text}\` is neither an instruction nor a macro.`, [
        first,
      ]);
    }
    throw new ExpressionError(`\`${token.text}\` is neither an instruction nor a macro.`, [token]);
  }
  const operands = splitOperands(rest).map((part) => {
    if (part.length === 0) {
      throw new ExpressionError('Expected an operand beside the comma.', [token]);
    }
    return parseOperand(part, resolve);
  });
  return { type: 'instruction', mnemonic: word, token, operands };
}

function whole(tokens: readonly Token[], before: Token, resolve: (name: string) => string): Node {
  if (tokens.length === 0) {
    throw new ExpressionError(`Expected a value after \`${before.text}\`.`, [before]);
  }
  const parser = new ExpressionParser(tokens, resolve);
  const node = parser.parse();
  expectEnd(parser);
  return node;
}

function expectEnd(parser: ExpressionParser): void {
  const token = parser.peek();
  if (token !== undefined) {
    throw new ExpressionError(`Expected the end of the operand instead of \`${token.text}\`.`, [
      token,
    ]);
  }
}

/** Parts between commas that stand outside of brackets. */
export function splitOperands(tokens: readonly Token[]): Token[][] {
  if (tokens.length === 0) return [];
  const parts: Token[][] = [[]];
  let depth = 0;
  for (const token of tokens) {
    if (token.kind === 'op') {
      if ('([{'.includes(token.text)) depth++;
      if (')]}'.includes(token.text)) depth--;
      if (token.text === ',' && depth <= 0) {
        parts.push([]);
        continue;
      }
    }
    parts.at(-1)?.push(token);
  }
  return parts;
}

function parseItems(
  tokens: readonly Token[],
  before: Token,
  resolve: (name: string) => string,
): readonly DataItem[] {
  const parts = splitOperands(tokens);
  if (parts.at(-1)?.length === 0) parts.pop();
  return parts.map((part) => {
    if (part.length === 0)
      throw new ExpressionError('Expected a value beside the comma.', [before]);
    return parseItem(part, resolve);
  });
}

function parseItem(tokens: readonly Token[], resolve: (name: string) => string): DataItem {
  const [first, second] = tokens;
  const size = first?.kind === 'id' ? SIZES[first.text.toLowerCase()] : undefined;
  if (first !== undefined && size !== undefined) {
    return { type: 'sized', bytes: size / 8, items: listed(tokens.slice(1), first, resolve) };
  }
  if (tokens.length === 1 && first?.kind === 'string') return { type: 'string', token: first };
  if (tokens.length === 1 && first?.text === '?') return { type: 'gap' };
  if (tokens.length === 1 && first?.kind === 'float')
    return { type: 'float', token: first, negative: false };
  if (
    tokens.length === 2 &&
    second?.kind === 'float' &&
    (first?.text === '-' || first?.text === '+')
  ) {
    return { type: 'float', token: second, negative: first.text === '-' };
  }
  const dup = tokens.findIndex(
    (token) => token.kind === 'id' && token.text.toLowerCase() === 'dup',
  );
  if (dup > 0 && first !== undefined) {
    const count = whole(tokens.slice(0, dup), first, resolve);
    return { type: 'repeat', count, items: listed(tokens.slice(dup + 1), first, resolve), tokens };
  }
  return { type: 'value', node: whole(tokens, first as Token, resolve), tokens };
}

/** One item, or several in parentheses. */
function listed(
  tokens: readonly Token[],
  before: Token,
  resolve: (name: string) => string,
): readonly DataItem[] {
  const isList = tokens[0]?.text === '(' && tokens.at(-1)?.text === ')';
  return parseItems(isList ? tokens.slice(1, -1) : tokens, before, resolve);
}

function parseIncbin(
  tokens: readonly Token[],
  before: Token,
  resolve: (name: string) => string,
): Body {
  const [name, ...numbers] = splitOperands(tokens);
  const file = name?.[0];
  if (file?.kind !== 'string' || name?.length !== 1 || numbers.length > 2) {
    throw new ExpressionError('Expected `incbin "file"`, then at most offset and length.', [
      before,
    ]);
  }
  return { type: 'incbin', file, numbers: numbers.map((part) => whole(part, before, resolve)) };
}

type Draft = { -readonly [K in keyof ParsedOperand]?: ParsedOperand[K] };

/** One operand, with size words, brackets, segment and decorators. */
export function parseOperand(
  tokens: readonly Token[],
  resolve: (name: string) => string,
): ParsedOperand {
  const draft: Draft = {};
  const parser = new ExpressionParser(tokens, resolve);
  readSizeWords(parser, draft);
  if (parser.peekText() === '[') {
    readMemory(parser, draft, resolve);
  } else {
    draft.node = parser.parse();
    if (parser.peekText() === '[') {
      const outer = draft.node;
      readMemory(parser, draft, resolve);
      const token = tokens[0] as Token;
      draft.node = { type: 'binary', operator: '+', left: outer, right: draft.node, token };
    } else if (parser.peekText() === ':') {
      parser.position++;
      readFarOffset(parser, draft);
    }
  }
  readDecorators(parser, draft);
  expectEnd(parser);
  return { memory: false, ...draft, tokens, node: draft.node ?? { type: 'number', value: 0n } };
}

function readSizeWords(parser: ExpressionParser, draft: Draft): void {
  for (;;) {
    const token = parser.peek();
    const word = token?.kind === 'id' ? token.text.toLowerCase() : '';
    const size = SIZES[word];
    if (size !== undefined) draft.sizeBits ??= size;
    else if (word === 'strict') draft.strict = true;
    else if (word === 'to') draft.to = true;
    else if (word === 'short' || word === 'near' || word === 'far') draft.distance = word;
    else if (word !== 'ptr') return;
    parser.position++;
  }
}

function readFarOffset(parser: ExpressionParser, draft: Draft): void {
  const selector = draft.node;
  if (selector?.type === 'register' && selector.register.class === 'segment') {
    // MASM's `es:[di]`: the segment stands before the bracket.
    draft.segment = selector.register;
    if (parser.peekText() !== '[') throw parser.error('Expected `[` after the segment register.');
    readMemory(parser, draft, (name) => name);
    return;
  }
  const inner: Draft = {};
  readSizeWords(parser, inner);
  draft.offset = parser.parse();
  if (inner.sizeBits !== undefined) draft.offsetBits = inner.sizeBits;
}

function readMemory(
  parser: ExpressionParser,
  draft: Draft,
  resolve: (name: string) => string,
): void {
  const open = parser.next();
  draft.memory = true;
  for (;;) {
    const token = parser.peek();
    const word = token?.kind === 'id' ? token.text.toLowerCase() : '';
    const size = SIZES[word];
    if (word === 'rel' || word === 'abs') draft.addressing = word;
    else if (word === 'nosplit') draft.noSplit = true;
    else if (size !== undefined) draft.displacementBits = size;
    else if (registersByName.get(word)?.class === 'segment' && parser.peekText(1) === ':') {
      const register = registersByName.get(word);
      if (register !== undefined) draft.segment = register;
      parser.position++;
    } else break;
    parser.position++;
  }
  draft.node = parser.parse();
  if (parser.peekText() === ',') {
    parser.position++;
    draft.split = parser.parse();
  }
  void resolve;
  if (parser.peekText() !== ']') {
    const at = parser.peek();
    throw new ExpressionError(
      at === undefined
        ? 'Expected `]` to close the memory operand.'
        : `Expected \`]\` instead of \`${at.text}\`.`,
      [at ?? open].filter((one) => one !== undefined),
    );
  }
  parser.position++;
}

const BROADCASTS: Record<string, number> = {
  '1to2': 2,
  '1to4': 4,
  '1to8': 8,
  '1to16': 16,
  '1to32': 32,
};

function readDecorators(parser: ExpressionParser, draft: Draft): void {
  while (parser.peekText() === '{') {
    const token = parser.tokensFrom(1);
    const word = token?.text.toLowerCase() ?? '';
    const mask = registersByName.get(word);
    if (mask?.class === 'k') draft.mask = mask.number;
    else if (word === 'z') draft.zeroing = true;
    else if (BROADCASTS[word] !== undefined) draft.broadcast = BROADCASTS[word];
    else throw parser.error('Expected a decorator: `{k1}`, `{z}` or `{1to8}`.');
    if (parser.peekText(2) !== '}') throw parser.error('Expected `}` after the decorator.');
    parser.position += 3;
  }
}
