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
