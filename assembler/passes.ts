/**
 * One pass over the statements, and what lasts from pass to pass: labels, sections, parsed
 * statements. A pass places; the final pass also writes bytes, lines and the listing.
 */
import type { EncodeOperand, EncodeResult, Prefixes } from '../isa/index.ts';
import { encode, type NamedRegister, registersByName } from '../isa/index.ts';
import type {
  AssembledSection,
  AssembledSymbol,
  AssembleOptions,
  InstructionMark,
  LineEntry,
} from './assembly.ts';
import { runDirective } from './directives.ts';
import {
  constant,
  ExpressionError,
  evaluate,
  type Hint,
  isPlain,
  isRegister,
  type Node,
  type Scope,
  UNKNOWN,
  type Value,
} from './expressions.ts';
import type { Filler } from './fillers.ts';
import type { ListingItem } from './formats/listing.ts';
import type { Token } from './lexer.ts';
import { rangeOf, textOf } from './lexer.ts';
import { floatBits, stringBytes } from './literals.ts';
import type { NameCollector, NameFacts } from './names.ts';
import type { PreprocessedLine } from './preprocessor.ts';
import { defaultAttributes, Section, SectionStart } from './sections.ts';
import type { DataItem, ParsedOperand, Statement } from './statements.ts';
import { parseStatement } from './statements.ts';

type Report = (severity: 'error' | 'warning', message: string, tokens: readonly Token[]) => void;

export interface Label {
  readonly name: string;
  readonly token: Token;
  value: Value;
  kind: 'label' | 'equ';
  section: Section | undefined;
  offset: bigint;
  /** The pass that defined it last. */
  pass: number;
  parent: string | undefined;
}

const MAX_BYTES = 64 * 1024 * 1024;

/** What all passes share. */
export class Program {
  readonly format: 'bin' | 'elf64';
  readonly names: NameCollector;
  readonly report: Report;
  readonly sections = new Map<string, Section>();
  readonly labels = new Map<string, Label>();
  readonly globals = new Map<string, Token>();
  readonly externs = new Map<string, Token>();
  readonly lines: LineEntry[] = [];
  readonly parsed = new Map<PreprocessedLine, Statement | null>();
  readonly encoded = new Map<Statement, { bits: number; rel: boolean; result: EncodeResult }>();
  readonly undefinedNames = new Set<string>();
  readonly files = new Map<string, Uint8Array | undefined>();
  readonly drafts: { entry: LineEntry; section: Section; offset: number }[] = [];
  readonly marks: { mark: InstructionMark; section: Section; offset: number }[] = [];
  /** See AssembleOptions. */
  isPart = false;
  readFile: NonNullable<AssembleOptions['readFile']> = () => undefined;
  origin: bigint | undefined;
  passes = 0;
  incomplete = false;
  tooLarge = false;

  constructor(format: 'bin' | 'elf64', names: NameCollector, report: Report) {
    this.format = format;
    this.names = names;
    this.report = report;
  }

  section(name: string): Section {
    let section = this.sections.get(name);
    if (section === undefined) {
      section = new Section(name, defaultAttributes(name, this.format));
      this.sections.set(name, section);
    }
    return section;
  }

  /** What `section.NAME.start` and `section.NAME.vstart` stand for in a flat image. */
  placeOf(name: string): Section | SectionStart | undefined {
    const match = this.format === 'bin' ? /^section\.(.+)\.(v?start)$/.exec(name) : null;
    const section = this.sections.get(match?.[1] ?? '');
    return match?.[2] === 'start' ? section?.start : section;
  }

  addressOf(label: Label): bigint {
    return BigInt.asUintN(64, label.offset + (label.section?.address ?? 0n));
  }

  factsOf(name: string): NameFacts | undefined {
    const label = this.labels.get(name);
    if (label === undefined) return undefined;
    const value = this.addressOf(label);
    const global = this.globals.has(name);
    return label.section === undefined
      ? { value, global }
      : { section: label.section.name, value, global };
  }

  sectionList(): readonly AssembledSection[] {
    return [...this.sections.values()].map(({ name, address, size, fileOffset }) => ({
      name,
      address,
      lengthBytes: size,
      fileOffset,
    }));
  }

