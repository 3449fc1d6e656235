/**
 * What a loader gives: the pieces of a program with their guest-physical addresses, its entry,
 * and what debuggers want to know of it.
 */
import type { ProgramLine, ProgramSymbol } from '../machine.ts';
import type { PvProgram } from './xen-notes.ts';

export interface ProgramSegment {
  /** Guest-physical. */
  readonly address: number;
  readonly bytes: Uint8Array;
  /** At least bytes.length; the rest is zero. */
  readonly memoryBytes: number;
}

export interface LoadedProgram {
  readonly format: 'elf32' | 'elf64' | 'flat';
  readonly segments: readonly ProgramSegment[];
  /** Guest-physical address of the PVH entry; undefined if it has none. */
  readonly entry: number | undefined;
  /** How a 64-bit PV domain is entered; undefined if it says nothing of that. */
  readonly pv: PvProgram | undefined;
  readonly symbols: readonly ProgramSymbol[];
  readonly lines: readonly ProgramLine[];
  /** Xen's notes in words: "PHYS32_ENTRY = 0x100000". */
  readonly notes: readonly string[];
}

/** A program that can not be loaded; the message names the field and its offset. */
export class ProgramError extends Error {
  override readonly name = 'ProgramError';
}

export const hex = (value: number | bigint): string => `0x${value.toString(16)}`;
