/**
 * Assembles a source whose included files are read as they turn out to be needed: beside the
 * including file, in given folders, and in the folder `include` beside the source's own folder.
 */
import { assemble } from './assemble.ts';
import type { AssembleOptions, Assembly } from './assembly.ts';
import { folderOf, joinPath } from './paths.ts';

export interface IncludeOptions extends Omit<AssembleOptions, 'readFile' | 'path'> {
  /** A path or a URI. */
  readonly path: string;
  readonly folders?: readonly string[];
  /** The contents of a file; undefined if there is none. */
  read(path: string): Promise<Uint8Array | undefined>;
}

/** The assembler does not wait, so that it runs once more for every level of includes. */
export const assembleWithIncludes = async (
  source: string,
  { path, folders = [], read, ...options }: IncludeOptions,
): Promise<Assembly> => {
  const known = new Map<string, Uint8Array | undefined>();
  for (;;) {
    const asked = new Set<string>();
    const readFile: NonNullable<AssembleOptions['readFile']> = (name, from) => {
      const places = [folderOf(from), ...folders, joinPath(folderOf(path), '../include')];
      for (const place of places.map((folder) => joinPath(folder, name))) {
        const bytes = known.get(place);
        if (bytes !== undefined) return { path: place, bytes };
        if (!known.has(place)) asked.add(place);
      }
      return undefined;
    };
    const assembly = assemble(source, { ...options, path, readFile });
    if (asked.size === 0) return assembly;
    await Promise.all(
      [...asked].map(async (place) => {
        known.set(place, await read(place));
      }),
    );
  }
};