  symbolList(): readonly AssembledSymbol[] {
    const ends = new Map<string, bigint[]>();
    for (const { section, offset, kind, name } of this.labels.values()) {
      if (kind !== 'label' || section === undefined || name.includes('.')) continue;
      ends.set(section.name, [...(ends.get(section.name) ?? []), offset]);
    }
    for (const list of ends.values()) list.sort((a, b) => (a < b ? -1 : 1));
    return [...this.labels.values()]
      .filter(({ name, pass }) => pass === this.passes && !name.startsWith('..@'))
      .map((label): AssembledSymbol => {
        const { name, kind, section, token, offset } = label;
        const location = { path: token.place.path, range: rangeOf([token]) };
        const common = {
          name,
          address: this.addressOf(label),
          global: this.globals.has(name),
          kind,
          location,
        };
        if (section === undefined) return common;
        const list = ends.get(section.name) ?? [];
        const next = list[firstAbove(list, offset)] ?? BigInt(section.size);
        return { ...common, section: section.name, sizeBytes: Number(next - offset) };
      });
  }

  /** Gives the line entries and instruction marks their final addresses. */
  finishLines(): void {
    for (const { entry, section, offset } of this.drafts) {
      this.lines.push({ ...entry, address: section.address + BigInt(offset) });
    }
    for (const { mark, section, offset } of this.marks) {
      const bytes = section.contents().slice(offset, offset + mark.lengthBytes);
      this.names.instructions.push({ ...mark, bytes, address: section.address + BigInt(offset) });
    }
  }
}

function firstAbove(sorted: readonly bigint[], value: bigint): number {
  let low = 0;
  let high = sorted.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if ((sorted[middle] ?? 0n) > value) high = middle;
    else low = middle + 1;
  }
  return low;
}

const PREFIX_BYTES: Record<string, number> = {
  rep: 0xf3,
  repe: 0xf3,
  repz: 0xf3,
  xrelease: 0xf3,
  repne: 0xf2,
  repnz: 0xf2,
  xacquire: 0xf2,
  bnd: 0xf2,
};

/** One pass. */
export class Pass implements Scope {
  readonly program: Program;
  readonly final: boolean;
  readonly listing: ListingItem[] = [];
  section: Section | undefined;
  bits: 16 | 32 | 64;
  relative = false;
  changes = 0;
  /** In `absolute` and inside a struc: the running offset, which is nowhere. */
  absolute: Value | undefined;
  struc:
    | { name: string; section: Section | undefined; absolute: Value | undefined; token: Token }
    | undefined;
  istruc: { name: string; start: number } | undefined;
  /** `__?SECT?__`: the directive that last chose a section without brackets. */
  sect = '[section .text]';
  /** Whether `align` also aligns the section: `sectalign on`. */
  alignsSection = true;
  /** How `align` fills, after `alignmode`. */
  filler: Filler | undefined;
  hint: Hint = { type: 'none' };
  private parent = '';
  /** Inside of `times`, `$` stays where the first repetition stands. */
  private pinned: number | undefined;
  private current: PreprocessedLine | undefined;

  constructor(program: Program, final: boolean) {
    this.program = program;
    this.final = final;
    this.bits = program.format === 'bin' ? 16 : 64;
    program.passes++;
    for (const section of program.sections.values()) section.reset();
    this.section = program.section('.text');
  }

  /** A local name with its parent in front. */
  fullName(name: string): string {
    return name.startsWith('.') && !name.startsWith('..') ? this.parent + name : name;
  }

  problem(
    message: string,
    tokens: readonly Token[],
    severity: 'error' | 'warning' = 'error',
  ): void {
    if (this.final) this.program.report(severity, message, tokens);
  }

  /** Places one line. */
  line(line: PreprocessedLine): void {
    if (this.program.tooLarge) return;
    this.current = line;
    let statement = this.program.parsed.get(line);
    if (statement === undefined) {
      try {
        statement = parseStatement(line.tokens, (name) => this.fullName(name));
      } catch (error) {
        if (!(error instanceof ExpressionError)) throw error;
        statement = null;
        this.program.report(
          'error',
          error.message,
          error.tokens.length > 0 ? error.tokens : line.tokens,
        );
        this.recoverLabel(line.tokens);
      }
      this.program.parsed.set(line, statement);
    } else if (statement === null) this.recoverLabel(line.tokens);
    const before = this.offset;
    const section = this.section;
    if (statement !== null) this.guarded(statement, () => this.statement(statement));
    if (this.final) this.list(line, section, before);
  }

  /** A label in front of a mistake still counts, so that its uses are no further mistakes. */
  private recoverLabel(tokens: readonly Token[]): void {
    const [first, second] = tokens;
    if (first?.kind === 'id' && (second?.text === ':' || second?.text.toLowerCase() === 'equ')) {
      this.defineLabel(this.fullName(first.text), first);
    }
  }

  finish(): void {
    if (this.struc !== undefined) this.problem('`struc` has no `endstruc`.', [this.struc.token]);
  }

