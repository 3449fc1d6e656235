/**
 * Functions of constants: `__?float64?__(1.5)` is a number, `__?utf16?__("text")` a string. They
 * are read where tokens are, so that everything else sees plain numbers and strings.
 */
import type { Token } from './lexer.ts';
import { floatBits, stringBytes } from './literals.ts';

interface FloatFunction {
  /** Of the whole format. */
  readonly bytes: number;
  readonly isBrain?: boolean;
  /** The part of it that is the number. */
  readonly shift?: bigint;
  readonly bits: number;
}

const FLOATS: Readonly<Record<string, FloatFunction>> = {
  float8: { bytes: 1, bits: 8 },
  float16: { bytes: 2, bits: 16 },
  bfloat16: { bytes: 2, isBrain: true, bits: 16 },
  float32: { bytes: 4, bits: 32 },
  float64: { bytes: 8, bits: 64 },
  float80m: { bytes: 10, bits: 64 },
  float80e: { bytes: 10, bits: 16, shift: 64n },
  float128l: { bytes: 16, bits: 64 },
  float128h: { bytes: 16, bits: 64, shift: 64n },
};

const NAME = /^__(?:\?(\w+)\?|(\w+))__$/;

/** The tokens with every such call replaced; calls that are none stay, to be complained about. */
export function foldLiteralCalls(tokens: readonly Token[]): readonly Token[] {
  if (!tokens.some(({ kind, text }) => kind === 'id' && text.startsWith('__'))) return tokens;
  const out: Token[] = [];
  for (let at = 0; at < tokens.length; at++) {
    const token = tokens[at];
    if (token === undefined) break;
    const call = foldOne(tokens, at);
    out.push(call?.token ?? token);
    if (call !== undefined) at = call.last;
  }
  return out;
}

function foldOne(
  tokens: readonly Token[],
  at: number,
): { readonly token: Token; readonly last: number } | undefined {
  const token = tokens[at];
  const match = token?.kind === 'id' ? NAME.exec(token.text) : null;
  if (token === undefined || match === null) return undefined;
  const name = (match[1] ?? match[2] ?? '').toLowerCase();
  if (/^utf(16|32)([lb]e)?$/.test(name)) return foldString(tokens, at, name);
  const format = FLOATS[name];
  if (format === undefined || tokens[at + 1]?.text !== '(') return undefined;
  const sign = /^[+-]$/.test(tokens[at + 2]?.text ?? '') ? tokens[at + 2]?.text : undefined;
  const value = tokens[at + (sign === undefined ? 2 : 3)];
  const last = at + (sign === undefined ? 3 : 4);
  if (value?.kind !== 'float' || tokens[last]?.text !== ')') return undefined;
  const size = format.isBrain === true ? 'bfloat16' : format.bytes;
  const bits = floatBits(value.text, size, sign === '-');
  if (bits === undefined) return undefined;
  const part = BigInt.asUintN(format.bits, bits >> (format.shift ?? 0n));
  return { token: { ...token, kind: 'number', text: `${part}`, end: tokens[last].end }, last };
}

function foldString(
  tokens: readonly Token[],
  at: number,
  name: string,
): { readonly token: Token; readonly last: number } | undefined {
  const inParentheses = tokens[at + 1]?.text === '(';
  const string = tokens[at + (inParentheses ? 2 : 1)];
  const last = tokens[at + (inParentheses ? 3 : 1)];
  if (string?.kind !== 'string' || last === undefined) return undefined;
  if (inParentheses && last.text !== ')') return undefined;
  const text = new TextDecoder().decode(stringBytes(string.text));
  const units = name.startsWith('utf16') ? unitsOf16(text) : [...text].map(pointOf);
  const bytes = units.flatMap((unit) =>
    bytesOf(unit, name.startsWith('utf16') ? 2 : 4, name.endsWith('be')),
  );
  const escaped = bytes.map((byte) => `\\x${byte.toString(16).padStart(2, '0')}`).join('');
  const token = { ...string, text: `\`${escaped}\`` };
  return { token, last: at + (inParentheses ? 3 : 1) };
}

const pointOf = (text: string): number => text.codePointAt(0) ?? 0;

const unitsOf16 = (text: string): number[] =>
  Array.from({ length: text.length }, (_, at) => text.charCodeAt(at));

function bytesOf(unit: number, count: number, isBigEndian: boolean): number[] {
  const bytes = Array.from({ length: count }, (_, at) => (unit >>> (8 * at)) & 0xff);
  return isBigEndian ? bytes.reverse() : bytes;
}
