/**
 * What the assembler says of each open source, kept until the text or a file it includes changes.
 * Paths are URIs here. An included file is understood through an open program that includes it.
 */
import {
  type AssembleOptions,
  type Assembly,
  assembleWithIncludes,
  endingOf,
} from '../assembler/index.ts';

export interface AnalyzedSource {
  /** The program that was assembled. */
  readonly uri: string;
  readonly assembly: Assembly;
}

export interface SourceHost {
  /** The text of an open document. */
  textOf(uri: string): string | undefined;
  /** The bytes of a file that is not open; undefined if there is none. */
  readFile(uri: string): Promise<Uint8Array | undefined>;
  /** URIs of open documents. */
  openUris(): readonly string[];
}

export interface Analysis {
  /** undefined if the document is not open. */
  of(uri: string): Promise<AnalyzedSource | undefined>;
  /** A document or file has another text. */
  forget(): void;
}

/** Included files are no programs: what they leave undefined is no mistake. */
export const isIncludeFile = (uri: string): boolean => endingOf(uri) === '.inc';

/** Generated listings and sources of a session are shown, not assembled. */
export const isProgram = (uri: string): boolean => !/^hyperstep-\w+:/.test(uri);

/**
 * What a source may be assembled to, likeliest first: it does not say itself. Flat images have an
 * origin; what names other sources' symbols is one part of a program.
 */
const formsOf = (text: string): readonly Pick<AssembleOptions, 'format' | 'isPart'>[] => {
  const code = text.replaceAll(/;.*$/gm, '');
  const flat = { format: 'bin' } as const;
  if (/^\s*(?:\w+:\s*)?\[?org\b/im.test(code)) return [flat];
  if (/^\s*\[?(?:extern|required)\b|\bwrt\s+\.\./im.test(code)) return [{ isPart: true }];
  return [{}, flat];
};

const errorsIn = ({ diagnostics }: Assembly): number =>
  diagnostics.filter(({ severity }) => severity === 'error').length;

export const createAnalysis = (host: SourceHost): Analysis => {
  let known = new Map<string, Promise<AnalyzedSource | undefined>>();
  const analyze = async (uri: string): Promise<AnalyzedSource | undefined> => {
    const text = host.textOf(uri);
    if (text === undefined) return undefined;
    const assembleAs = (form: Pick<AssembleOptions, 'format' | 'isPart'>) =>
      assembleWithIncludes(text, {
        path: uri,
        ...form,
        async read(path) {
          const open = host.textOf(path);
          return open === undefined ? host.readFile(path) : new TextEncoder().encode(open);
        },
      });
    const [likeliest = {}, ...others] = formsOf(text);
    let assembly = await assembleAs(likeliest);
    for (const form of others) {
      if (errorsIn(assembly) === 0) break;
      const other = await assembleAs(form);
      if (errorsIn(other) < errorsIn(assembly)) assembly = other;
    }
    return { uri, assembly };
  };
  const remembered = (uri: string): Promise<AnalyzedSource | undefined> => {
    const found = known.get(uri) ?? analyze(uri);
    known.set(uri, found);
    return found;
  };
  return {
    async of(uri) {
      if (isIncludeFile(uri)) {
        const programs = host.openUris().filter((one) => isProgram(one) && !isIncludeFile(one));
        for (const program of programs) {
          const analyzed = await remembered(program);
          if (analyzed?.assembly.includes.includes(uri) === true) return analyzed;
        }
      }
      return remembered(uri);
    },
    forget() {
      known = new Map();
    },
  };
};
