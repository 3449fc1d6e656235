/**
 * A program by its path, made ready for a domain: NASM source is assembled, everything else is
 * taken as it is. Included files are searched beside the including file, in the given folders,
 * and in the folder `include` beside the program's own folder.
 */
import { type Assembly, assembleWithIncludes, endingOf } from '../../assembler/index.ts';
import type { AdapterHost } from '../host.ts';

export interface OpenedProgram {
  readonly path: string;
  readonly bytes: Uint8Array;
  /** Of programs in source. */
  readonly assembly: Assembly | undefined;
}

/** The user's mistake in a program, scenario or launch argument: a line each, with its place. */
export class LaunchError extends Error {
  override readonly name = 'LaunchError';
  readonly problems: readonly string[];

  constructor(problems: readonly string[]) {
    super(problems.join('\n'));
    this.problems = problems;
  }
}

const SOURCE_ENDINGS: ReadonlySet<string> = new Set(['.asm', '.nasm', '.s', '.inc']);

/** Diagnostics as compilers print them. */
export const linesOf = ({ diagnostics }: Pick<Assembly, 'diagnostics'>): string[] =>
  diagnostics.map(
    ({ path, range, severity, message }) =>
      `${path}:${range.startLine}:${range.startColumn}: ${severity}: ${message}`,
  );

export const readBytes = async (host: AdapterHost, path: string): Promise<Uint8Array> => {
  try {
    return await host.readFile(path);
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error);
    throw new LaunchError([`${path}: cannot be read: ${reason}`]);
  }
};

/** Throws LaunchError if the file cannot be read; mistakes in it are diagnostics. */
export const assembleFile = async (
  host: AdapterHost,
  path: string,
  folders: readonly string[],
  format: 'bin' | 'elf64' = 'elf64',
): Promise<Assembly> =>
  assembleWithIncludes(new TextDecoder().decode(await readBytes(host, path)), {
    path,
    folders,
    format,
    read: (place) => host.readFile(place).catch(() => undefined),
  });

/** Throws LaunchError for a file that cannot be read or has errors. */
export const openProgram = async (
  host: AdapterHost,
  path: string,
  folders: readonly string[] = [],
): Promise<OpenedProgram> => {
  if (!SOURCE_ENDINGS.has(endingOf(path))) {
    return { path, bytes: await readBytes(host, path), assembly: undefined };
  }
  const assembly = await assembleFile(host, path, folders);
  if (assembly.diagnostics.some(({ severity }) => severity === 'error')) {
    throw new LaunchError(linesOf(assembly));
  }
  return { path, bytes: assembly.bytes, assembly };
};
