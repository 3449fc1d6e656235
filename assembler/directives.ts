/** The assembler's directives, each by its name, with or without brackets. */
import { constant, ExpressionError, ExpressionParser, evaluate, type Node } from './expressions.ts';
import { fillerBytes, fillerNamed } from './fillers.ts';
import type { Token } from './lexer.ts';
import { rangeOf, textOf } from './lexer.ts';
import type { Pass } from './passes.ts';
import type { Section } from './sections.ts';
import type { Statement } from './statements.ts';
import { parseStatement, splitOperands } from './statements.ts';

interface Call {
  readonly pass: Pass;
  readonly token: Token;
  readonly tokens: readonly Token[];
  readonly statement: Statement;
}

/** Runs a directive; throws `ExpressionError` for a mistake in it. */
export function runDirective(
  pass: Pass,
  name: string,
  token: Token,
  tokens: readonly Token[],
  statement: Statement,
): void {
  const run = DIRECTIVES[name];
  if (run === undefined)
    throw new ExpressionError(`\`${token.text}\` is not a directive.`, [token]);
  run({ pass, token, tokens, statement });
}

function parse({ pass, tokens, token }: Call, part: readonly Token[] = tokens): Node {
  if (part.length === 0)
    throw new ExpressionError(`Expected a value after \`${token.text}\`.`, [token]);
  const parser = new ExpressionParser(part, (name) => pass.fullName(name));
  const node = parser.parse();
  const rest = parser.peek();
  if (rest !== undefined)
    throw new ExpressionError(`Expected the end of the directive instead of \`${rest.text}\`.`, [
      rest,
    ]);
  return node;
}

function number(call: Call, part: readonly Token[] = call.tokens): number {
  return call.pass.number(parse(call, part), part, `\`${call.token.text}\``);
}

function setBits({ pass }: Call, bits: number, tokens: readonly Token[]): void {
  if (bits !== 16 && bits !== 32 && bits !== 64) {
    throw new ExpressionError('Expected `bits 16`, `bits 32` or `bits 64`.', tokens);
  }
  pass.bits = bits;
}

function section(call: Call): void {
  const { pass, tokens, token } = call;
  const first = tokens[0];
  if (first === undefined) throw new ExpressionError('Expected the name of a section.', [token]);
  let at = 1;
  let name = first.kind === 'string' ? first.text.slice(1, -1) : first.text;
  while (tokens[at] !== undefined && tokens[at]?.spaced === false && tokens[at]?.text !== '=') {
    name += tokens[at++]?.text ?? '';
  }
  const target = pass.program.section(name);
  readAttributes(call, target, tokens.slice(at));
  pass.section = target;
  remember(call);
  pass.absolute = undefined;
  if (pass.final) {
    const range = rangeOf(tokens.slice(0, at));
    pass.program.names.sections.push({ name, path: first.place.path, range });
  }
}

/** `__?SECT?__` is the last such directive that stands without brackets. */
function remember({ pass, token, tokens, statement }: Call): void {
  if (statement.tokens[0]?.text === '[') return;
  pass.sect = `[${token.text} ${textOf(tokens)}]`;
}

function readAttributes(call: Call, target: Section, tokens: readonly Token[]): void {
  const { attributes } = target;
  for (let at = 0; at < tokens.length; ) {
    const token = tokens[at] as Token;
    const word = token.text.toLowerCase();
    if (tokens[at + 1]?.text === '=') {
      let end = at + 2;
      while (end < tokens.length && (end === at + 2 || !startsAttribute(tokens, end))) end++;
      readValue(call, target, word, token, tokens.slice(at + 2, end));
      at = end;
      continue;
    }
    switch (word) {
      case 'progbits':
        attributes.nobits = false;
        break;
      case 'nobits':
        attributes.nobits = true;
        break;
      case 'note':
        attributes.note = true;
        attributes.nobits = false;
        break;
      case 'alloc':
      case 'write':
      case 'exec':
      case 'tls':
        attributes[word] = true;
        break;
      case 'noalloc':
        attributes.alloc = false;
        break;
      case 'nowrite':
        attributes.write = false;
        break;
      case 'noexec':
        attributes.exec = false;
        break;
      default:
        call.pass.problem(`\`${token.text}\` is not an attribute of a section.`, [token]);
    }
    at++;
  }
}

const startsAttribute = (tokens: readonly Token[], at: number): boolean =>
  tokens[at + 1]?.text === '=' ||
  (tokens[at]?.kind === 'id' && ATTRIBUTES.test(tokens[at]?.text ?? ''));
const ATTRIBUTES = /^(progbits|nobits|note|(no)?(alloc|write|exec|tls))$/i;