  private guarded(statement: Statement, action: () => void): void {
    try {
      action();
    } catch (error) {
      if (!(error instanceof ExpressionError)) throw error;
      this.problem(error.message, error.tokens.length > 0 ? error.tokens : statement.tokens);
    }
  }

  get offset(): number {
    return this.absolute === undefined
      ? (this.section?.size ?? 0)
      : Number(BigInt.asIntN(64, this.absolute.number));
  }

  advance(bytes: number): void {
    if (this.absolute !== undefined) {
      this.absolute = { ...this.absolute, number: this.absolute.number + BigInt(bytes) };
    } else if (this.section !== undefined) this.section.size += bytes;
  }

  here(): Value {
    if (this.absolute !== undefined) return this.absolute;
    return this.sectionValue(this.pinned ?? this.section?.size ?? 0);
  }

  base(): Value {
    return this.absolute === undefined ? this.sectionValue(0) : constant(0n);
  }

  checkFrame(frame: string, token: Token): void {
    const { format, isPart } = this.program;
    // One program without shared objects calls and names its symbols directly.
    if (format !== 'bin' && (isPart || /^\.\.(plt|sym)$/.test(frame))) return;
    const reason =
      format === 'bin' ? 'a flat image has no such table' : 'this link makes no such table';
    throw new ExpressionError(`Nothing is addressed by way of \`${frame}\`: ${reason}.`, [token]);
  }

  private sectionValue(offset: number): Value {
    const terms: Value['terms'] = this.section === undefined ? [] : [[this.section, 1n]];
    return { number: BigInt(offset), terms, unknown: false };
  }

  symbol(name: string, token: Token): Value {
    const { program } = this;
    const label = program.labels.get(name);
    if (this.final || program.passes === 1) program.names.refer(name, token);
    if (label !== undefined) return label.value;
    const place = program.placeOf(name);
    if (place !== undefined) return { number: 0n, terms: [[place, 1n]], unknown: false };
    if (program.passes === 1) return UNKNOWN;
    if (program.externs.has(name) && (program.isPart || LINKER_SYMBOLS.has(name))) return UNKNOWN;
    if (this.final && !program.undefinedNames.has(name)) {
      program.undefinedNames.add(name);
      if (!program.incomplete) {
        const extern = program.externs.has(name);
        this.problem(
          extern
            ? `\`${name}\` is \`extern\`, but nothing defines it; the program is linked from this source alone.`
            : `\`${name}\` is not defined.`,
          [token],
        );
      }
    }
    return UNKNOWN;
  }

  /** Defines a label here, or with a given value. */
  defineLabel(name: string, token: Token, value?: Value, detail?: string): void {
    const { program } = this;
    const isEqu = value !== undefined;
    const actual = value ?? this.here();
    const known = program.labels.get(name);
    if (
      known !== undefined &&
      known.pass === program.passes &&
      !(isEqu && sameValue(known.value, actual))
    ) {
      const { place } = known.token;
      this.problem(`\`${name}\` is defined already, in line ${place.line} of ${place.path}.`, [
        token,
      ]);
      return;
    }
    const segment = actual.terms[0]?.[0];
    const section = segment instanceof Section ? segment : undefined;
    const local = name.includes('.') && !name.startsWith('..');
    const parent = this.struc?.name ?? (local ? name.slice(0, name.lastIndexOf('.')) : undefined);
    if (known === undefined) {
      this.changes++;
      program.labels.set(name, {
        name,
        token,
        value: actual,
        kind: isEqu || this.absolute !== undefined ? 'equ' : 'label',
        section,
        offset: actual.number,
        pass: program.passes,
        parent,
      });
    } else {
      if (!sameValue(known.value, actual)) this.changes++;
      Object.assign(known, { value: actual, section, offset: actual.number, pass: program.passes });
    }
    if (program.passes === 1 || this.final) {
      const kind =
        this.struc !== undefined
          ? name === this.struc.name
            ? 'struc'
            : 'member'
          : isEqu
            ? 'equ'
            : 'label';
      program.names.define(kind, name, token, detail ?? name, undefined, parent);
    }
    if (!isEqu && !name.startsWith('.') && !local && !name.startsWith('..@')) this.parent = name;
  }

  /** Runs a statement that a directive contains, such as what follows `at`. */
  nested(statement: Statement): void {
    this.statement(statement);
  }

