/**
 * NASM's preprocessor: a stack of line sources (files, macro bodies, repetitions) from which `next`
 * draws one line at a time with all macros expanded. It is pulled by the assembler, so that `%if`
 * and `%assign` can ask for labels already placed.
 */
import type { DefinitionKind, ExpansionStep } from './assembly.ts';
import { isPlain, type Value } from './expressions.ts';
import type { Place, Token } from './lexer.ts';
import { relocate, textOf, tokenize, tokenLines } from './lexer.ts';
import { stringBytes } from './literals.ts';
import { callFunction, type FunctionHost, isFunction, substring } from './macro-functions.ts';
import {
  fittingMacro,
  type MultiMacro,
  type RawLine,
  readCount,
  readParameter,
  splitArguments,
} from './macro-parameters.ts';
import type { Context, ExpandScope, MacroParameter, SingleMacro } from './macros.ts';
import { expandLine, glue, invertCondition, isCondition, MacroTable, quote } from './macros.ts';
import { packageNames, packageSource } from './packages.ts';
import { StackFrame } from './stack-frame.ts';
import { isReserved } from './statements.ts';

export interface PreprocessedLine {
  readonly tokens: readonly Token[];
  /** Where the user sees it: of a macro call, the outermost call. */
  readonly place: Place;
  readonly column: number;
  readonly text: string;
  readonly expansion: readonly ExpansionStep[] | undefined;
}

export interface PreprocessorHost {
  evaluate(tokens: readonly Token[]): Value;
  problem(severity: 'error' | 'warning', message: string, tokens: readonly Token[]): void;
  define(kind: DefinitionKind, name: string, token: Token, detail: string, end?: Place): void;
  refer(name: string, token: Token): void;
  include(name: string, token: Token, target: string | undefined): void;
  readFile(path: string, from: string): { path: string; bytes: Uint8Array } | undefined;
  builtin(name: string, token: Token): string | undefined;
}

interface MacroCall {
  readonly macro: MultiMacro;
  readonly id: number;
  parameters: (readonly Token[])[];
  readonly label: readonly Token[];
  readonly callPlace: Place;
  readonly callColumn: number;
  /** The macro's name as it is called. */
  readonly callName: string;
  readonly outer: MacroCall | undefined;
}

interface Frame {
  readonly kind: 'file' | 'macro' | 'repeat';
  readonly lines: readonly RawLine[];
  position: number;
  readonly call: MacroCall | undefined;
  readonly conditions: number;
  remaining: number;
  readonly path: string;
}

interface LineOrigin {
  readonly from: number;
  readonly line: number;
  readonly step: number;
  readonly path: string | undefined;
}

interface Condition {
  readonly token: Token;
  state: 'active' | 'waiting' | 'done' | 'dead';
  sawElse: boolean;
}

interface Collecting {
  readonly kind: 'macro' | 'repeat';
  readonly header: Token;
  readonly begin: (body: RawLine[], end: Place) => void;
  readonly body: RawLine[];
  depth: number;
}

const MAX_LINES = 1_000_000;
const MAX_DEPTH = 2_000;
const MAX_INCLUDES = 128;
const MAX_REPEAT = 1_000_000;

/** What nasm has as standard macros and this assembler as directives. */
const STANDARD = new Set(
  'struc endstruc istruc at iend align alignb sectalign org section segment absolute global extern static common bits use16 use32 cpu default float list'.split(
    ' ',
  ),
);

export class Preprocessor {
  private readonly host: PreprocessorHost;
  private readonly frames: Frame[] = [];
  private readonly table = new MacroTable();
  private readonly macros = new Map<string, MultiMacro[]>();
  private readonly contexts: Context[] = [];
  private readonly conditions: Condition[] = [];
  private readonly queue: PreprocessedLine[] = [];
  private readonly active = new Map<MultiMacro, number>();
  private readonly scope: ExpandScope;
  private readonly stack = new StackFrame();
  private readonly used = new Set<string>();
  /** Where `%line` says that the lines of a file come from. */
  private readonly origins = new Map<string, LineOrigin>();
  private collecting: Collecting | undefined;
  private ids = 0;
  private lineCount = 0;
  private stopped = false;

  constructor(source: string, path: string, host: PreprocessorHost) {
    this.host = host;
    this.scope = {
      table: this.table,
      contexts: this.contexts,
      builtin: (name, token) => {
        const text = this.builtin(name, token);
        return text === undefined ? undefined : tokenize(text, token.place);
      },
      used: (macro, token) => host.refer(macro.name, token),
      problem: (message, tokens) => host.problem('error', message, tokens),
      evaluate: (tokens, first) => this.evaluate(tokens, first),
      callFunction: (token, readArguments) => {
        const given = isFunction(token.text) ? readArguments() : undefined;
        return given === undefined ? undefined : callFunction(token, given, this.functionHost());
      },
    };
    this.pushFile(source, path);
  }

  /** Defines a macro as by the command line's `-D`. */
  predefine(name: string, value: string): void {
    const place = { path: '<command line>', line: 1 };
    const [token] = tokenize(name, place);
    if (token === undefined) return;
    this.table.add({
      name,
      token,
      parameters: undefined,
      body: tokenize(value, place),
      anyCase: false,
    });
  }

