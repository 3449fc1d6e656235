/**
 * Loads a program, whatever its format.
 */
import { isElf, loadElf } from './elf.ts';
import { type LoadedProgram, ProgramError } from './loader.ts';

export { type LoadedProgram, ProgramError, type ProgramSegment } from './loader.ts';
export type { PvProgram } from './xen-notes.ts';

/** An ELF executable, or anything else as a flat binary at `loadAddress`; throws ProgramError. */
export const loadProgram = (bytes: Uint8Array, loadAddress: number): LoadedProgram => {
  if (bytes.length === 0) throw new ProgramError('The program is empty.');
  if (isElf(bytes)) return loadElf(bytes);
  if (bytes.every((byte, at) => byte === ELF_MAGIC[at])) {
    throw new ProgramError('The program ends within its ELF identification.');
  }
  if (isText(bytes)) {
    throw new ProgramError('The program is text, and no ELF executable or flat image.');
  }
  return {
    format: 'flat',
    segments: [{ address: loadAddress, bytes, memoryBytes: bytes.length }],
    entry: loadAddress,
    pv: undefined,
    symbols: [],
    lines: [],
    notes: [],
  };
};

const ELF_MAGIC = [0x7f, 0x45, 0x4c, 0x46];

/** True of what no machine code looks like: printable characters and line ends from its beginning on. */
const isText = (bytes: Uint8Array): boolean =>
  bytes.length >= 4 &&
  bytes
    .subarray(0, 4096)
    .every((byte) => byte === 9 || byte === 10 || byte === 13 || (byte >= 32 && byte !== 127));
