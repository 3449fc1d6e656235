/** Single-line macros and contexts: what `%define` and its relatives store, and how it expands. */
import { registersByName } from '../isa/index.ts';
import type { Token } from './lexer.ts';
import { relocate, tokenize } from './lexer.ts';

export interface SingleMacro {
  readonly name: string;
  readonly token: Token;
  readonly parameters: readonly { readonly name: string; readonly greedy: boolean }[] | undefined;
  readonly body: readonly Token[];
  readonly anyCase: boolean;
}

export interface Context {
  readonly name: string;
  readonly id: number;
  readonly macros: MacroTable;
}

const MAX_EXPANSIONS = 20_000;

/** Definitions by name; several of one name differ in their number of parameters. */
export class MacroTable {
  private readonly exact = new Map<string, SingleMacro[]>();
  private readonly anyCase = new Map<string, SingleMacro[]>();

  add(macro: SingleMacro): void {
    const table = macro.anyCase ? this.anyCase : this.exact;
    const key = macro.anyCase ? macro.name.toLowerCase() : macro.name;
    const others = (table.get(key) ?? []).filter(
      (one) =>
        one.parameters?.length !== macro.parameters?.length &&
        macro.parameters !== undefined &&
        one.parameters !== undefined,
    );
    table.set(key, [...others, macro]);
  }

  remove(name: string): void {
    this.exact.delete(name);
    this.anyCase.delete(name.toLowerCase());
  }

  find(name: string): readonly SingleMacro[] | undefined {
    return this.exact.get(name) ?? this.anyCase.get(name.toLowerCase());
  }
}

export interface ExpandScope {
  readonly table: MacroTable;
  readonly contexts: readonly Context[];
  builtin(name: string, token: Token): readonly Token[] | undefined;
  used(macro: SingleMacro, token: Token): void;
  problem(message: string, tokens: readonly Token[]): void;
}

/** Expands all single-line macros of a line, then joins what `%+` joins. */
export function expandLine(tokens: readonly Token[], scope: ExpandScope): readonly Token[] {
  if (!tokens.some((token) => token.kind === 'id' || token.kind === 'percent')) return tokens;
  const pending = [...tokens].reverse();
  const out: Token[] = [];
  let count = 0;
  let changed = false;
  for (let token = pending.pop(); token !== undefined; token = pending.pop()) {
    const replacement =
      token.kind === 'id' || token.kind === 'percent'
        ? expandToken(token, pending, scope)
        : undefined;
    if (replacement === undefined) {
      out.push(token);
      continue;
    }
    changed = true;
    const [only] = replacement;
    const following = pending.at(-1);
    if (
      token.kind === 'percent' &&
      replacement.length === 1 &&
      only?.kind === 'id' &&
      following?.spaced === false &&
      (following.kind === 'id' || following.kind === 'number')
    ) {
      pending.pop();
      pending.push(...[...glue({ ...only, spaced: token.spaced }, following)].reverse());
      continue;
    }
    if (++count > MAX_EXPANSIONS || pending.length > 200_000) {
      scope.problem(`The line expands more than ${MAX_EXPANSIONS} single-line macros.`, [token]);
      return [];
    }
    for (let i = replacement.length - 1; i >= 0; i--) {
      const one = replacement[i];
      if (one !== undefined) pending.push(i === 0 ? { ...one, spaced: token.spaced } : one);
    }
  }
  return changed || out.some(({ text }) => text === '%+') ? paste(out) : out;
}

function expandToken(
  token: Token,
  pending: Token[],
  scope: ExpandScope,
): readonly Token[] | undefined {
  if (token.kind === 'percent') return expandPercent(token, pending, scope);
  if (token.frozen?.has(token.text) === true) return undefined;
  const macros = scope.table.find(token.text);
  if (macros !== undefined) return callMacro(macros, token, token.text, pending, scope);
  const builtin = token.text.startsWith('__') ? scope.builtin(token.text, token) : undefined;
  return builtin === undefined ? undefined : relocate(builtin, token);
}

function expandPercent(
  token: Token,
  pending: Token[],
  scope: ExpandScope,
): readonly Token[] | undefined {
  if (token.text === '%[') {
    const inner: Token[] = [];
    let depth = 1;
    for (let next = pending.pop(); next !== undefined; next = pending.pop()) {
      if (next.text === '[' || next.text === '%[') depth++;
      if (next.text === ']' && --depth === 0) break;
      inner.push(next);
    }
    const expanded = expandLine(inner, scope);
    const frozen = new Set(expanded.map(({ text }) => text));
    return expanded.map((one) => ({ ...one, frozen }));
  }
  const local = /^%\{?(\$+)([^}]+)\}?$/.exec(token.text);
  if (local === null) return undefined;
  const [, dollars = '', name = ''] = local;
  const context = scope.contexts.at(-dollars.length);
  if (context === undefined) {
    scope.problem(`\`${token.text}\` needs ${dollars.length} context(s); \`%push\` makes one.`, [
      token,
    ]);
    return [];
  }
  const key = `%$${name}`;
  if (token.frozen?.has(key) !== true) {
    const macros = context.macros.find(name);
    if (macros !== undefined) return callMacro(macros, token, key, pending, scope);
  }
  return [{ ...token, kind: 'id', text: `..@${context.id}.${name}` }];
}