function readValue(
  call: Call,
  target: Section,
  word: string,
  token: Token,
  value: readonly Token[],
): void {
  const { attributes } = target;
  switch (word) {
    case 'align': {
      attributes.align = alignment(call, value);
      attributes.isAligned = true;
      break;
    }
    case 'start':
      attributes.start = number(call, value);
      break;
    case 'vstart':
      attributes.vstart = number(call, value);
      break;
    case 'follows':
    case 'vfollows':
      attributes[word] = value.map(({ text }) => text).join('');
      break;
    case 'valign':
      attributes.valign = alignment(call, value);
      break;
    default:
      call.pass.problem(`\`${token.text}\` is not an attribute of a section.`, [token]);
  }
}

function symbols(
  call: Call,
  add: (name: string, token: Token, rest: readonly Token[]) => void,
): void {
  const parts = splitOperands(call.tokens);
  if (parts.length === 0) throw new ExpressionError('Expected the name of a symbol.', [call.token]);
  for (const part of parts) {
    const name = part[0];
    if (name?.kind !== 'id')
      throw new ExpressionError('Expected the name of a symbol.', [name ?? call.token]);
    add(name.text.replace(/^\$/, ''), name, part.slice(1));
  }
}

function global(call: Call): void {
  const { program } = call.pass;
  symbols(call, (name, token) => {
    program.globals.set(name, token);
    program.names.refer(name, token);
    const isMissing = !program.labels.has(name) && !program.externs.has(name);
    if (call.pass.final && isMissing && !program.isPart) {
      call.pass.problem(`\`${name}\` is \`global\`, but not defined.`, [token]);
    }
  });
}

function extern(call: Call): void {
  const { program } = call.pass;
  symbols(call, (name, token) => {
    program.externs.set(name, token);
    program.names.define('extern', name, token, `extern ${name}`);
  });
}

/** `common name size`: room in `.bss`. */
function common(call: Call): void {
  const { pass } = call;
  symbols(call, (name, token, rest) => {
    const size = number(
      call,
      rest.slice(
        0,
        Math.max(
          1,
          rest.findIndex(({ text }) => text === ':'),
        ) || undefined,
      ),
    );
    const bss = pass.program.section('.bss');
    bss.size = Math.ceil(bss.size / 16) * 16;
    pass.program.globals.set(name, token);
    pass.defineLabel(
      name,
      token,
      { number: BigInt(bss.size), terms: [[bss, 1n]], unknown: false },
      `common ${name}`,
    );
    bss.size += Math.max(0, size);
  });
}

function alignment(call: Call, tokens: readonly Token[]): number {
  const by = number(call, tokens);
  if (by >= 1 && (by & (by - 1)) === 0) return by;
  throw new ExpressionError(`An alignment is a power of two, not ${by}.`, tokens);
}

/** Gives the section at least this alignment. */
function alignSection({ program, section: target, absolute }: Pass, by: number): void {
  if (target === undefined || absolute !== undefined) return;
  const { attributes } = target;
  const least = program.format === 'bin' && attributes.isAligned !== true ? 0 : attributes.align;
  attributes.align = Math.max(least, by);
  attributes.isAligned = true;
}

/** `sectalign n`, or whether `align` does it too. */
function sectalign(call: Call): void {
  const word = textOf(call.tokens).toLowerCase();
  if (word === 'on' || word === 'off') call.pass.alignsSection = word === 'on';
  else alignSection(call.pass, alignment(call, call.tokens));
}

/** `align n[, fill]`: fills up with `nop`, or what is given; `alignb` reserves. */
function align(call: Call, reserves: boolean): void {
  const { pass, token, tokens } = call;
  const [amount = [], ...fill] = splitOperands(tokens);
  const by = alignment(call, amount);
  if (pass.alignsSection) alignSection(pass, by);
  const { section: target } = pass;
  const missing = (by - (pass.offset % by)) % by;
  if (fill.length === 0) {
    if (reserves || target?.attributes.nobits === true) pass.advance(missing);
    else pass.emit(fillerBytes(pass.filler, pass.bits, missing), 'instruction');
    return;
  }
  const count: Token = { ...token, kind: 'number', text: `${missing}` };
  const times: Token = { ...token, text: 'times' };
  const body = fill.flatMap((part, i) =>
    i === 0 ? part : [{ ...token, kind: 'op' as const, text: ',' }, ...part],
  );
  nested(pass, [times, count, ...body]);
}

function nested(pass: Pass, tokens: readonly Token[]): void {
  const statement = parseStatement(tokens, (name) => pass.fullName(name));
  pass.nested(statement);
}

function struc(call: Call): void {
  const { pass, token, tokens } = call;
  const [name, start] = splitOperands(tokens);
  const id = name?.[0];
  if (id?.kind !== 'id') throw new ExpressionError('Expected the name of the structure.', [token]);
  if (pass.struc !== undefined)
    throw new ExpressionError('A `struc` is open already; `endstruc` closes it.', [token]);
  pass.struc = { name: id.text, section: pass.section, absolute: pass.absolute, token };
  pass.absolute = start === undefined ? constant(0n) : evaluate(parse(call, start), pass);
  pass.defineLabel(id.text, id, undefined, `struc ${id.text}`);
}

