/** Single-line macros and contexts: what `%define` and its relatives store, and how it expands. */
import type { Token } from './lexer.ts';
import { relocate, textOf, tokenize } from './lexer.ts';

export interface MacroParameter {
  /** undefined: the argument is read and not used. */
  readonly name: string | undefined;
  readonly greedy: boolean;
  /** `=name`: the argument's value as a number. */
  readonly evaluated: boolean;
  /** `&name`: the argument as a string; `&&name`: unless it is one. */
  readonly quoted: 'never' | 'always' | 'unlessString';
}

export interface SingleMacro {
  readonly name: string;
  readonly token: Token;
  readonly parameters: readonly MacroParameter[] | undefined;
  readonly body: readonly Token[];
  readonly anyCase: boolean;
}

export interface Context {
  readonly name: string;
  readonly id: number;
  readonly macros: MacroTable;
}

const MAX_EXPANSIONS = 20_000;
/** How often what `%+` joined is expanded again. */
const MAX_ROUNDS = 50;

/** Definitions by name; several of one name differ in their number of parameters. */
export class MacroTable {
  private readonly exact = new Map<string, SingleMacro[]>();
  private readonly anyCase = new Map<string, SingleMacro[]>();
  private readonly aliases = new Map<string, string>();

  add(macro: SingleMacro): void {
    const table = macro.anyCase ? this.anyCase : this.exact;
    const name = this.resolve(macro.name);
    const key = macro.anyCase ? name.toLowerCase() : name;
    const others = (table.get(key) ?? []).filter(
      (one) =>
        one.parameters?.length !== macro.parameters?.length &&
        macro.parameters !== undefined &&
        one.parameters !== undefined,
    );
    table.set(key, [...others, macro]);
  }

  remove(name: string): void {
    const key = this.resolve(name);
    this.exact.delete(key);
    this.anyCase.delete(key.toLowerCase());
  }

  clear(): void {
    this.exact.clear();
    this.anyCase.clear();
  }

  /** Makes a name stand for another one, whatever that is defined to be. */
  alias(name: string, target: string): void {
    if (this.resolve(target) !== name) this.aliases.set(name, target);
  }

  removeAlias(name: string): void {
    this.aliases.delete(name);
  }

  isAlias(name: string): boolean {
    return this.aliases.has(name);
  }

  find(name: string): readonly SingleMacro[] | undefined {
    const key = this.resolve(name);
    return this.exact.get(key) ?? this.anyCase.get(key.toLowerCase());
  }

  private resolve(name: string): string {
    const target = this.aliases.get(name);
    return target === undefined ? name : this.resolve(target);
  }
}

export interface ExpandScope {
  readonly table: MacroTable;
  readonly contexts: readonly Context[];
  builtin(name: string, token: Token): readonly Token[] | undefined;
  used(macro: SingleMacro, token: Token): void;
  problem(message: string, tokens: readonly Token[]): void;
  evaluate(tokens: readonly Token[], first: Token): bigint;
  /** What a function's call stands for, or undefined if the name is none. */
  callFunction(
    token: Token,
    readArguments: () => readonly (readonly Token[])[] | undefined,
  ): readonly Token[] | undefined;
}

/** Expands all single-line macros of a line, joins what `%+` joins, and expands what came of it. */
export function expandLine(tokens: readonly Token[], scope: ExpandScope): readonly Token[] {
  let line = expandOnce(tokens, scope);
  for (let round = 0; round < MAX_ROUNDS && line.some(({ text }) => text === '%+'); round++) {
    line = expandOnce(paste(line), scope);
  }
  return line;
}

function expandOnce(tokens: readonly Token[], scope: ExpandScope): readonly Token[] {
  if (!tokens.some((token) => token.kind === 'id' || token.kind === 'percent')) return tokens;
  const pending = [...tokens].reverse();
  const out: Token[] = [];
  let count = 0;
  for (let token = pending.pop(); token !== undefined; token = pending.pop()) {
    const replacement =
      token.kind === 'id' || token.kind === 'percent'
        ? expandToken(token, pending, scope)
        : undefined;
    if (replacement === undefined) {
      out.push(token);
      continue;
    }
    const joined = token.kind === 'percent' && joinNeighbors(token, replacement, out, pending);
    if (joined) {
      pending.push(...joined.reverse());
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
  return out;
}

const isWord = (token: Token | undefined): token is Token =>
  token?.kind === 'id' || token?.kind === 'number';

/**
 * What `name%[expansion]name` and `%$local_name` are together with the words they touch, which are
 * taken from both lists; undefined if they touch none.
 */
function joinNeighbors(
  token: Token,
  replacement: readonly Token[],
  out: Token[],
  pending: Token[],
): Token[] | undefined {
  const tokens = replacement.map((one, i) => (i === 0 ? { ...one, spaced: token.spaced } : one));
  const [first] = tokens;
  const before = out.at(-1);
  const isIndirect = token.text === '%[';
  let isJoined = false;
  if (isIndirect && !token.spaced && before?.kind === 'id' && isWord(first)) {
    out.pop();
    tokens.splice(0, 1, ...glue(before, first));
    isJoined = true;
  }
  const last = tokens.at(-1);
  const following = pending.at(-1);
  const canGrow = isIndirect ? isWord(last) : tokens.length === 1 && last?.kind === 'id';
  if (canGrow && last !== undefined && following?.spaced === false && isWord(following)) {
    pending.pop();
    tokens.splice(-1, 1, ...glue(last, following));
    isJoined = true;
  }
  return isJoined ? tokens : undefined;
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
  if (local === null) {
    if (pending.at(-1)?.text !== '(') return undefined;
    return scope.callFunction(token, () => readArguments(pending));
  }
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
  const frozen = new Set(token.frozen).add(key).add(macros[0]?.name ?? key);
  if (plain !== undefined) {
    scope.used(plain, token);
    return relocate(plain.body, token).map((one) => ({ ...namedAs(one, token, plain), frozen }));
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
      (parameters.at(-1)?.greedy === true && call.length >= parameters.length - 1),
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
    if (parameter.name === undefined) continue;
    given.set(parameter.name, convert(expandLine(value, scope), parameter, token, scope));
  }
  return macro.body.flatMap((one) => {
    const argument = one.kind === 'id' ? given.get(one.text) : undefined;
    if (argument === undefined) {
      return relocate([one], token).map((own) => ({ ...namedAs(own, token, macro), frozen }));
    }
    return argument.map((part, i) => (i === 0 ? { ...part, spaced: one.spaced } : part));
  });
}

/** An argument as its parameter wants it. */
function convert(
  value: readonly Token[],
  { evaluated, quoted }: MacroParameter,
  call: Token,
  scope: ExpandScope,
): readonly Token[] {
  const number = evaluated ? tokenize(`${scope.evaluate(value, call)}`, call.place) : value;
  const isString = number.length === 1 && number[0]?.kind === 'string';
  if (quoted === 'never' || (quoted === 'unlessString' && isString)) return number;
  return tokenize(quote(textOf(number)), call.place);
}

/** `%?` is the macro's name as it is called, `%??` as it is defined. */
function namedAs(one: Token, call: Token, macro: SingleMacro): Token {
  if (one.text === '%?') return { ...one, kind: 'id', text: call.text };
  return one.text === '%??' ? { ...one, kind: 'id', text: macro.name } : one;
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