function callMacro(
  macros: readonly SingleMacro[],
  token: Token,
  key: string,
  pending: Token[],
  scope: ExpandScope,
): readonly Token[] | undefined {
  const plain = macros.find(({ parameters }) => parameters === undefined);
  const frozen = new Set(token.frozen).add(key);
  if (plain !== undefined) {
    scope.used(plain, token);
    return relocate(plain.body, token).map((one) => ({ ...one, frozen }));
  }
  if (pending.at(-1)?.text !== '(') return undefined;
  const call = readArguments(pending);
  if (call === undefined) {
    scope.problem(`The call of \`${token.text}\` lacks its \`)\`.`, [token]);
    return undefined;
  }
  const macro = macros.find(
    ({ parameters = [] }) =>
      parameters.length === call.length ||
      (parameters.length === 0 && call.length === 1 && call[0]?.length === 0) ||
      (parameters.at(-1)?.greedy === true && call.length >= parameters.length),
  );
  if (macro === undefined) {
    scope.problem(
      `\`${token.text}\` takes ${macros.map(({ parameters = [] }) => parameters.length).join(' or ')} argument(s), not ${call.length}.`,
      [token],
    );
    return [];
  }
  scope.used(macro, token);
  const { parameters = [] } = macro;
  const given = new Map<string, readonly Token[]>();
  for (const [i, parameter] of parameters.entries()) {
    const value =
      parameter.greedy && i === parameters.length - 1
        ? joinArguments(call.slice(i), token)
        : (call[i] ?? []);
    given.set(parameter.name, expandLine(value, scope));
  }
  return macro.body.flatMap((one) => {
    const argument = one.kind === 'id' ? given.get(one.text) : undefined;
    if (argument === undefined) return [{ ...relocate([one], token)[0], frozen } as Token];
    return argument.map((part, i) => (i === 0 ? { ...part, spaced: one.spaced } : part));
  });
}

function joinArguments(parts: readonly (readonly Token[])[], at: Token): readonly Token[] {
  const comma: Token = { ...at, kind: 'op', text: ',', spaced: false };
  return parts.flatMap((part, i) => (i === 0 ? part : [comma, ...part]));
}

function readArguments(pending: Token[]): Token[][] | undefined {
  const saved = [...pending];
  pending.pop();
  const call: Token[][] = [[]];
  let depth = 0;
  let braces = 0;
  for (let next = pending.pop(); next !== undefined; next = pending.pop()) {
    const { text, kind } = next;
    if (kind === 'op') {
      if (text === '{' && braces++ === 0) continue;
      if (text === '}' && --braces === 0) continue;
      if (braces === 0) {
        if (text === '(' || text === '[') depth++;
        if (text === ']') depth--;
        if (text === ')' && depth-- === 0) return call;
        if (text === ',' && depth === 0) {
          call.push([]);
          continue;
        }
      }
    }
    call.at(-1)?.push(next);
  }
  pending.length = 0;
  pending.push(...saved);
  return undefined;
}

/** Joins the tokens on both sides of each `%+`. */
export function paste(tokens: readonly Token[]): readonly Token[] {
  if (!tokens.some(({ text }) => text === '%+')) return tokens;
  const out: Token[] = [];
  for (let i = 0; i < tokens.length; i++) {
    const token = tokens[i];
    if (token === undefined) continue;
    const before = out.at(-1);
    const after = tokens[i + 1];
    if (token.text !== '%+' || before === undefined || after === undefined) {
      if (token.text !== '%+') out.push(token);
      continue;
    }
    out.pop();
    out.push(...glue(before, after));
    i++;
  }
  return out;
}

/** Two tokens written as one. */
export function glue(before: Token, after: Token): readonly Token[] {
  const joined = tokenize(before.text + after.text, before.place);
  return joined.map((one, i) => ({
    ...one,
    start: before.start,
    end: before.end,
    spaced: i === 0 ? before.spaced : one.spaced,
    ...(before.frozen === undefined ? {} : { frozen: before.frozen }),
  }));
}

const CONDITION_PAIRS = [
  'o no',
  'b ae',
  'c nc',
  'e ne',
  'z nz',
  'be a',
  's ns',
  'p np',
  'pe po',
  'l ge',
  'le g',
  'nae nb',
  'na nbe',
  'nge nl',
  'ng nle',
  'cxz ecxz',
];

/** The opposite of a condition code, for `%-1`. */
export function invertCondition(code: string): string | undefined {
  for (const pair of CONDITION_PAIRS) {
    const [a = '', b = ''] = pair.split(' ');
    if (code === a) return b;
    if (code === b) return a;
  }
  return undefined;
}

export const isCondition = (code: string): boolean => invertCondition(code) !== undefined;

/** A string token with this content. */
export function quote(text: string): string {
  if (!text.includes("'")) return `'${text}'`;
  if (!text.includes('"')) return `"${text}"`;
  return `\`${text.replaceAll('\\', '\\\\').replaceAll('`', '\\`')}\``;
}

export const isIdentifier = (token: Token | undefined): boolean =>
  token?.kind === 'id' && !registersByName.has(token.text.toLowerCase());