  private statement(statement: Statement): void {
    const { label, body, times } = statement;
    if (body.type === 'equ') {
      this.equ(statement, body.operand);
      return;
    }
    if (label !== undefined) {
      this.defineLabel(label.name, label.token, undefined, textOf(statement.tokens.slice(0, 12)));
    }
    let count = 1;
    if (times !== undefined) {
      const value = evaluate(times.node, this);
      if (!isPlain(value) && !value.unknown) {
        throw new ExpressionError('`times` needs a number; this is an address.', times.tokens);
      }
      const wanted = BigInt.asIntN(64, value.number);
      if (wanted < 0n)
        throw new ExpressionError(
          `\`times\` needs a count of 0 or more, not ${wanted}.`,
          times.tokens,
        );
      if (wanted > BigInt(MAX_BYTES))
        throw new ExpressionError(
          `\`times\` repeats at most ${MAX_BYTES} times, not ${wanted}.`,
          times.tokens,
        );
      count = Number(wanted);
    }
    if (count === 1) this.body(statement);
    else this.repeat(statement, count);
  }

  /** Repeats; where the body is the same each time, its bytes are copied. */
  private repeat(statement: Statement, count: number): void {
    const { body } = statement;
    const start = this.offset;
    if (count === 0) return;
    const { section } = this;
    const fixupsBefore = section?.fixups.length ?? 0;
    this.body(statement);
    const size = this.offset - start;
    const same =
      body.type === 'reserve' ||
      (body.type !== 'directive' && section?.fixups.length === fixupsBefore && !usesHere(body));
    if (!same) {
      this.pinned = this.absolute === undefined ? start : undefined;
      for (let i = 1; i < count && !this.program.tooLarge; i++) {
        this.checkSize(start + size);
        this.body(statement);
        if (this.offset > MAX_BYTES) break;
      }
      this.pinned = undefined;
      return;
    }
    this.checkSize(start + size * count);
    if (this.program.tooLarge) return;
    if (
      this.final &&
      section !== undefined &&
      this.absolute === undefined &&
      body.type !== 'reserve'
    ) {
      const one = section.contents().slice(start, start + size);
      const all = new Uint8Array(size * (count - 1));
      for (let i = 0; i < count - 1; i++) all.set(one, i * size);
      section.write(start + size, all);
    }
    this.advance(size * (count - 1));
  }

  private checkSize(size: number): void {
    if (size <= MAX_BYTES || this.program.tooLarge) return;
    this.program.tooLarge = true;
    this.program.report(
      'error',
      `The section grows beyond ${MAX_BYTES} bytes.`,
      this.current?.tokens ?? [],
    );
  }

  private body(statement: Statement): void {
    const { body } = statement;
    switch (body.type) {
      case 'none':
        if (statement.prefixes.length > 0) this.emitPrefixes(statement);
        return;
      case 'directive':
        runDirective(this, body.name, body.token, body.tokens, statement);
        return;
      case 'reserve':
        this.reserve(body.count, body.bytes, body.tokens);
        return;
      case 'data':
        this.data(body.items, body.bytes, statement);
        return;
      case 'incbin':
        this.incbin(body.file, body.numbers, statement);
        return;
      case 'instruction':
        this.instruction(statement, body.mnemonic, body.operands);
        return;
      case 'equ':
        return;
    }
  }

  private equ(statement: Statement, operand: ParsedOperand): void {
    const { label } = statement;
    if (label === undefined)
      throw new ExpressionError('`equ` needs a name before it.', statement.tokens);
    if (operand.memory)
      throw new ExpressionError('`equ` needs a value, not a memory operand.', operand.tokens);
    const value = evaluate(operand.offset ?? operand.node, this);
    if (value.terms.length > 1 || value.terms.some(([key, by]) => isRegister(key) || by !== 1n)) {
      throw new ExpressionError('`equ` needs a number or an address.', operand.tokens);
    }
    if (value.unknown) {
      if (this.final)
        this.defineLabel(label.name, label.token, constant(0n), textOf(statement.tokens));
      else this.changes++;
      return;
    }
    this.defineLabel(label.name, label.token, value, textOf(statement.tokens));
  }

  /** A number that must be known now. */
  number(node: Node, tokens: readonly Token[], what: string): number {
    const value = evaluate(node, this);
    if (!isPlain(value) && !value.unknown) {
      throw new ExpressionError(`${what} needs a number; this is an address.`, tokens);
    }
    const number = BigInt.asIntN(64, value.number);
    if (number < -(2n ** 52n) || number > 2n ** 52n) {
      throw new ExpressionError(`${what} cannot be ${number}.`, tokens);
    }
    return Number(number);
  }

  private reserve(count: Node, bytes: number, tokens: readonly Token[]): void {
    const size = this.number(count, tokens, 'The size of a reservation') * bytes;
    if (size < 0) throw new ExpressionError('The size of a reservation is negative.', tokens);
    if (this.absolute === undefined && this.section?.attributes.nobits !== true)
      this.checkSize(this.offset + size);
    if (!this.program.tooLarge) this.advance(size);
  }