  /** The next line that is not the preprocessor's own, or undefined at the end. */
  next(): PreprocessedLine | undefined {
    for (;;) {
      const queued = this.queue.shift();
      if (queued !== undefined) return queued;
      const frame = this.frames.at(-1);
      if (frame === undefined || this.stopped) return undefined;
      const raw = frame.lines[frame.position++];
      if (raw === undefined) {
        this.endFrame(frame);
        continue;
      }
      if (++this.lineCount > MAX_LINES) {
        this.host.problem(
          'error',
          `The source expands to more than ${MAX_LINES} lines.`,
          raw.tokens,
        );
        this.stopped = true;
        return undefined;
      }
      if (this.collecting !== undefined) {
        this.collect(this.collecting, raw);
        continue;
      }
      const line = this.process(raw, frame);
      if (line !== undefined) return line;
    }
  }

  private pushFile(source: string, path: string): void {
    this.pushLines(tokenLines(source, path), path);
  }

  private pushLines(lines: readonly RawLine[], path: string): void {
    this.frames.push({
      kind: 'file',
      lines,
      position: 0,
      call: undefined,
      conditions: this.conditions.length,
      remaining: 0,
      path,
    });
  }

  private endFrame(frame: Frame): void {
    if (frame.kind === 'repeat' && --frame.remaining > 0) {
      frame.position = 0;
      return;
    }
    this.frames.pop();
    if (frame.kind === 'macro' && frame.call !== undefined) {
      this.active.set(frame.call.macro, (this.active.get(frame.call.macro) ?? 1) - 1);
    }
    if (frame.kind === 'file' && this.collecting !== undefined) {
      const { kind, header } = this.collecting;
      const what = kind === 'macro' ? '%endmacro' : '%endrep';
      this.host.problem('error', `\`${header.text}\` has no \`${what}\`.`, [header]);
      this.collecting = undefined;
    }
    if (frame.kind !== 'repeat') {
      const open = this.conditions.splice(frame.conditions);
      for (const { token } of open.slice(0, 1)) {
        this.host.problem('error', `\`${token.text}\` has no \`%endif\`.`, [token]);
      }
    }
  }

  private collect(collecting: Collecting, raw: RawLine): void {
    const word = raw.tokens[0]?.kind === 'percent' ? raw.tokens[0].text.toLowerCase() : '';
    const macro = collecting.kind === 'macro';
    const opens = macro ? /^%i?r?macro$/.test(word) : word === '%rep';
    const closes = macro ? /^%endm(acro)?$/.test(word) : word === '%endrep';
    if (opens) collecting.depth++;
    if (closes && --collecting.depth === 0) {
      this.collecting = undefined;
      collecting.begin(collecting.body, raw.tokens[0]?.place ?? collecting.header.place);
      return;
    }
    collecting.body.push(raw);
  }

  private get skipping(): boolean {
    const top = this.conditions.at(-1);
    return top !== undefined && top.state !== 'active';
  }

  private process(raw: RawLine, frame: Frame): PreprocessedLine | undefined {
    const first = raw.tokens[0];
    if (first?.kind === 'percent' && /^%[A-Za-z]/.test(first.text)) {
      this.directive(first, raw.tokens.slice(1), frame);
      return undefined;
    }
    if (this.skipping) return undefined;
    const substituted =
      frame.call === undefined ? raw.tokens : this.substitute(raw.tokens, frame.call);
    const start = substituted[0];
    if (start?.kind === 'percent' && /^%[A-Za-z]/.test(start.text) && start !== first) {
      this.directive(start, substituted.slice(1), frame);
      return undefined;
    }
    const tokens = expandLine(substituted, this.scope);
    if (tokens.length > 0 && this.callMacro(tokens, raw, frame)) return undefined;
    return this.line(tokens, raw.text, frame);
  }

  private line(tokens: readonly Token[], text: string, frame: Frame): PreprocessedLine {
    const { call } = frame;
    const at = frame.lines[frame.position - 1]?.tokens[0];
    if (call === undefined) {
      const place = at?.place ?? { path: frame.path, line: frame.position };
      return { tokens, place, column: at?.start ?? 1, text, expansion: undefined };
    }
    const chain: MacroCall[] = [];
    for (let one: MacroCall | undefined = call; one !== undefined; one = one.outer)
      chain.unshift(one);
    const outermost = chain[0] ?? call;
    const expansion = chain.map((one, i) => {
      const inner = chain[i + 1]?.callPlace ?? at?.place ?? one.callPlace;
      return { macro: one.macro.name, path: inner.path, line: inner.line };
    });
    return { tokens, place: outermost.callPlace, column: outermost.callColumn, text, expansion };
  }

