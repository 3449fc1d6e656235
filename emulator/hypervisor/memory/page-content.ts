/**
 * What pages hold: compared and hashed where they are in machine memory, by host address.
 */
import type { MachineMemory } from '../../memory/machine-memory.ts';

const WORDS = 1024;
const PRIME = 0x0100_0193;

export const isZeroPage = ({ words }: MachineMemory, host: number): boolean => {
  const start = host >>> 2;
  for (let at = start; at < start + WORDS; at += 4) {
    const any =
      (words[at] ?? 0) | (words[at + 1] ?? 0) | (words[at + 2] ?? 0) | (words[at + 3] ?? 0);
    if (any !== 0) return false;
  }
  return true;
};

export const isSamePage = ({ words }: MachineMemory, first: number, second: number): boolean => {
  const a = first >>> 2;
  const b = second >>> 2;
  for (let index = 0; index < WORDS; index += 1) {
    if (words[a + index] !== words[b + index]) return false;
  }
  return true;
};

/** FNV-1a over words, in two lanes. */
export const hashOfPage = ({ words }: MachineMemory, host: number): number => {
  const start = host >>> 2;
  let even = 0x811c_9dc5 | 0;
  let odd = 0x9747_b28c | 0;
  for (let at = start; at < start + WORDS; at += 2) {
    even = Math.imul(even ^ (words[at] ?? 0), PRIME);
    odd = Math.imul(odd ^ (words[at + 1] ?? 0), PRIME);
  }
  return (Math.imul(even, PRIME) ^ odd) >>> 0;
};