  /** Appends bytes to the section; in a section without contents, to its length only. */
  emit(bytes: ArrayLike<number>, kind: LineEntry['kind']): void {
    const { section } = this;
    const start = this.offset;
    if (this.absolute !== undefined && bytes.length > 0) {
      throw new ExpressionError(
        'Nothing can be assembled here, only reserved: this is no section, but offsets.',
        [],
      );
    }
    this.checkSize(start + bytes.length);
    if (this.program.tooLarge) return;
    this.advance(bytes.length);
    if (!this.final || section === undefined || this.absolute !== undefined) return;
    if (!section.attributes.nobits) section.write(start, bytes);
    else if (bytes.length > 0)
      this.problem(
        `\`${section.name}\` has no contents; use \`resb\` and its like.`,
        this.current?.tokens ?? [],
        'warning',
      );
    if (bytes.length > 0) this.lineEntry(section, start, bytes.length, kind);
  }

  private lineEntry(
    section: Section,
    offset: number,
    lengthBytes: number,
    kind: LineEntry['kind'],
  ): void {
    const { current } = this;
    if (current === undefined) return;
    const { place, column, expansion } = current;
    const entry: LineEntry = {
      address: 0n,
      lengthBytes,
      path: place.path,
      line: place.line,
      column,
      section: section.name,
      kind,
      ...(expansion === undefined ? {} : { expansion }),
    };
    this.program.drafts.push({ entry, section, offset });
  }

  private data(items: readonly DataItem[], bytes: number, statement: Statement): void {
    if (items.length === 0)
      this.problem('The data directive has no values.', statement.tokens, 'warning');
    const start = this.offset;
    const out: number[] = [];
    this.items(items, bytes, out, start, statement);
    this.emit(out, 'data');
  }

  private items(
    items: readonly DataItem[],
    bytes: number,
    out: number[],
    start: number,
    statement: Statement,
  ): void {
    for (const item of items) {
      switch (item.type) {
        case 'gap':
          for (let i = 0; i < bytes; i++) out.push(0);
          break;
        case 'sized':
          this.items(item.items, item.bytes, out, start, statement);
          break;
        case 'string': {
          const before = out.length;
          const text = stringBytes(item.token.text);
          for (const byte of text) out.push(byte);
          while ((out.length - before) % bytes !== 0) out.push(0);
          break;
        }
        case 'float': {
          const bits = floatBits(item.token.text, bytes, item.negative);
          if (bits === undefined) {
            throw new ExpressionError(`A floating-point number cannot be ${bytes} bytes long.`, [
              item.token,
            ]);
          }
          pushNumber(out, bits, bytes);
          break;
        }
        case 'repeat': {
          const count = this.number(item.count, item.tokens, '`dup`');
          if (count < 0)
            throw new ExpressionError('`dup` needs a count of 0 or more.', item.tokens);
          for (let i = 0; i < count; i++) {
            this.items(item.items, bytes, out, start, statement);
            this.checkSize(start + out.length);
            if (this.program.tooLarge) return;
          }
          break;
        }
        case 'value': {
          const value = evaluate(item.node, this);
          this.checkNumber(value, bytes * 8, false, item.tokens);
          if (bytes > 8 && isPlain(value) && this.final) {
            throw new ExpressionError(
              `An integer cannot be ${bytes} bytes long; write a floating-point number.`,
              item.tokens,
            );
          }
          this.field(value, start + out.length, bytes, undefined, false, item.tokens, out);
          break;
        }
      }
    }
  }

  /** Writes a value, or a placeholder with a fixup for what is known only after placing. */
  private field(
    value: Value,
    at: number,
    bytes: number,
    relativeTo: number | undefined,
    signed: boolean,
    tokens: readonly Token[],
    out: number[] | undefined,
    into?: { bytes: number[]; offset: number },
  ): void {
    const plain = value.terms.length === 0 && relativeTo === undefined;
    const write = (number: bigint) => {
      if (out !== undefined) pushNumber(out, number, bytes);
      else if (into !== undefined) {
        for (let i = 0; i < bytes; i++)
          into.bytes[into.offset + i] = Number(BigInt.asUintN(8, number >> BigInt(8 * i)));
      }
    };
    if (plain) {
      write(value.number);
      return;
    }
    write(0n);
    if (!this.final || this.section === undefined) return;
    const positive = value.terms.filter(([, by]) => by === 1n);
    const negative = value.terms.filter(([, by]) => by === -1n);
    const target = positive[0]?.[0];
    const own = negative[0]?.[0];
    const ok =
      positive.length <= 1 &&
      negative.length <= 1 &&
      positive.length + negative.length === value.terms.length;
    const segment =
      target instanceof Section || target instanceof SectionStart ? target : undefined;
    if (
      !ok ||
      (own !== undefined && own !== this.section) ||
      (target !== undefined && segment === undefined)
    ) {
      throw new ExpressionError('Expected a number or an address plus a number.', tokens);
    }
    // `label - $` of two sections: relative to the start of this one.
    const from = own === undefined ? relativeTo : (relativeTo ?? 0);
    this.section.fixups.push({
      offset: at,
      bytes,
      number: value.number,
      segment,
      relativeTo: from,
      signed,
      tokens,
    });
  }

