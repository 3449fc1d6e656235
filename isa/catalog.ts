/** Every instruction, family by family. */
import type { Instruction } from './instruction.ts';
import { arithmetic } from './instructions/arithmetic.ts';
import { bitByte } from './instructions/bit-byte.ts';
import { controlTransfer } from './instructions/control-transfer.ts';
import { dataTransfer } from './instructions/data-transfer.ts';
import { decimal } from './instructions/decimal.ts';
import { flagControl } from './instructions/flag-control.ts';
import { logical } from './instructions/logical.ts';
import { shiftRotate } from './instructions/shift-rotate.ts';
import { stack } from './instructions/stack.ts';
import { string } from './instructions/string.ts';
import { system } from './instructions/system.ts';

export const INSTRUCTIONS: readonly Instruction[] = [
  ...dataTransfer,
  ...arithmetic,
  ...decimal,
  ...logical,
  ...shiftRotate,
  ...bitByte,
  ...controlTransfer,
  ...string,
  ...stack,
  ...flagControl,
  ...system,
];

const byMnemonic = new Map(INSTRUCTIONS.map((one) => [one.mnemonic, one]));

/** The definition of a mnemonic (or of 'jcc', 'setcc', 'cmovcc'); undefined if there is none. */
export const definitionOf = (mnemonic: string): Instruction | undefined => byMnemonic.get(mnemonic);
