/** Every instruction, family by family. */
import type { Instruction } from './instruction.ts';
import { arithmetic } from './instructions/arithmetic.ts';

export const INSTRUCTIONS: readonly Instruction[] = [...arithmetic];

const byMnemonic = new Map(INSTRUCTIONS.map((one) => [one.mnemonic, one]));

/** The definition of a mnemonic (or of 'jcc', 'setcc', 'cmovcc'); undefined if there is none. */
export const definitionOf = (mnemonic: string): Instruction | undefined => byMnemonic.get(mnemonic);
