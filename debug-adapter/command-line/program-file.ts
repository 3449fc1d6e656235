/**
 * A program by its path, made ready for a domain: NASM source is assembled, everything else is
 * taken as it is. Included files are searched beside the including file, in the given folders,
 * and in the folder `include` beside the program's own folder.
 */
import { existsSync, readFileSync } from 'node:fs';
import { dirname, extname, join, resolve } from 'node:path';
import { type Assembly, assemble } from '../../assembler/index.ts';

export type ProgramFile =
  | { readonly bytes: Uint8Array; readonly assembly: Assembly | undefined }
  /** What is wrong, a line each, with file and place. */
  | { readonly problems: readonly string[] };

const SOURCE_ENDINGS: ReadonlySet<string> = new Set(['.asm', '.nasm', '.s', '.inc']);

/** How the assembler opens the files that a program includes. */
export const includesOf = (file: string, folders: readonly string[]) => {
  const beside = join(dirname(resolve(file)), '..', 'include');
  return (path: string, from: string) => {
    for (const folder of [dirname(from), ...folders, beside]) {
      const place = resolve(folder, path);
      if (existsSync(place)) return { path: place, bytes: readFileSync(place) };
    }
    return undefined;
  };
};

/** Diagnostics as compilers print them. */
export const linesOf = ({ diagnostics }: Assembly): string[] =>
  diagnostics.map(
    ({ path, range, severity, message }) =>
      `${path}:${range.startLine}:${range.startColumn}: ${severity}: ${message}`,
  );

/** Reads and, if it is source, assembles a program. */
export const openProgram = (file: string, folders: readonly string[] = []): ProgramFile => {
  let bytes: Uint8Array;
  try {
    bytes = readFileSync(file);
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error);
    return { problems: [`${file}: cannot be read: ${reason}`] };
  }
  if (!SOURCE_ENDINGS.has(extname(file).toLowerCase())) return { bytes, assembly: undefined };
  const assembly = assemble(new TextDecoder().decode(bytes), {
    path: file,
    readFile: includesOf(file, folders),
  });
  const hasErrors = assembly.diagnostics.some(({ severity }) => severity === 'error');
  return hasErrors ? { problems: linesOf(assembly) } : { bytes: assembly.bytes, assembly };
};
