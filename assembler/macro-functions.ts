/**
 * The preprocessor's functions: `%eval(1+2)`, `%strcat("a","b")`, `%isdef(name)` and their like
 * stand in a line as single-line macros do (NASM manual, "Preprocessor Functions").
 */
import type { Token } from './lexer.ts';
import { textOf, tokenize } from './lexer.ts';
import { stringBytes } from './literals.ts';
import { quote } from './macros.ts';

/** What functions ask of the preprocessor. Arguments come unexpanded. */
export interface FunctionHost {
  expand(tokens: readonly Token[]): readonly Token[];
  evaluate(tokens: readonly Token[], first: Token): bigint;
  /** Whether `%if` with this ending, such as `ndef`, would hold; undefined if there is none. */
  holds(ending: string, tokens: readonly Token[], first: Token): boolean | undefined;
  problem(message: string, tokens: readonly Token[]): void;
}

type Arguments = readonly (readonly Token[])[];

/** True of `%name` if a function is called so. */
export const isFunction = (name: string): boolean =>
  Object.hasOwn(FUNCTIONS, name.slice(1).toLowerCase()) || /^%is\w*$/i.test(name);

/** What a call stands for; it may hold macros that are yet to expand. */
export function callFunction(token: Token, given: Arguments, host: FunctionHost): readonly Token[] {
  const name = token.text.slice(1).toLowerCase();
  const run = FUNCTIONS[name];
  if (run !== undefined) return run({ token, given, host });
  const holds = host.holds(name.slice(2), joined(given, token), token);
  return tokenize(holds === true ? '1' : '0', token.place);
}

interface Call {
  readonly token: Token;
  readonly given: Arguments;
  readonly host: FunctionHost;
}

const FUNCTIONS: Readonly<Record<string, (call: Call) => readonly Token[]>> = {
  abs: (call) => {
    const value = number(call, 0);
    return result(call, `${BigInt.asUintN(64, value < 0n ? -value : value)}`);
  },
  cond: (call) => call.given[number(call, 0) === 0n ? 2 : 1] ?? [],
  count: (call) => result(call, `${call.given.length}`),
  eval: (call) => result(call, call.given.map((_, at) => `${number(call, at)}`).join(',')),
  num: numberText,
  sel: (call) => {
    const chosen = number(call, 0);
    return (chosen < 1n ? undefined : call.given[Number(chosen)]) ?? [];
  },
  str: (call) => {
    return result(call, quote(textOf(call.host.expand(joined(call.given, call.token)))));
  },
  strcat: (call) => result(call, quote(call.given.map((_, at) => string(call, at)).join(''))),
  strlen: (call) => result(call, `${bytesOf(call, 0).length}`),
  substr: (call) => {
    const count = call.given.length > 2 ? number(call, 2) : -1n;
    return result(call, quote(substring(string(call, 0), number(call, 1), count)));
  },
  tok: (call) => result(call, string(call, 0)),
};

/** Characters from the first, counted from 1; a negative count ends that far before the end. */
export function substring(text: string, first: bigint, count: bigint): string {
  const start = Math.max(0, Number(first) - 1);
  const end = count < 0n ? text.length + Number(count) + 1 : start + Number(count);
  return text.slice(start, Math.max(start, end));
}

const DIGITS = '0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ@_';

/** `%num(value, digits, radix)`: so many digits; at least so many if negative. */
function numberText(call: Call): readonly Token[] {
  const digits = call.given.length > 1 ? Number(number(call, 1)) : -1;
  const radix = call.given.length > 2 ? number(call, 2) : 10n;
  if (radix < 2n || radix > 64n || Math.abs(digits) > 253) {
    call.host.problem('`%num` takes at most 253 digits and a radix from 2 to 64.', [call.token]);
    return result(call, "''");
  }
  let value = BigInt.asUintN(64, number(call, 0));
  let text = '';
  for (; value !== 0n; value /= radix) text = `${DIGITS[Number(value % radix)]}${text}`;
  text = text.padStart(digits === 0 ? 0 : Math.abs(digits), '0');
  return result(call, quote(digits > 0 ? text.slice(-digits) : text));
}

const result = ({ token }: Call, text: string): readonly Token[] => tokenize(text, token.place);

function number({ token, given, host }: Call, at: number): bigint {
  return host.evaluate(host.expand(given[at] ?? []), token);
}

function stringToken({ token, given, host }: Call, at: number): Token | undefined {
  const [only, ...rest] = host.expand(given[at] ?? []);
  if (only?.kind === 'string' && rest.length === 0) return only;
  host.problem(`\`${token.text}\` needs a string.`, [only ?? token]);
  return undefined;
}

const bytesOf = (call: Call, at: number): Uint8Array =>
  stringBytes(stringToken(call, at)?.text ?? "''");

const string = (call: Call, at: number): string => new TextDecoder().decode(bytesOf(call, at));

function joined(given: Arguments, at: Token): readonly Token[] {
  const comma: Token = { ...at, kind: 'op', text: ',', spaced: false };
  return given.flatMap((part, i) => (i === 0 ? part : [comma, ...part]));
}