  private checkNumber(value: Value, bits: number, signed: boolean, tokens: readonly Token[]): void {
    if (!this.final || bits >= 64 || !isPlain(value)) return;
    const number = BigInt.asIntN(64, value.number);
    const most = signed ? 1n << BigInt(bits - 1) : 1n << BigInt(bits);
    if (number >= -(1n << BigInt(bits - 1)) && number < most) return;
    this.problem(
      `The value ${number} does not fit ${signed ? 'a signed field of ' : ''}${bits} bits.`,
      tokens,
      'warning',
    );
  }

  private incbin(file: Token, numbers: readonly Node[], statement: Statement): void {
    const { program } = this;
    const name = new TextDecoder().decode(stringBytes(file.text));
    const key = `${file.place.path}\u0000${name}`;
    if (!program.files.has(key)) {
      const found = program.readFile(name, file.place.path);
      program.files.set(key, found?.bytes);
      program.names.includes.push({
        kind: 'incbin',
        name,
        path: file.place.path,
        range: rangeOf([file]),
        ...(found === undefined ? {} : { target: found.path }),
      });
    }
    const bytes = program.files.get(key);
    if (bytes === undefined)
      throw new ExpressionError(`The file \`${name}\` cannot be read.`, [file]);
    const [skip = 0, length] = numbers.map((node) =>
      this.number(node, statement.tokens, '`incbin`'),
    );
    const from = Math.max(0, skip);
    this.emit(
      bytes.subarray(from, length === undefined ? undefined : from + Math.max(0, length)),
      'data',
    );
  }

  private emitPrefixes(statement: Statement): void {
    const bytes = statement.prefixes.map(({ word }) => {
      const segment = registersByName.get(word);
      if (segment !== undefined) return [0x26, 0x2e, 0x36, 0x3e, 0x64, 0x65][segment.number] ?? 0;
      if (word === 'lock') return 0xf0;
      if (/^[o]/.test(word)) return 0x66;
      return /^a/.test(word) ? 0x67 : (PREFIX_BYTES[word] ?? 0x90);
    });
    this.emit(bytes, 'instruction');
  }

  private instruction(
    statement: Statement,
    mnemonic: string,
    operands: readonly ParsedOperand[],
  ): void {
    const { program, bits, relative } = this;
    const cached = program.encoded.get(statement);
    let result: EncodeResult;
    let values: readonly Value[] = [];
    if (cached !== undefined && cached.bits === bits && cached.rel === relative)
      result = cached.result;
    else {
      const prepared = operands.map((operand) => this.prepare(operand, statement));
      values = prepared.map(({ value }) => value);
      const prefixes = readPrefixes(statement, operands);
      const here = {
        segment: this.absolute === undefined ? this.section : undefined,
        offset: BigInt(this.offset),
      };
      result = encode({
        mnemonic,
        operands: prepared.map(({ operand }) => operand),
        prefixes,
        bits,
        here,
      });
      const fits = (value: Value, bits: number) =>
        bits >= 64 ||
        (BigInt.asIntN(64, value.number) >= -(1n << BigInt(bits - 1)) &&
          BigInt.asIntN(64, value.number) < 1n << BigInt(bits - 1));
      const fixed = operands.every(
        (operand) =>
          isConstant(operand.node) && operand.offset === undefined && operand.split === undefined,
      );
      const branch = 'fields' in result && result.fields.some((field) => field.relative);
      const simple =
        'fields' in result &&
        result.fields.every(({ operand, bytes: count }) =>
          fits(values[operand] ?? constant(0n), count * 8),
        );
      if (fixed && simple && !branch && 'bytes' in result) {
        // Every pass would encode the same: keep the bytes with their values written.
        const bytes = [...result.bytes];
        for (const { offset, bytes: count, operand } of result.fields) {
          const value = values[operand] ?? constant(defaultValue(mnemonic));
          this.field(value, 0, count, undefined, false, [], undefined, { bytes, offset });
        }
        if (this.final) this.checkFields(result, values, operands);
        else
          program.encoded.set(statement, {
            bits,
            rel: relative,
            result: { ...result, bytes, fields: [] },
          });
        result = { ...result, bytes, fields: [] };
      }
    }
    if ('error' in result) {
      const token = statement.body.type === 'instruction' ? statement.body.token : undefined;
      const last = operands.at(-1)?.tokens ?? [];
      const anyUnknown = values.some(({ unknown }) => unknown);
      if (!anyUnknown || !this.final)
        this.problem(result.error, token === undefined ? statement.tokens : [token, ...last]);
      return;
    }
    const bytes = result.fields.length === 0 ? result.bytes : [...result.bytes];
    const start = this.offset;
    const end = start + bytes.length;
    for (const { offset, bytes: count, operand, relative: counts, signed } of result.fields) {
      const value = values[operand] ?? constant(defaultValue(mnemonic));
      const tokens = operands[operand]?.tokens ?? statement.tokens;
      this.field(
        value,
        start + offset,
        count,
        counts ? end : undefined,
        signed,
        tokens,
        undefined,
        { bytes, offset },
      );
    }
    if (this.final) this.checkFields(result, values, operands);
    this.emit(bytes, 'instruction');
    if (this.final && this.section !== undefined && statement.body.type === 'instruction') {
      const { token } = statement.body;
      const mark: InstructionMark = {
        mnemonic,
        path: token.place.path,
        range: rangeOf([token]),
        address: 0n,
        lengthBytes: bytes.length,
        bytes: new Uint8Array(0),
        form: result.form.text,
        bits,
      };
      program.marks.push({ mark, section: this.section, offset: start });
    }
  }

