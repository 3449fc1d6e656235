/**
 * A program by its path, made ready for a domain: NASM source is assembled, everything else is
 * taken as it is. Included files are searched beside the including file, in the given folders,
 * and in the folder `include` beside the program's own folder.
 */
import { type Assembly, assemble } from '../../assembler/index.ts';
import type { AdapterHost } from '../host.ts';
import { endingOf, folderOf, joinPath } from './paths.ts';

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

/** Opens a file that an assembler's source names; what it needs of it. */
type ReadIncluded = NonNullable<NonNullable<Parameters<typeof assemble>[1]>['readFile']>;

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

/**
 * Assembles a source whose includes are read as they turn out to be needed. The assembler does not
 * wait, so that it runs once more for every level of includes.
 */
export const assembleFile = async (
  host: AdapterHost,
  path: string,
  folders: readonly string[],
  format: 'bin' | 'elf64' = 'elf64',
): Promise<Assembly> => {
  const source = new TextDecoder().decode(await readBytes(host, path));
  const known = new Map<string, Uint8Array | undefined>();
  for (;;) {
    const asked = new Set<string>();
    const readFile: ReadIncluded = (name, from) => {
      const places = [folderOf(from), ...folders, joinPath(folderOf(path), '../include')];
      for (const place of places.map((folder) => joinPath(folder, name))) {
        const bytes = known.get(place);
        if (bytes !== undefined) return { path: place, bytes };
        if (!known.has(place)) asked.add(place);
      }
      return undefined;
    };
    const assembly = assemble(source, { path, format, readFile });
    if (asked.size === 0) return assembly;
    await Promise.all(
      [...asked].map(async (place) => {
        known.set(place, await host.readFile(place).catch(() => undefined));
      }),
    );
  }
};

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
