/**
 * `hyperstep asm FILE`: assembles a file as `nasm` (and, for ELF, `ld`) would.
 */
import { writeFileSync } from 'node:fs';
import { resolve } from 'node:path';
import type { Assembly } from '../../assembler/index.ts';
import { assembleFile, LaunchError, linesOf } from '../programs/open-program.ts';
import { nodeHost, reasonOf } from './node-host.ts';

export interface AsmOptions {
  readonly format: 'bin' | 'elf';
  readonly output?: string;
  readonly listing?: string;
  /** Folders searched for included files, after the folder of the file that includes. */
  readonly include?: readonly string[];
}

/** Exit code of a bad program, file or option. */
export const BAD_INPUT = 2;

/** Gives the process's exit code; what there is to say goes to `complain`, a line each. */
export async function runAsm(
  file: string,
  options: AsmOptions,
  complain: (line: string) => void,
): Promise<number> {
  let assembly: Assembly;
  try {
    const format = options.format === 'elf' ? 'elf64' : 'bin';
    assembly = await assembleFile(nodeHost, file, options.include ?? [], format);
  } catch (error) {
    if (!(error instanceof LaunchError)) throw error;
    for (const line of error.problems) complain(line);
    return BAD_INPUT;
  }
  for (const line of linesOf(assembly)) complain(line);
  if (assembly.diagnostics.some(({ severity }) => severity === 'error')) return BAD_INPUT;
  const output = options.output ?? `${file.replace(/\.\w+$/, '')}.${options.format}`;
  if (resolve(output) === resolve(file)) {
    complain(`${output}: would overwrite the source`);
    return BAD_INPUT;
  }
  const { listing } = options;
  const isWritten =
    write(output, assembly.bytes, complain) &&
    (listing === undefined || write(listing, assembly.listing, complain));
  return isWritten ? 0 : BAD_INPUT;
}

/** False, after a complaint, if the file cannot be written. */
function write(
  file: string,
  content: string | Uint8Array,
  complain: (line: string) => void,
): boolean {
  try {
    writeFileSync(file, content);
    return true;
  } catch (error) {
    complain(`${file}: cannot be written: ${reasonOf(error)}`);
    return false;
  }
}
