/** RFLAGS as one value, put together from the status words and the rest (isa/flags.ts). */
import { STATUS_FLAGS } from '../../isa/index.ts';
import { type Cpu, setWord, word } from './cpu.ts';
import { FLAG_CARRY, FLAG_RESULT, FLAG_SIGN, RFLAGS_REST } from './state.ts';

const CF = 0x1;
const PF = 0x4;
const AF = 0x10;
const ZF = 0x40;
const SF = 0x80;
const OF = 0x800;

/** Whether the low byte has an even number of ones. */
const isEven = (value: number): boolean => {
  const folded = value ^ (value >> 4);
  return ((0x6996 >> (folded & 15)) & 1) === 0;
};

/** RFLAGS as a 32-bit number; the upper half is 0. */
export const readStatusAndRest = (cpu: Cpu): number => {
  const carryHigh = word(cpu, FLAG_CARRY + 4);
  const isZero = (word(cpu, FLAG_RESULT) | word(cpu, FLAG_RESULT + 4)) === 0;
  return (
    word(cpu, RFLAGS_REST) |
    (carryHigh < 0 ? CF : 0) |
    (isEven(word(cpu, FLAG_SIGN)) ? PF : 0) |
    ((word(cpu, FLAG_CARRY) & 8) !== 0 ? AF : 0) |
    (isZero ? ZF : 0) |
    (word(cpu, FLAG_SIGN + 4) < 0 ? SF : 0) |
    ((carryHigh ^ (carryHigh << 1)) < 0 ? OF : 0)
  );
};

/** Takes a value apart; bit 1 is always set. The words are those of isa's statusWordsOf. */
export const writeStatusAndRest = (cpu: Cpu, rflags: number): void => {
  const carry = (rflags & CF) !== 0 ? 3 << 30 : 0;
  setWord(cpu, FLAG_RESULT, (rflags & ZF) !== 0 ? 0 : 1);
  setWord(cpu, FLAG_RESULT + 4, 0);
  setWord(cpu, FLAG_SIGN, (rflags & PF) !== 0 ? 0 : 1);
  setWord(cpu, FLAG_SIGN + 4, (rflags & SF) !== 0 ? 1 << 31 : 0);
  setWord(cpu, FLAG_CARRY, (rflags & AF) !== 0 ? 8 : 0);
  setWord(cpu, FLAG_CARRY + 4, (rflags & OF) !== 0 ? carry ^ (1 << 30) : carry);
  setWord(cpu, RFLAGS_REST, (rflags & ~STATUS_FLAGS) | 2);
  setWord(cpu, RFLAGS_REST + 4, 0);
};

export const readRflagsOf = (cpu: Cpu): bigint => BigInt(readStatusAndRest(cpu) >>> 0);

export const writeRflagsOf = (cpu: Cpu, rflags: bigint): void =>
  writeStatusAndRest(cpu, Number(BigInt.asIntN(32, rflags)));