  private checkFields(
    result: EncodeResult,
    values: readonly Value[],
    operands: readonly ParsedOperand[],
  ): void {
    if ('error' in result) return;
    for (const { bytes, operand, relative, signed } of result.fields) {
      const value = values[operand];
      if (value === undefined || relative) continue;
      this.checkNumber(value, bytes * 8, signed && bytes === 4, operands[operand]?.tokens ?? []);
    }
  }

  private prepare(
    parsed: ParsedOperand,
    statement: Statement,
  ): { operand: EncodeOperand; value: Value } {
    this.hint = { type: 'none' };
    const value = evaluate(parsed.offset ?? parsed.node, this);
    if (parsed.memory)
      return {
        operand: this.memory(parsed, value, statement),
        value: this.displacement(value, parsed),
      };
    if (parsed.offset !== undefined) {
      const selector = evaluate(parsed.node, this);
      const size = parsed.offsetBits ?? parsed.sizeBits;
      return {
        operand: {
          kind: 'far',
          selector: selector.number,
          value: value.number,
          segment: segmentOf(value),
          sizeBits: size,
        },
        value,
      };
    }
    const [term] = value.terms;
    if (term !== undefined && isRegister(term[0])) {
      if (value.terms.length > 1 || term[1] !== 1n || value.number !== 0n) {
        throw new ExpressionError(
          'A register cannot be computed with outside of brackets.',
          parsed.tokens,
        );
      }
      const decorators = {
        ...(parsed.mask === undefined ? {} : { mask: parsed.mask }),
        ...(parsed.zeroing === undefined ? {} : { zeroing: true }),
        ...(parsed.to === undefined ? {} : { to: true }),
      };
      return { operand: { kind: 'register', register: term[0], ...decorators }, value };
    }
    const { sizeBits, strict, distance } = parsed;
    return {
      operand: {
        kind: 'immediate',
        value: BigInt.asIntN(64, value.number),
        segment: segmentOf(value),
        unknown: value.unknown,
        sizeBits,
        strict,
        distance,
      },
      value,
    };
  }

  private displacement(value: Value, parsed: ParsedOperand): Value {
    const terms = value.terms.filter(([key]) => !isRegister(key));
    void parsed;
    return { ...value, terms };
  }

