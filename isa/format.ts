/** Instruction to NASM text: thin, over iced-x86's NASM formatter. */
import { Decoder, DecoderOptions, Formatter, FormatterSyntax, Instruction } from 'iced-x86';
import { MAX_INSTRUCTION_BYTES } from './decode.ts';

export interface FormattedInstruction {
  /** As NASM takes it; `(bad)` for bytes that are no instruction. */
  readonly text: string;
  /** At least 1. */
  readonly lengthBytes: number;
  readonly isValid: boolean;
}

/** Prints the instruction at `bytes[offset]`, whose address is `rip`. */
export const formatInstruction = (
  bytes: Uint8Array,
  offset: number,
  rip: bigint,
  codeWidth: 16 | 32 | 64,
): FormattedInstruction => {
  const window = bytes.subarray(offset, offset + MAX_INSTRUCTION_BYTES);
  const decoder = new Decoder(codeWidth, window, DecoderOptions.None);
  const instruction = new Instruction();
  const formatter = new Formatter(FormatterSyntax.Nasm);
  try {
    formatter.hexPrefix = '0x';
    formatter.hexSuffix = '';
    formatter.uppercaseHex = false;
    formatter.smallHexNumbersInDecimal = true;
    formatter.ripRelativeAddresses = false;
    decoder.ip = rip;
    decoder.decodeOut(instruction);
    if (instruction.isInvalid) return { text: '(bad)', lengthBytes: 1, isValid: false };
    return { text: formatter.format(instruction), lengthBytes: instruction.length, isValid: true };
  } finally {
    formatter.free();
    instruction.free();
    decoder.free();
  }
};