  private substitute(tokens: readonly Token[], call: MacroCall): readonly Token[] {
    if (!tokens.some(({ kind }) => kind === 'percent')) return tokens;
    const out: Token[] = [];
    let joinNext = false;
    for (const token of tokens) {
      const replacement = token.kind === 'percent' ? this.parameter(token, call) : undefined;
      const parts = replacement ?? [token];
      for (const [i, part] of parts.entries()) {
        const spaced = i === 0 ? token.spaced : part.spaced;
        const before = out.at(-1);
        const join =
          !spaced && before !== undefined && i === 0 && (replacement !== undefined || joinNext);
        if (
          join &&
          /[\w$#@~.?]$/.test(before.text) &&
          /^[\w$#@~.?]/.test(part.text) &&
          before.kind !== 'string'
        ) {
          out.pop();
          out.push(...glue(before, part));
        } else out.push({ ...part, spaced });
      }
      joinNext = replacement !== undefined && parts.length > 0;
    }
    return out;
  }

  /** What `%1`, `%0`, `%%name`, `%+1`, `%{2:4}` stand for in this call. */
  private parameter(token: Token, call: MacroCall): readonly Token[] | undefined {
    const text = token.text.startsWith('%{') ? `%${token.text.slice(2, -1)}` : token.text;
    const number = /^%(\d+)$/.exec(text)?.[1];
    if (number === '00') return call.label;
    if (number === '0') {
      return [{ ...token, kind: 'number', text: `${call.parameters.length}` }];
    }
    if (number !== undefined) return call.parameters[Number(number) - 1] ?? [];
    const local = /^%%(.+)$/.exec(text)?.[1];
    if (local !== undefined) return [{ ...token, kind: 'id', text: `..@${call.id}.${local}` }];
    const condition = /^%([+-])(\d+)$/.exec(text);
    if (condition !== null) {
      const argument = call.parameters[Number(condition[2]) - 1] ?? [];
      const code = textOf(argument).toLowerCase();
      const inverse = invertCondition(code);
      if (!token.text.startsWith('%{') || isCondition(code)) {
        if (inverse === undefined) {
          this.host.problem('error', `\`${code}\` is not a condition code.`, [token]);
          return [];
        }
        return [{ ...token, kind: 'id', text: condition[1] === '-' ? inverse : code }];
      }
      return call.parameters.at(-Number(condition[2])) ?? [];
    }
    const range = /^%(-?\d+):(-?\d+)$/.exec(text);
    if (range !== null) {
      const count = call.parameters.length;
      const at = (n: number) => (n < 0 ? count + n : n - 1);
      const [from, to] = [at(Number(range[1])), at(Number(range[2]))];
      const step = from <= to ? 1 : -1;
      const picked: Token[] = [];
      for (let i = from; step > 0 ? i <= to : i >= to; i += step) {
        if (picked.length > 0) picked.push({ ...token, kind: 'op', text: ',', spaced: false });
        picked.push(...(call.parameters[i] ?? []));
      }
      return picked;
    }
    if (text === '%?') return [{ ...token, kind: 'id', text: call.callName }];
    if (text === '%??') return [{ ...token, kind: 'id', text: call.macro.name }];
    return undefined;
  }

  private callMacro(tokens: readonly Token[], raw: RawLine, frame: Frame): boolean {
    let at = 0;
    let found = this.macrosNamed(tokens[0]);
    if (found === undefined && tokens[0]?.kind === 'id') {
      at = tokens[1]?.text === ':' ? 2 : 1;
      found = this.macrosNamed(tokens[at]);
    }
    const name = tokens[at];
    if (found === undefined || name === undefined) return false;
    const given = splitArguments(tokens.slice(at + 1));
    const usable = found.filter((one) => one.recursive || (this.active.get(one) ?? 0) === 0);
    if (usable.length === 0) {
      // A macro of an instruction's name uses that instruction.
      if (at > 0 || isReserved(name.text)) return false;
      this.host.problem('error', `The macro \`${name.text}\` calls itself; only \`%rmacro\` may.`, [
        name,
      ]);
      return true;
    }
    const macro = fittingMacro(usable, given, raw.tokens.length > tokens.slice(0, at + 1).length);
    if (macro === undefined) {
      if (isReserved(name.text)) return false;
      const ranges = found.map(({ least, most }) =>
        least === most ? `${least}` : `${least}-${most}`,
      );
      this.host.problem(
        'error',
        `The macro \`${name.text}\` takes ${ranges.join(' or ')} parameter(s), not ${given.length}.`,
        [name],
      );
      return true;
    }
    const depth = this.active.get(macro) ?? 0;
    if (this.frames.length > MAX_DEPTH) {
      this.host.problem('error', `Macros are nested more than ${MAX_DEPTH} deep.`, [name]);
      this.stopped = true;
      return true;
    }
    this.host.refer(macro.name, name);
    this.active.set(macro, depth + 1);
    this.pushCall(macro, given, tokens.slice(0, at), name, raw, frame);
    return true;
  }

  private pushCall(
    macro: MultiMacro,
    given: readonly (readonly Token[])[],
    label: readonly Token[],
    name: Token,
    raw: RawLine,
    frame: Frame,
  ): void {
    const parameters = [...given];
    if (macro.greedy && parameters.length > macro.most) {
      const comma: Token = { ...name, kind: 'op', text: ',', spaced: false };
      const rest = parameters.splice(macro.most - 1);
      parameters.push(rest.flatMap((part, i) => (i === 0 ? part : [comma, ...part])));
    }
    const most = Math.min(macro.most, macro.least + macro.defaults.length);
    while (parameters.length < most) {
      parameters.push(macro.defaults[parameters.length - macro.least] ?? []);
    }
    const labelName = label.filter(({ text }) => text !== ':');
    if (label.length > 0 && !macro.usesLabel) {
      const colon: Token = { ...(label[0] ?? name), kind: 'op', text: ':', spaced: false };
      this.queue.push(this.line([...labelName, colon], raw.text, frame));
    }
    const call: MacroCall = {
      macro,
      id: ++this.ids,
      parameters,
      label: labelName,
      callPlace: raw.tokens[0]?.place ?? name.place,
      callColumn: raw.tokens[0]?.start ?? name.start,
      callName: name.text,
      outer: frame.call,
    };
    this.frames.push({
      kind: 'macro',
      lines: macro.body,
      position: 0,
      call,
      conditions: this.conditions.length,
      remaining: 0,
      path: frame.path,
    });
  }

  private macrosNamed(token: Token | undefined): readonly MultiMacro[] | undefined {
    if (token?.kind !== 'id') return undefined;
    const list = this.macros.get(token.text.toLowerCase());
    const fitting = list?.filter(({ anyCase, name }) => anyCase || name === token.text);
    return fitting !== undefined && fitting.length > 0 ? fitting : undefined;
  }

  private directive(first: Token, tokens: readonly Token[], frame: Frame): void {
    const word = first.text.slice(1).toLowerCase();
    const conditional = /^(el)?if(.*)$/.exec(word);
    if (conditional !== null) {
      const [, otherwise, ending = ''] = conditional;
      this.condition(first, otherwise !== undefined, ending, tokens, frame);
      return;
    }
    if (word === 'else' || word === 'endif') {
      this.endCondition(first, word, frame);
      return;
    }
    if (this.skipping) return;
    const raw = frame.call === undefined ? tokens : this.substitute(tokens, frame.call);
    const family = DIRECTIVES[word];
    if (family === undefined) {
      this.host.problem('error', `\`${first.text}\` is not a preprocessor directive.`, [first]);
      return;
    }
    this[family](first, word, raw, frame);
  }

  private condition(
    first: Token,
    otherwise: boolean,
    ending: string,
    tokens: readonly Token[],
    frame: Frame,
  ): void {
    const top = this.conditions.at(-1);
    if (!otherwise) {
      const state = this.skipping ? 'dead' : 'waiting';
      const condition: Condition = { token: first, state, sawElse: false };
      this.conditions.push(condition);
      if (state === 'waiting') {
        condition.state = this.test(first, ending, tokens, frame) ? 'active' : 'waiting';
      }
      return;
    }
    if (top === undefined || this.conditions.length <= frame.conditions) {
      this.host.problem('error', `\`${first.text}\` has no \`%if\` before it.`, [first]);
    } else if (top.state === 'active') top.state = 'done';
    else if (top.state === 'waiting' && !top.sawElse) {
      this.conditions.pop();
      const holds = this.test(first, ending, tokens, frame);
      this.conditions.push(top);
      if (holds) top.state = 'active';
    }
  }

  private endCondition(first: Token, word: string, frame: Frame): void {
    const top = this.conditions.at(-1);
    if (top === undefined || this.conditions.length <= frame.conditions) {
      this.host.problem('error', `\`${first.text}\` has no \`%if\` before it.`, [first]);
    } else if (word === 'endif') this.conditions.pop();
    else {
      if (top.sawElse) this.host.problem('warning', 'This `%if` has an `%else` already.', [first]);
      top.sawElse = true;
      if (top.state === 'active') top.state = 'done';
      else if (top.state === 'waiting') top.state = 'active';
    }
  }

  private test(first: Token, ending: string, tokens: readonly Token[], frame: Frame): boolean {
    const raw = frame.call === undefined ? tokens : this.substitute(tokens, frame.call);
    const holds = this.holds(first, ending, raw);
    if (holds === undefined) {
      this.host.problem('error', `\`${first.text}\` is not a preprocessor directive.`, [first]);
    }
    return holds === true;
  }

  /** Whether `%if` with an ending such as `ndef` holds; undefined if there is no such ending. */
  private holds(first: Token, ending: string, raw: readonly Token[]): boolean | undefined {
    const own = this.tests[ending];
    if (own !== undefined) return own(raw, first);
    const positive = ending.startsWith('n') ? this.tests[ending.slice(1)] : undefined;
    return positive === undefined ? undefined : !positive(raw, first);
  }

  /** What `%if` tests, by its ending. */
  private readonly tests: Readonly<
    Record<string, (raw: readonly Token[], first: Token) => boolean>
  > = {
    '': (raw, first) => this.evaluate(this.expand(raw), first) !== 0n,
    ctx: (raw) =>
      raw.length === 0
        ? this.contexts.length > 0
        : raw.some(({ text }) => text === this.contexts.at(-1)?.name),
    def: (raw) => raw.some((token) => this.isDefined(token)),
    defalias: (raw) => raw.some(({ text }) => this.table.isAlias(text)),
    empty: (raw) => this.expand(raw).length === 0,
    // The same source gives the same program everywhere: no environment.
    env: () => false,
    file: (raw) =>
      this.host.readFile(stringText(this.expand(raw)[0]), this.frames.at(-1)?.path ?? '') !==
      undefined,
    id: (raw) => this.expand(raw)[0]?.kind === 'id',
    idn: (raw, first) => this.areSame(raw, first, (text) => text),
    idni: (raw, first) => this.areSame(raw, first, (text) => text.toLowerCase()),
    macro: (raw) => this.hasMacro(raw),
    num: (raw) => {
      const [a, b] = this.expand(raw);
      return a?.kind === 'number' || (/^[+-]$/.test(a?.text ?? '') && b?.kind === 'number');
    },
    str: (raw) => this.expand(raw)[0]?.kind === 'string',
    token: (raw) => this.expand(raw).length === 1,
    usable: (raw) => packageSource(packageNameIn(this.expand(raw))) !== undefined,
    using: (raw) => this.used.has(packageNameIn(this.expand(raw))),
  };

  private expand(raw: readonly Token[]): readonly Token[] {
    return expandLine(raw, this.scope);
  }

  private areSame(raw: readonly Token[], first: Token, folded: (text: string) => string): boolean {
    const tokens = this.expand(raw);
    const comma = tokens.findIndex(({ text }) => text === ',');
    if (comma < 0) {
      this.host.problem('error', `\`${first.text}\` compares two texts; expected a comma.`, [
        first,
      ]);
      return false;
    }
    const text = (part: readonly Token[]) =>
      part
        .map((one) => folded(one.kind === 'string' ? `s${stringText(one)}` : one.text))
        .join('\u0000');
    return text(tokens.slice(0, comma)) === text(tokens.slice(comma + 1));
  }

  /** `%ifmacro name 1-2`: a macro that can be called with so many parameters. */
  private hasMacro([name, ...rest]: readonly Token[]): boolean {
    if (STANDARD.has(name?.text.toLowerCase() ?? '')) return true;
    const { numbers, greedy } = readCount(rest);
    const least = numbers?.least ?? 0;
    const most = numbers?.most ?? Number.MAX_SAFE_INTEGER;
    return (
      this.macrosNamed(name)?.some(
        (one) => (one.least <= most || greedy) && (least <= one.most || one.greedy),
      ) === true
    );
  }

  private functionHost(): FunctionHost {
    return {
      expand: (tokens) => this.expand(tokens),
      evaluate: (tokens, first) => this.evaluate(tokens, first),
      holds: (ending, tokens, first) => this.holds(first, ending, tokens),
      problem: this.scope.problem,
    };
  }

  private isDefined(token: Token): boolean {
    const local = /^%(\$+)(.+)$/.exec(token.text);
    if (local !== null) {
      const context = this.contexts.at(-(local[1] ?? '').length);
      return context?.macros.find(local[2] ?? '') !== undefined;
    }
    const known = this.table.find(token.text) !== undefined;
    if (known) this.host.refer(token.text, token);
    return known || (token.kind === 'id' && this.builtin(token.text, token) !== undefined);
  }

  private evaluate(tokens: readonly Token[], first: Token): bigint {
    if (tokens.length === 0) {
      this.host.problem('error', `Expected an expression after \`${first.text}\`.`, [first]);
      return 0n;
    }
    const value = this.host.evaluate(tokens);
    if (!isPlain(value) && !value.unknown) {
      this.host.problem('error', `\`${first.text}\` needs a number; this is an address.`, tokens);
      return 0n;
    }
    return BigInt.asIntN(64, value.number);
  }

  private builtin(name: string, token: Token): string | undefined {
    const key = name.replace(/^__\??/, '').replace(/\??__$/, '');
    if (!/^__.*__$/.test(name)) return undefined;
    const { path, line } = token.place;
    const origin = this.origins.get(path);
    if (key === 'LINE') {
      return `${origin === undefined ? line : origin.line + origin.step * (line - origin.from)}`;
    }
    if (key === 'FILE') return quote(origin?.path ?? path);
    const used = /^__\?USE_(\w+)\?__$/.exec(name)?.[1];
    if (used !== undefined) return this.used.has(used.toLowerCase()) ? '' : undefined;
    return this.host.builtin(key, token);
  }

  // The directives; DIRECTIVES says which word goes where.

  private defineDirective(first: Token, word: string, raw: readonly Token[]): void {
    const anyCase = word.startsWith('i');
    const target = this.target(raw[0], first);
    if (target === undefined) return;
    let at = 1;
    let parameters: MacroParameter[] | undefined;
    if (raw[1]?.text === '(' && !raw[1].spaced) {
      const close = raw.findIndex(({ text }) => text === ')');
      if (close < 0) {
        this.host.problem('error', 'Expected `)` after the parameters.', [raw.at(-1) ?? first]);
        return;
      }
      parameters = splitArguments(raw.slice(2, close)).map(readParameter);
      at = close + 1;
    }
    const rest = raw.slice(at);
    const body = /xdefine$/.test(word) ? expandLine(rest, this.scope) : rest;
    this.store(target, parameters, body, anyCase, first, raw);
  }

  private store(
    target: { table: MacroTable; name: string; token: Token },
    parameters: SingleMacro['parameters'],
    body: readonly Token[],
    anyCase: boolean,
    first: Token,
    raw: readonly Token[],
  ): void {
    const { table, name, token } = target;
    table.add({ name, token, parameters, body, anyCase });
    this.host.define('define', name, token, `${first.text} ${textOf(raw)}`);
  }

  private target(
    token: Token | undefined,
    first: Token,
  ): { table: MacroTable; name: string; token: Token } | undefined {
    const local = /^%\{?(\$+)([^}]+)\}?$/.exec(token?.text ?? '');
    if (token !== undefined && local !== null) {
      const context = this.contexts.at(-(local[1] ?? '').length);
      if (context !== undefined) return { table: context.macros, name: local[2] ?? '', token };
      this.host.problem('error', `\`${token.text}\` needs a context; \`%push\` makes one.`, [
        token,
      ]);
      return undefined;
    }
    if (token?.kind !== 'id') {
      this.host.problem('error', `Expected a name after \`${first.text}\`.`, [token ?? first]);
      return undefined;
    }
    return { table: this.table, name: token.text, token };
  }

  private undefDirective(first: Token, _word: string, raw: readonly Token[]): void {
    const target = this.target(raw[0], first);
    target?.table.remove(target.name);
  }

  private assignDirective(first: Token, word: string, raw: readonly Token[]): void {
    const target = this.target(raw[0], first);
    if (target === undefined) return;
    const value = this.evaluate(expandLine(raw.slice(1), this.scope), first);
    this.storeText(target, `${value}`, word.startsWith('i'), first, raw);
  }

  private storeText(
    target: { table: MacroTable; name: string; token: Token },
    text: string,
    anyCase: boolean,
    first: Token,
    raw: readonly Token[],
  ): void {
    this.store(target, undefined, tokenize(text, target.token.place), anyCase, first, raw);
  }

  private stringDirective(first: Token, word: string, raw: readonly Token[]): void {
    const target = this.target(raw[0], first);
    if (target === undefined) return;
    const kind = word.replace(/^i(?=def)/, '');
    const rest = expandLine(raw.slice(1), this.scope);
    const strings = rest.filter((one) => one.kind === 'string').map((one) => stringText(one));
    let text: string;
    if (kind === 'defstr') text = quote(textOf(rest));
    else if (kind === 'deftok') text = strings[0] ?? '';
    else if (kind === 'strcat') text = quote(strings.join(''));
    else if (kind === 'strlen') text = `${stringBytes(rest[0]?.text ?? '""').length}`;
    else {
      const numbers = splitArguments(rest.slice(rest[1]?.text === ',' ? 2 : 1));
      const start = this.evaluate(numbers[0] ?? [], first);
      const length = numbers[1] === undefined ? 1n : this.evaluate(numbers[1], first);
      text = quote(substring(strings[0] ?? '', start, length));
    }
    if (kind !== 'defstr' && strings.length === 0) {
      this.host.problem('error', `\`${first.text}\` needs a string.`, [raw[1] ?? first]);
      return;
    }
    this.storeText(target, text, word.startsWith('idef'), first, raw);
  }

  private macroDirective(first: Token, word: string, raw: readonly Token[]): void {
    const name = raw[0];
    const { numbers, given, greedy, rest } = readCount(raw.slice(1));
    const header: Collecting = {
      kind: 'macro',
      header: first,
      begin: () => undefined,
      body: [],
      depth: 1,
    };
    if (name?.kind !== 'id' || (given && numbers === undefined)) {
      this.host.problem(
        'error',
        'Expected a macro name and the number of its parameters, such as `%macro name 1-2`.',
        [name ?? first],
      );
      this.collecting = header;
      return;
    }
    const { least, most } = numbers ?? { least: 0, most: 0 };
    const defaults = splitArguments(
      /^\.?nolist$/i.test(rest[0]?.text ?? '') ? rest.slice(1) : rest,
    );
    this.collecting = {
      ...header,
      begin: (body, end) => {
        const macro: MultiMacro = {
          name: name.text,
          token: name,
          least,
          most,
          greedy,
          recursive: word.includes('rm'),
          anyCase: word.startsWith('i'),
          defaults,
          body,
          usesLabel: body.some(({ tokens }) => tokens.some(({ text }) => text === '%00')),
        };
        const key = name.text.toLowerCase();
        const others = (this.macros.get(key) ?? []).filter(
          (one) => one.least !== least || one.most !== most,
        );
        this.macros.set(key, [...others, macro]);
        this.host.define('macro', name.text, name, `${first.text} ${textOf(raw)}`, end);
      },
    };
  }

  private unmacroDirective(_first: Token, _word: string, raw: readonly Token[]): void {
    const [name, count] = raw;
    const key = name?.text.toLowerCase() ?? '';
    const least = Number(count?.text ?? 0);
    const left = (this.macros.get(key) ?? []).filter((one) => one.least !== least);
    if (left.length === 0) this.macros.delete(key);
    else this.macros.set(key, left);
  }

  private repeatDirective(first: Token, _word: string, raw: readonly Token[], frame: Frame): void {
    const tokens = expandLine(raw, this.scope).filter(({ text }) => text !== '.nolist');
    const count = Number(this.evaluate(tokens, first));
    if (count > MAX_REPEAT) {
      this.host.problem(
        'error',
        `\`%rep\` repeats at most ${MAX_REPEAT} times, not ${count}.`,
        tokens,
      );
    }
    const times = count > MAX_REPEAT ? 0 : count;
    this.collecting = {
      kind: 'repeat',
      header: first,
      depth: 1,
      body: [],
      begin: (body) => {
        if (times <= 0 || body.length === 0) return;
        this.frames.push({
          kind: 'repeat',
          lines: body,
          position: 0,
          call: frame.call,
          conditions: this.conditions.length,
          remaining: times,
          path: frame.path,
        });
      },
    };
  }

  private exitDirective(first: Token, word: string): void {
    const kind = word === 'exitrep' ? 'repeat' : 'macro';
    const at = this.frames.findLastIndex((frame) => frame.kind === kind);
    if (at < 0) {
      this.host.problem('error', `\`${first.text}\` stands outside of what it leaves.`, [first]);
      return;
    }
    for (
      let frame = this.frames.at(-1);
      this.frames.length > at && frame;
      frame = this.frames.at(-1)
    ) {
      this.conditions.splice(frame.conditions);
      frame.remaining = 0;
      frame.position = frame.lines.length;
      this.endFrame(frame);
    }
  }

  private rotateDirective(first: Token, _word: string, raw: readonly Token[], frame: Frame): void {
    const { call } = frame;
    if (call === undefined) {
      this.host.problem('error', '`%rotate` stands outside of a macro.', [first]);
      return;
    }
    const count = call.parameters.length;
    if (count === 0) return;
    const by = Number(this.evaluate(expandLine(raw, this.scope), first)) % count;
    const at = (by + count) % count;
    call.parameters = [...call.parameters.slice(at), ...call.parameters.slice(0, at)];
  }

  private includeDirective(first: Token, _word: string, raw: readonly Token[], frame: Frame): void {
    const token = expandLine(raw, this.scope)[0];
    const name = stringText(token);
    if (token === undefined || name === '') {
      this.host.problem('error', 'Expected the name of a file, in quotes.', [token ?? first]);
      return;
    }
    const file = this.host.readFile(name, frame.path);
    this.host.include(name, raw[0] ?? token, file?.path);
    if (file === undefined) {
      this.host.problem('error', `The file \`${name}\` cannot be read.`, [token]);
    } else if (this.frames.filter(({ kind }) => kind === 'file').length > MAX_INCLUDES) {
      this.host.problem('error', `Files include one another more than ${MAX_INCLUDES} deep.`, [
        token,
      ]);
      this.stopped = true;
    } else this.pushFile(new TextDecoder().decode(file.bytes), file.path);
  }

  private contextDirective(first: Token, word: string, raw: readonly Token[]): void {
    const name = raw[0]?.text ?? '';
    if (word === 'push') {
      this.contexts.push({ name, id: ++this.ids, macros: new MacroTable() });
      return;
    }
    const top = this.contexts.at(-1);
    if (top === undefined || (word === 'pop' && name !== '' && name !== top.name)) {
      const found = top === undefined ? 'there is none' : `the top one is \`${top.name}\``;
      this.host.problem('error', `\`${first.text}\` needs a context; ${found}.`, [raw[0] ?? first]);
      return;
    }
    this.contexts.pop();
    if (word === 'repl') this.contexts.push({ ...top, name });
  }

  private messageDirective(first: Token, word: string, raw: readonly Token[]): void {
    const tokens = expandLine(raw, this.scope);
    const text =
      tokens.length === 1 && tokens[0]?.kind === 'string' ? stringText(tokens[0]) : textOf(tokens);
    this.host.problem(word === 'warning' ? 'warning' : 'error', text || first.text, [
      first,
      ...raw,
    ]);
    if (word === 'fatal') this.stopped = true;
  }

  private useDirective(first: Token, _word: string, raw: readonly Token[]): void {
    const tokens = this.expand(raw);
    const name = packageNameIn(tokens);
    const source = packageSource(name);
    if (source === undefined) {
      const known = packageNames().join(', ');
      this.host.problem('error', `\`${name}\` is no standard package; there are ${known}.`, [
        tokens[0] ?? first,
      ]);
      return;
    }
    if (this.used.has(name)) return;
    this.used.add(name);
    // What the package defines stands where it is asked for.
    const lines = source.map((text) => ({
      text,
      tokens: relocate(tokenize(text, first.place), first),
    }));
    this.pushLines(lines, first.place.path);
  }

  private aliasDirective(first: Token, word: string, raw: readonly Token[]): void {
    const target = this.target(raw[0], first);
    if (target === undefined) return;
    if (word === 'undefalias') {
      target.table.removeAlias(target.name);
      return;
    }
    const aimed = this.target(raw[1], first);
    if (aimed === undefined) return;
    target.table.alias(target.name, aimed.name);
    this.host.define('define', target.name, target.token, `${first.text} ${textOf(raw)}`);
  }

  private pathDirective(first: Token, _word: string, raw: readonly Token[], frame: Frame): void {
    const target = this.target(raw[0], first);
    if (target === undefined) return;
    const name = stringText(this.expand(raw.slice(1))[0]);
    const path = this.host.readFile(name, frame.path)?.path ?? name;
    this.storeText(target, quote(path), false, first, raw);
  }

  /** `%stacksize flat`, `%arg name:size, ...` and `%local name:size, ...`. */
  private stackDirective(first: Token, word: string, raw: readonly Token[]): void {
    const tokens = this.expand(raw.filter((_, at) => word !== 'stacksize' || at === 0));
    if (word === 'stacksize') {
      if (!this.stack.choose(tokens[0]?.text ?? '')) {
        this.host.problem('error', 'Expected `flat`, `flat64`, `large` or `small`.', [
          tokens[0] ?? first,
        ]);
      }
      return;
    }
    let total = 0;
    for (const [name, colon, size] of splitArguments(raw)) {
      const bytes = colon?.text === ':' ? this.stack.sizeOf(this.expand(size ? [size] : [])) : 0;
      const target = this.target(name, first);
      if (target === undefined) return;
      if (bytes === 0) {
        this.host.problem('error', 'Expected `name:size`, the size a word such as `dword`.', [
          size ?? colon ?? name ?? first,
        ]);
        return;
      }
      total += bytes;
      const place = word === 'arg' ? this.stack.argument(bytes) : this.stack.local(bytes);
      this.storeText(target, place, false, first, raw);
    }
    const context = this.contexts.at(-1);
    if (word !== 'local' || context === undefined) return;
    const before = context.macros.find('localsize')?.[0]?.body[0]?.text ?? '0';
    const size = { table: context.macros, name: 'localsize', token: first };
    this.storeText(size, `${Number(before) + total}`, false, first, raw);
  }

  /** `%line 10+1 file`: how following lines are counted by `__LINE__`. Mistakes keep their place. */
  private lineDirective(first: Token, _word: string, raw: readonly Token[]): void {
    const numbers = /^(\d+)\s*(?:\+\s*(-?\d+))?\s*(.*)$/.exec(textOf(raw));
    if (numbers === null) {
      this.host.problem('error', 'Expected `%line number+step file`.', [raw[0] ?? first]);
      return;
    }
    const [, line = '', step = '1', path = ''] = numbers;
    this.origins.set(first.place.path, {
      from: first.place.line,
      line: Number(line),
      step: Number(step),
      path: path === '' ? undefined : path.replace(/^"(.*)"$/, '$1'),
    });
  }

  private clearDirective(_first: Token, _word: string, raw: readonly Token[]): void {
    if (raw.length > 0) return;
    this.table.clear();
    this.macros.clear();
  }

  private ignoredDirective(): void {}
}

type Family =
  | 'defineDirective'
  | 'undefDirective'
  | 'assignDirective'
  | 'stringDirective'
  | 'macroDirective'
  | 'unmacroDirective'
  | 'repeatDirective'
  | 'exitDirective'
  | 'rotateDirective'
  | 'includeDirective'
  | 'contextDirective'
  | 'messageDirective'
  | 'useDirective'
  | 'aliasDirective'
  | 'pathDirective'
  | 'stackDirective'
  | 'lineDirective'
  | 'clearDirective'
  | 'ignoredDirective';

const DIRECTIVES: Readonly<Record<string, Family>> = {
  define: 'defineDirective',
  xdefine: 'defineDirective',
  idefine: 'defineDirective',
  ixdefine: 'defineDirective',
  undef: 'undefDirective',
  assign: 'assignDirective',
  iassign: 'assignDirective',
  defstr: 'stringDirective',
  idefstr: 'stringDirective',
  deftok: 'stringDirective',
  ideftok: 'stringDirective',
  strlen: 'stringDirective',
  substr: 'stringDirective',
  strcat: 'stringDirective',
  macro: 'macroDirective',
  imacro: 'macroDirective',
  rmacro: 'macroDirective',
  irmacro: 'macroDirective',
  unmacro: 'unmacroDirective',
  unimacro: 'unmacroDirective',
  rep: 'repeatDirective',
  exitrep: 'exitDirective',
  exitmacro: 'exitDirective',
  rotate: 'rotateDirective',
  include: 'includeDirective',
  use: 'useDirective',
  depend: 'ignoredDirective',
  pathsearch: 'pathDirective',
  defalias: 'aliasDirective',
  idefalias: 'aliasDirective',
  undefalias: 'aliasDirective',
  aliases: 'ignoredDirective',
  push: 'contextDirective',
  pop: 'contextDirective',
  repl: 'contextDirective',
  error: 'messageDirective',
  warning: 'messageDirective',
  fatal: 'messageDirective',
  line: 'lineDirective',
  pragma: 'ignoredDirective',
  clear: 'clearDirective',
  arg: 'stackDirective',
  local: 'stackDirective',
  stacksize: 'stackDirective',
};

function stringText(token: Token | undefined): string {
  if (token?.kind !== 'string') return '';
  return new TextDecoder().decode(stringBytes(token.text));
}

const packageNameIn = (tokens: readonly Token[]): string => {
  const [token] = tokens;
  return (token?.kind === 'string' ? stringText(token) : (token?.text ?? '')).toLowerCase();
};