  private memory(parsed: ParsedOperand, value: Value, statement: Statement): EncodeOperand {
    const registers = value.terms
      .filter((term): term is readonly [NamedRegister, bigint] => isRegister(term[0]))
      .sort((a, b) => a[0].order - b[0].order);
    let base: NamedRegister | undefined;
    let index: NamedRegister | undefined;
    let scale = 0;
    for (const [register, by] of registers) {
      const general = /^r(16|32|64)$/.test(register.class);
      if (general && by === 1n && base === undefined) base = register;
      else if (index === undefined) {
        index = register;
        scale = Number(by);
      } else
        throw new ExpressionError(
          'An address has one base and one index register at most.',
          parsed.tokens,
        );
    }
    if (parsed.split !== undefined) {
      const [part] = evaluate(parsed.split, this).terms;
      if (part === undefined || !isRegister(part[0]) || index !== undefined) {
        throw new ExpressionError('Expected an index register after the comma.', parsed.tokens);
      }
      [index, scale] = [part[0], Number(part[1])];
    }
    const segment = segmentOf(value);
    const fsGs = this.segmentPrefix(parsed, statement);
    const wantsRelative =
      parsed.addressing === 'rel' || (parsed.addressing !== 'abs' && this.relative && !fsGs);
    const bare = base === undefined && index === undefined;
    const ripRelative =
      this.bits === 64 && bare && wantsRelative && (segment !== undefined || value.unknown);
    if (parsed.addressing === 'rel' && bare && this.bits === 64 && !ripRelative) {
      this.problem(
        'A plain number cannot be addressed relative to rip; the address is absolute.',
        parsed.tokens,
        'warning',
      );
    }
    const { hint } = this;
    return {
      kind: 'memory',
      base,
      index,
      scale,
      value: BigInt.asIntN(64, value.number),
      segment,
      unknown: value.unknown,
      sizeBits: parsed.sizeBits,
      displacementBits: parsed.displacementBits,
      ripRelative,
      noSplit: parsed.noSplit,
      distance: parsed.distance,
      ...(hint.type === 'none'
        ? {}
        : {
            hint: {
              type: hint.type,
              ...(hint.register === undefined ? {} : { register: hint.register }),
            },
          }),
      ...(parsed.mask === undefined ? {} : { mask: parsed.mask }),
      ...(parsed.zeroing === undefined ? {} : { zeroing: true }),
      ...(parsed.broadcast === undefined ? {} : { broadcast: parsed.broadcast }),
    };
  }

  private segmentPrefix(parsed: ParsedOperand, statement: Statement): boolean {
    const words = [parsed.segment?.name, ...statement.prefixes.map(({ word }) => word)];
    return words.includes('fs') || words.includes('gs');
  }

  private list(line: PreprocessedLine, section: Section | undefined, before: number): void {
    const grew = section !== undefined && section === this.section && this.absolute === undefined;
    const size = grew ? section.size - before : 0;
    this.listing.push({
      line: line.place.line,
      text: line.text,
      section,
      offset: before,
      size,
      depth: line.expansion?.length ?? 0,
    });
  }
}

const LINKER_SYMBOLS = new Set(['_end', '_edata', '__bss_start']);

function pushNumber(out: number[], value: bigint, bytes: number): void {
  let rest = BigInt.asUintN(bytes * 8, bytes > 8 ? value : BigInt.asIntN(64, value));
  for (let i = 0; i < bytes; i++) {
    out.push(Number(rest & 0xffn));
    rest >>= 8n;
  }
}

const sameValue = (a: Value, b: Value): boolean =>
  a.number === b.number && a.terms.length === b.terms.length && a.terms[0]?.[0] === b.terms[0]?.[0];

function segmentOf(value: Value): object | undefined {
  return value.terms.find(([key]) => !isRegister(key))?.[0];
}

const defaultValue = (mnemonic: string): bigint => (/^aa[dm]$/.test(mnemonic) ? 10n : 0n);

function isConstant(node: Node): boolean {
  switch (node.type) {
    case 'number':
    case 'register':
      return true;
    case 'unary':
      return isConstant(node.operand);
    case 'binary':
      return isConstant(node.left) && isConstant(node.right);
    default:
      return false;
  }
}

function usesHere(body: Statement['body']): boolean {
  if (body.type === 'data')
    return !body.items.every((item) =>
      item.type !== 'value' && item.type !== 'repeat'
        ? true
        : item.type === 'value' && isConstant(item.node),
    );
  if (body.type === 'instruction')
    return !body.operands.every(({ node, offset }) => isConstant(node) && offset === undefined);
  return false;
}

type Draft = { -readonly [K in keyof Prefixes]: Prefixes[K] };

function readPrefixes(statement: Statement, operands: readonly ParsedOperand[]): Prefixes {
  const draft: Draft = {};
  for (const { word } of statement.prefixes) {
    const segment = registersByName.get(word);
    const repeat = PREFIX_BYTES[word];
    if (segment !== undefined) draft.segment = segment;
    else if (repeat !== undefined) draft.repeat = repeat;
    else if (word === 'lock') draft.lock = true;
    else if (/^o\d/.test(word)) draft.operandSize = Number(word.slice(1));
    else if (/^a\d/.test(word)) draft.addressSize = Number(word.slice(1));
    else if (/^\{(rex|vex|vex2|vex3|evex)\}$/.test(word)) {
      draft.encoding = word.slice(1, -1) as NonNullable<Prefixes['encoding']>;
    }
  }
  for (const { segment } of operands) if (segment !== undefined) draft.segment = segment;
  return draft;
}
