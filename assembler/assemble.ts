/** Assembles a source in three steps: read (preprocess, parse), place (pass by pass), write. */
import type { AssembleOptions, Assembly } from './assembly.ts';

/** Assembles NASM text. Never throws: every mistake becomes a diagnostic. */
export function assemble(_source: string, options: AssembleOptions = {}): Assembly {
  return {
    bytes: new Uint8Array(0),
    entry: undefined,
    sections: [],
    symbols: [],
    lines: [],
    diagnostics: [
      {
        severity: 'error',
        message: 'The assembler is not built in yet.',
        path: options.path ?? 'input.asm',
        range: { startLine: 1, startColumn: 1, endLine: 1, endColumn: 1 },
      },
    ],
    listing: '',
    includes: [],
    syntax: { definitions: [], references: [], sections: [], instructions: [], includes: [] },
  };
}
