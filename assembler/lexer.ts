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
    '(?<float>0[xhoqby][0-9a-f_]*\\.[0-9a-f_]*(?:p[+-]?\\d+)?|0[xhoqby][0-9a-f_]*\\.?[0-9a-f_]*p[+-]?\\d+|\\d[\\d_]*\\.[\\d_]*(?:e[+-]?[\\d_]+)?|\\d[\\d_]*e[+-]?\\d[\\d_]*(?![0-9a-z_])|__\\?(?:Infinity|NaN|QNaN|SNaN)\\?__|__(?:Infinity|NaN|QNaN|SNaN)__)',
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

/** The lines of a source; where a backslash ends one, it goes on in the next. */
export function tokenLines(
  source: string,
  path: string,
): readonly { readonly text: string; readonly tokens: readonly Token[] }[] {
  const physical = source.split(/\r\n|\n|\r/);
  const lines: { text: string; tokens: readonly Token[] }[] = [];
  for (let i = 0; i < physical.length; i++) {
    const first = i + 1;
    const pieces: string[] = [];
    while (physical[i]?.endsWith('\\') === true && i + 1 < physical.length) {
      pieces.push((physical[i] ?? '').slice(0, -1));
      i++;
    }
    pieces.push(physical[i] ?? '');
    const text = pieces.join('');
    const tokens = tokenize(text, { path, line: first });
    lines.push({
      text,
      tokens: pieces.length === 1 ? tokens : spread(tokens, pieces, path, first),
    });
  }
  return lines;
}

/** Tokens of joined lines, each placed in the line where it begins. */
function spread(
  tokens: readonly Token[],
  pieces: readonly string[],
  path: string,
  first: number,
): readonly Token[] {
  const places = pieces.map((_, i): Place => ({ path, line: first + i }));
  return tokens.map((token) => {
    let at = 0;
    let before = 0;
    for (; at < pieces.length - 1; at++) {
      const { length } = pieces[at] ?? '';
      if (token.start - 1 < before + length) break;
      before += length;
    }
    const end = Math.min(token.end - before, (pieces[at]?.length ?? 0) + 1);
    return { ...token, place: places[at] ?? token.place, start: token.start - before, end };
  });
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
