/**
 * Decoded instructions, remembered by their bytes: those at an address are compared before every
 * use, so that code that changes is always seen, and code that is alike is decoded once.
 */
import {
  type DecodedInstruction,
  type DecodeResult,
  decode,
  MAX_INSTRUCTION_BYTES,
} from '../../isa/index.ts';
import type { MachineMemory } from '../memory/machine-memory.ts';

const INDEX_BITS = 14;
const ENTRIES = 2 ** INDEX_BITS;
/** Odd, and near 2^32 divided by the golden ratio. */
const FACTOR = 0x9e37_79b1;
const KEY_WORDS = 4;
/** The key is as many bytes as an instruction can have, and the sizes of code and stack above. */
const PAGE_BYTES = 4096;

/**
 * Gives a function that decodes at a host address, whose page ends the bytes. Nothing that it gives
 * depends on the instruction's address.
 */
export const createDecoder = ({
  bytes,
  view,
}: MachineMemory): ((
  host: number,
  codeWidth: 16 | 32 | 64,
  stackWidth: 16 | 32 | 64,
) => DecodeResult) => {
  const keys = new Int32Array(ENTRIES * KEY_WORDS);
  const instructions = new Array<DecodedInstruction | undefined>(ENTRIES);
  const lastKey = bytes.length - MAX_INSTRUCTION_BYTES;
  return (host, codeWidth, stackWidth) => {
    const room = Math.min(PAGE_BYTES - (host & (PAGE_BYTES - 1)), MAX_INSTRUCTION_BYTES);
    const window = (): Uint8Array => bytes.subarray(host, host + room);
    if (host > lastKey) return decode(window(), 0, 0n, codeWidth, stackWidth);
    // Bytes behind the page are part of the key, but not of the instruction.
    const first = view.getInt32(host, true);
    const second = view.getInt32(host + 4, true);
    const third = view.getInt32(host + 8, true);
    const last = (view.getInt32(host + 11, true) >>> 8) | ((codeWidth | (stackWidth >>> 4)) << 24);
    const index = hashOf(first, second, third, last);
    const key = index * KEY_WORDS;
    const known = instructions[index];
    const isKnown =
      known !== undefined &&
      known.lengthBytes <= room &&
      keys[key] === first &&
      keys[key + 1] === second &&
      keys[key + 2] === third &&
      keys[key + 3] === last;
    if (isKnown) return known;
    const decoded = decode(window(), 0, 0n, codeWidth, stackWidth);
    if (typeof decoded === 'string') return decoded;
    instructions[index] = decoded;
    keys[key] = first;
    keys[key + 1] = second;
    keys[key + 2] = third;
    keys[key + 3] = last;
    return decoded;
  };
};

const hashOf = (a: number, b: number, c: number, d: number): number => {
  const mixed = Math.imul(Math.imul(Math.imul(d, FACTOR) ^ c, FACTOR) ^ b, FACTOR) ^ a;
  return Math.imul(mixed, FACTOR) >>> (32 - INDEX_BITS);
};
