/** Parameters of macros: how many one takes, what a call gives, and which macro fits the call. */
import type { Token } from './lexer.ts';
import type { MacroParameter } from './macros.ts';

export interface RawLine {
  readonly tokens: readonly Token[];
  readonly text: string;
}

export interface MultiMacro {
  readonly name: string;
  readonly token: Token;
  readonly least: number;
  readonly most: number;
  readonly greedy: boolean;
  readonly recursive: boolean;
  readonly anyCase: boolean;
  readonly defaults: readonly (readonly Token[])[];
  readonly body: readonly RawLine[];
  readonly usesLabel: boolean;
}

/** A parameter of a single-line macro: `name`, `=name`, `&name`, `&&name`, `name+`. */
export function readParameter(tokens: readonly Token[]): MacroParameter {
  const texts = new Set(tokens.map(({ text }) => text));
  return {
    name: tokens.find(({ kind }) => kind === 'id')?.text,
    greedy: texts.has('+'),
    evaluated: texts.has('='),
    quoted: texts.has('&&') ? 'unlessString' : texts.has('&') ? 'always' : 'never',
  };
}

interface Count {
  readonly numbers: { readonly least: number; readonly most: number } | undefined;
  /** Something stands where the number is expected. */
  readonly given: boolean;
  readonly greedy: boolean;
  readonly rest: readonly Token[];
}

/** The number of a macro's parameters: `1`, `1-2`, `1-*`, with or without `+`. */
export function readCount(tokens: readonly Token[]): Count {
  const parts = tokens.flatMap(splitCount);
  let at = 0;
  let count = '';
  for (; at < parts.length && /^(\d+|-|\*)$/.test(parts[at]?.text ?? ''); at++) {
    if (count !== '' && /^\d+$/.test(parts[at]?.text ?? '') && !count.endsWith('-')) break;
    count += parts[at]?.text;
  }
  const match = /^(\d+)(?:-(\d+|\*)?)?$/.exec(count);
  const greedy = parts[at]?.text === '+';
  const rest = parts.slice(greedy ? at + 1 : at);
  if (match === null) return { numbers: undefined, given: count !== '', greedy, rest };
  const [, least = '0', upper] = match;
  const most = upper === undefined ? least : upper === '*' ? Number.MAX_SAFE_INTEGER : upper;
  return {
    numbers: { least: Number(least), most: Number(most) },
    given: true,
    greedy,
    rest,
  };
}

/**
 * The macro that takes the parameters given. As NASM does it, an empty parameter after the last
 * comma counts only where it must, or stands for a default; `given` is changed accordingly.
 */
export function fittingMacro(
  macros: readonly MultiMacro[],
  given: Token[][],
  hadText: boolean,
): MultiMacro | undefined {
  const takes = (count: number) =>
    macros.find(({ least, most, greedy }) => count >= least && (count <= most || greedy));
  const found = takes(given.length);
  const isTrailing = given.length > 1 && given.at(-1)?.length === 0;
  if (found === undefined) {
    if (given.length === 0 && hadText) return takes(1);
    const shorter = isTrailing ? takes(given.length - 1) : undefined;
    if (shorter !== undefined) given.pop();
    return shorter;
  }
  if (!isTrailing) return found;
  const instead = found.defaults[given.length - found.least - 1];
  given.pop();
  if (instead !== undefined && given.length >= found.least) given.push([...instead]);
  return found;
}

/** `3.nolist` reads as a number with a point; it is a count and a word. */
function splitCount(token: Token): readonly Token[] {
  const match = /^(\d+)\.$/.exec(token.text);
  return match === null ? [token] : [{ ...token, kind: 'number', text: match[1] ?? '' }];
}

/** Splits at commas outside of braces; braces around a whole argument fall away. */
export function splitArguments(tokens: readonly Token[]): Token[][] {
  if (tokens.length === 0) return [];
  const parts: Token[][] = [[]];
  let braces = 0;
  for (const token of tokens) {
    if (token.kind === 'op') {
      if (token.text === '{' && (braces > 0 || parts.at(-1)?.length === 0) && braces++ === 0)
        continue;
      if (token.text === '}' && braces > 0 && --braces === 0) continue;
      if (token.text === ',' && braces === 0) {
        parts.push([]);
        continue;
      }
    }
    parts.at(-1)?.push(token);
  }
  return parts;
}