function endstruc({ pass, token }: Call): void {
  const { struc: open } = pass;
  if (open === undefined)
    throw new ExpressionError('`endstruc` has no `struc` before it.', [token]);
  const start = pass.program.labels.get(open.name)?.value.number ?? 0n;
  const size = constant((pass.absolute?.number ?? 0n) - start);
  pass.defineLabel(`${open.name}_size`, open.token, size, `${open.name}_size`);
  pass.struc = undefined;
  pass.absolute = open.absolute;
  pass.section = open.section;
}

function istruc(call: Call): void {
  const { pass, token, tokens } = call;
  const name = tokens[0];
  if (name?.kind !== 'id')
    throw new ExpressionError('Expected the name of the structure.', [token]);
  pass.symbol(name.text, name);
  pass.istruc = { name: name.text, start: pass.offset };
}

function fillTo(pass: Pass, offset: number, tokens: readonly Token[]): void {
  const missing = (pass.istruc?.start ?? 0) + offset - pass.offset;
  if (missing < 0)
    throw new ExpressionError('This place of the structure is filled already.', tokens);
  if (pass.section?.attributes.nobits === true) pass.advance(missing);
  else pass.emit(new Uint8Array(missing), 'data');
}

function at(call: Call): void {
  const { pass, token, tokens } = call;
  const open = pass.istruc;
  if (open === undefined) throw new ExpressionError('`at` stands outside of `istruc`.', [token]);
  const [member = [], ...rest] = splitOperands(tokens);
  const local = member[0]?.text.startsWith('.') === true ? member[0] : undefined;
  const named =
    local === undefined ? member : [{ ...local, text: open.name + local.text }, ...member.slice(1)];
  const start = Number(pass.program.labels.get(open.name)?.value.number ?? 0n);
  fillTo(pass, number(call, named) - start, member);
  const body = rest.flatMap((part, i) =>
    i === 0 ? part : [{ ...token, kind: 'op' as const, text: ',' }, ...part],
  );
  if (body.length > 0) nested(pass, body);
}

function iend({ pass, token }: Call): void {
  const open = pass.istruc;
  if (open === undefined) throw new ExpressionError('`iend` has no `istruc` before it.', [token]);
  fillTo(pass, Number(pass.symbol(`${open.name}_size`, token).number), [token]);
  pass.istruc = undefined;
}

/** `alignmode mode[, threshold]` of the package smartalign. */
function alignmode(call: Call): void {
  const [mode = [], threshold = []] = splitOperands(call.tokens);
  const name = textOf(mode).toLowerCase();
  const filler = fillerNamed(name);
  if (filler === undefined) {
    throw new ExpressionError(`\`${name}\` is no mode of alignment.`, [mode[0] ?? call.token]);
  }
  const isWord = textOf(threshold).toLowerCase() === 'nojmp';
  const jumpsAbove =
    threshold.length === 0
      ? filler.jumpsAbove
      : isWord
        ? Number.POSITIVE_INFINITY
        : number(call, threshold);
  call.pass.filler = { ...filler, jumpsAbove };
}

function setDefault({ pass, tokens, token }: Call): void {
  for (const part of splitOperands(tokens)) {
    const word = textOf(part).toLowerCase();
    if (word === 'rel' || word === 'abs') pass.relative = word === 'rel';
    else if (word !== 'bnd' && word !== 'nobnd') {
      throw new ExpressionError(
        'Expected `default rel` or `default abs`.',
        part.length > 0 ? part : [token],
      );
    }
  }
}

function org(call: Call): void {
  const { program } = call.pass;
  if (program.format !== 'bin') {
    throw new ExpressionError(
      '`org` belongs to flat binaries; an executable is placed by its link.',
      [call.token],
    );
  }
  program.origin = BigInt(number(call));
}

const nothing = (): void => undefined;

const DIRECTIVES: Readonly<Record<string, (call: Call) => void>> = {
  section,
  segment: section,
  global,
  static: nothing,
  extern,
  required: extern,
  common,
  bits: (call) => setBits(call, number(call), call.tokens),
  use16: (call) => setBits(call, 16, []),
  use32: (call) => setBits(call, 32, []),
  use64: (call) => setBits(call, 64, []),
  default: setDefault,
  org,
  align: (call) => align(call, false),
  alignb: (call) => align(call, true),
  sectalign,
  alignmode,
  absolute: (call) => {
    call.pass.absolute = evaluate(parse(call), call.pass);
    remember(call);
  },
  struc,
  endstruc,
  istruc,
  at,
  iend,
  cpu: nothing,
  float: nothing,
  warning: nothing,
  list: nothing,
  debug: nothing,
  map: nothing,
  group: nothing,
};
