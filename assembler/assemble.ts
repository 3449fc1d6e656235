/**
 * Assembles a source pass by pass, as NASM does: each pass places every statement with the label
 * values known so far, until no label moves; one more pass writes the bytes. Only when the
 * preprocessor asked for an address (`%if $ - $$ > 510`) does every pass preprocess anew.
 */
import type { AssembleOptions, Assembly, Diagnostic } from './assembly.ts';
import { constant, ExpressionError, ExpressionParser, evaluate } from './expressions.ts';
import { writeElf } from './formats/elf64.ts';
import { writeFlat } from './formats/flat.ts';
import { writeListing } from './formats/listing.ts';
import type { Token } from './lexer.ts';
import { rangeOf } from './lexer.ts';
import { foldLiteralCalls } from './literal-functions.ts';
import { quote } from './macros.ts';
import { NameCollector } from './names.ts';
import { Pass, Program } from './passes.ts';
import type { PreprocessedLine } from './preprocessor.ts';
import { Preprocessor } from './preprocessor.ts';

const MAX_PASSES = 100;
const MAX_DIAGNOSTICS = 500;

/** Assembles NASM text. Never throws: every mistake becomes a diagnostic. */
export function assemble(source: string, options: AssembleOptions = {}): Assembly {
  const path = options.path ?? 'input.asm';
  const names = new NameCollector();
  const reports = new Reports();
  const program = new Program(options.format ?? 'elf64', names, reports.add);
  program.isPart = options.isPart === true;
  const includes = new Set<string>();
  let lines: PreprocessedLine[] | undefined;
  let dynamic = false;

  const readFile = (name: string, from: string) => {
    const file = options.readFile?.(name, from);
    if (file !== undefined) includes.add(file.path);
    return file;
  };
  program.readFile = readFile;

  const preprocessorOf = (pass: Pass): Preprocessor => {
    const preprocessor = new Preprocessor(source, path, {
      evaluate(tokens) {
        const parser = new ExpressionParser(foldLiteralCalls(tokens), (name) =>
          pass.fullName(name),
        );
        try {
          const node = parser.parse();
          if (parser.peek() !== undefined)
            throw parser.error('Expected the end of the expression.');
          return evaluate(node, {
            symbol(name, token) {
              dynamic = true;
              names.refer(name, token);
              return pass.symbol(name, token);
            },
            here() {
              dynamic = true;
              return pass.here();
            },
            base() {
              dynamic = true;
              return pass.base();
            },
          });
        } catch (error) {
          if (!(error instanceof ExpressionError)) throw error;
          reports.add('error', error.message, error.tokens.length > 0 ? error.tokens : tokens);
          return constant(0n);
        }
      },
      problem: reports.add,
      define: (kind, name, token, detail, end) => names.define(kind, name, token, detail, end),
      refer: (name, token) => names.refer(name, token),
      include(name, token, target) {
        const mark = {
          kind: 'include' as const,
          name,
          path: token.place.path,
          range: rangeOf([token]),
        };
        if (target === undefined) program.incomplete = true;
        if (
          names.includes.some(
            ({ range, path: at }) => at === mark.path && range.startLine === mark.range.startLine,
          )
        )
          return;
        names.includes.push(target === undefined ? mark : { ...mark, target });
      },
      readFile,
      builtin: (name) => builtin(name, pass, options),
    });
    for (const [name, value] of Object.entries(options.defines ?? {})) {
      preprocessor.predefine(name, value);
    }
    return preprocessor;
  };

  const runPass = (final: boolean): Pass => {
    const pass = new Pass(program, final);
    if (lines !== undefined && !dynamic) {
      for (const line of lines) pass.line(line);
    } else {
      const preprocessor = preprocessorOf(pass);
      lines = [];
      for (let line = preprocessor.next(); line !== undefined; line = preprocessor.next()) {
        lines.push(line);
        pass.line(line);
        if (reports.isFull) break;
      }
    }
    pass.finish();
    return pass;
  };

  let settled = false;
  for (let count = 0; count < MAX_PASSES && !settled && !reports.isFull; count++) {
    const pass = runPass(false);
    settled = pass.changes === 0 && count > 0;
    if (program.tooLarge) break;
  }
  if (!settled && !program.tooLarge && !reports.isFull) {
    reports.add(
      'error',
      `The labels do not settle in ${MAX_PASSES} passes; a size depends on itself.`,
      [],
    );
  }
  const last = runPass(true);
  const output =
    options.format === 'bin'
      ? writeFlat(program, last)
      : writeElf(program, last, options.textAddress ?? 0x10_0000, path);
  const failed = reports.hasErrors;
  const diagnostics = reports.list(path);
  program.finishLines();
  return {
    bytes: failed ? new Uint8Array(0) : output.bytes,
    entry: failed ? undefined : output.entry,
    sections: program.sectionList(),
    symbols: program.symbolList(),
    lines: program.lines,
    diagnostics,
    listing: writeListing(last.listing),
    includes: [...includes],
    syntax: names.finish((name) => program.factsOf(name)),
  };
}

function builtin(name: string, pass: Pass, options: AssembleOptions): string | undefined {
  switch (name) {
    case 'BITS':
      return `${pass.bits}`;
    case 'SECT':
      return pass.sect;
    case 'OUTPUT_FORMAT':
      return options.format ?? 'elf64';
    case 'NASM_MAJOR':
      return '2';
    case 'NASM_MINOR':
      return '16';
    case 'NASM_SUBMINOR':
      return '1';
    case 'NASM_PATCHLEVEL':
      return '0';
    case 'PTR':
      return { 16: 'word', 32: 'dword', 64: 'qword' }[pass.bits];
    case 'NASM_VERSION_ID':
      return '0x02100100';
    case 'NASM_VER':
      return quote('2.16.01');
    case 'PASS':
      return '2';
    case 'DEFAULT':
      return '';
    default:
      return EPOCH[name];
  }
}

/** One source gives one program, whenever it is assembled: the date is that of the epoch. */
const EPOCH: Readonly<Record<string, string>> = {
  DATE: quote('1970-01-01'),
  DATE_NUM: '19700101',
  TIME: quote('00:00:00'),
  TIME_NUM: '000000',
  UTC_DATE: quote('1970-01-01'),
  UTC_DATE_NUM: '19700101',
  UTC_TIME: quote('00:00:00'),
  UTC_TIME_NUM: '000000',
  POSIX_TIME: '0',
};

/** Diagnostics, each place and message once. */
class Reports {
  private readonly found = new Map<string, Diagnostic & { readonly place: Token | undefined }>();
  hasErrors = false;

  get isFull(): boolean {
    return this.found.size >= MAX_DIAGNOSTICS;
  }

  readonly add = (
    severity: Diagnostic['severity'],
    message: string,
    tokens: readonly Token[],
  ): void => {
    if (severity === 'error') this.hasErrors = true;
    const [first] = tokens;
    const range = rangeOf(tokens);
    const path = first?.place.path ?? '';
    // One mistake, one message: what follows at the same place is a consequence of the first.
    const key = `${severity}:${path}:${range.startLine}:${first === undefined ? message : range.startColumn}`;
    if (this.found.has(key) || this.isFull) return;
    this.found.set(key, { severity, message, path, range, place: first });
  };

  list(main: string): readonly Diagnostic[] {
    return [...this.found.values()].map(({ severity, message, path, range }) => ({
      severity,
      message,
      path: path || main,
      range,
    }));
  }
}
