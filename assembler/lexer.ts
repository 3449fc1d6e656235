/**
 * A source line to tokens. Every token knows where it was written, so that a mistake found after
 * any number of macro expansions is still shown in the text of its author.
 */
import type { SourceRange } from './assembly.ts';

export interface Place {
  readonly path: string;
  readonly line: number;
}

export interface Token {
  readonly kind: 'id' | 'number' | 'float' | 'string' | 'percent' | 'op' | 'bad';
  readonly text: string;
  /** White space stood before it. */
  readonly spaced: boolean;
  readonly place: Place;
  /** 1-based, the end exclusive. */
  readonly start: number;
  readonly end: number;
  /** A single-line macro that must not expand here again. */
  readonly frozen?: ReadonlySet<string>;
}

const PATTERN = new RegExp(
  [
    '(?<string>"[^"]*"|\'[^\']*\'|`(?:[^`\\\\]|\\\\.)*`)',
    '(?<open>["\'`].*)',
    '(?<percent>%(?:\\{[^}]*\\}|[%$]+[A-Za-z_.?@0-9$#~]+|\\$+[A-Za-z_.?@0-9]+|[+-]?\\d+|[+-]\\d+|\\*\\*?|\\+|!{1}[A-Za-z_0-9]+|\\?\\??|[A-Za-z_]\\w*|00|\\[|,))',
    '(?<float>0[xh][0-9a-f_]*\\.[0-9a-f_]*(?:p[+-]?\\d+)?|0[xh][0-9a-f_]*\\.?[0-9a-f_]*p[+-]?\\d+|\\d[\\d_]*\\.[\\d_]*(?:e[+-]?[\\d_]+)?|\\d[\\d_]*e[+-]?\\d[\\d_]*(?![0-9a-z_])|__\\?(?:Infinity|NaN|QNaN|SNaN)\\?__|__(?:Infinity|NaN|QNaN|SNaN)__)',
    '(?<number>\\$?\\d[0-9A-Za-z_]*)',
    '(?<id>\\$?[A-Za-z_.?@][A-Za-z0-9_$#@~.?]*)',
    '(?<op>\\$\\$|\\$|<=>|<<<|>>>|<<|>>|<=|>=|<>|==|!=|&&|\\|\\||\\^\\^|//|%%|[-+*/%()\\[\\]{}:,~!&|^<>=?#])',
  ].join('|'),
  'giy',
);

/** The tokens of one logical line without its comment. */
export function tokenize(text: string, place: Place): readonly Token[] {
  const tokens: Token[] = [];
  let at = 0;
  while (at < text.length) {
    const first = at;
    while (at < text.length && text.charCodeAt(at) <= 32) at++;
    if (at >= text.length || text[at] === ';') break;
    PATTERN.lastIndex = at;
    const match = PATTERN.exec(text);
    const groups = match?.groups ?? {};
    const value = match?.[0] ?? text[at] ?? '';
    const kind =
      groups.string !== undefined
        ? 'string'
        : groups.percent !== undefined
          ? 'percent'
          : groups.float !== undefined
            ? 'float'
            : groups.number !== undefined
              ? 'number'
              : groups.id !== undefined
                ? 'id'
                : groups.op !== undefined
                  ? 'op'
                  : 'bad';
    tokens.push({
      kind,
      text: value,
      spaced: at > first || tokens.length === 0,
      place,
      start: at + 1,
      end: at + value.length + 1,
    });
    at += Math.max(value.length, 1);
  }
  return tokens;
}

/** Physical lines joined where a backslash ends them; each keeps the number of its first line. */
export function logicalLines(source: string): readonly { text: string; line: number }[] {
  const physical = source.split(/\r\n|\n|\r/);
  const lines: { text: string; line: number }[] = [];
  for (let i = 0; i < physical.length; i++) {
    const line = i + 1;
    const pieces: string[] = [];
    while (physical[i]?.endsWith('\\') === true && i + 1 < physical.length) {
      pieces.push((physical[i] ?? '').slice(0, -1));
      i++;
    }
    pieces.push(physical[i] ?? '');
    lines.push({ text: pieces.length === 1 ? (pieces[0] ?? '') : pieces.join(' '), line });
  }
  return lines;
}

/** The range of the tokens that stand on the first one's line. */
export function rangeOf(tokens: readonly Token[]): SourceRange {
  const first = tokens[0];
  if (first === undefined) return { startLine: 1, startColumn: 1, endLine: 1, endColumn: 1 };
  let { end } = first;
  for (const token of tokens) {
    if (token.place === first.place) end = Math.max(end, token.end);
  }
  const { line } = first.place;
  return { startLine: line, startColumn: first.start, endLine: line, endColumn: end };
}

/** Tokens as text, one space where any white space was. */
export function textOf(tokens: readonly Token[]): string {
  return tokens.map((token, i) => (i > 0 && token.spaced ? ' ' : '') + token.text).join('');
}

/** The same tokens, said to stand where `use` stands. */
export function relocate(tokens: readonly Token[], use: Token): Token[] {
  return tokens.map((token) => ({ ...token, place: use.place, start: use.start, end: use.end }));
}
