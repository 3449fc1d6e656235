/** RFLAGS as one value, put together from the status words and the rest (isa/flags.ts). */
import { STATUS_FLAGS, statusFlagsOf, statusWordsOf } from '../../isa/index.ts';
import { type Cpu, quad, setQuad } from './cpu.ts';
import { FLAG_CARRY, FLAG_RESULT, FLAG_SIGN, RFLAGS_REST } from './state.ts';

export const readRflagsOf = (cpu: Cpu): bigint =>
  quad(cpu, RFLAGS_REST) |
  BigInt(statusFlagsOf(quad(cpu, FLAG_RESULT), quad(cpu, FLAG_SIGN), quad(cpu, FLAG_CARRY)));

/** Takes a value apart; bit 1 is always set. */
export const writeRflagsOf = (cpu: Cpu, rflags: bigint): void => {
  const { result, sign, carry } = statusWordsOf(Number(rflags & 0xffffn));
  setQuad(cpu, FLAG_RESULT, result);
  setQuad(cpu, FLAG_SIGN, sign);
  setQuad(cpu, FLAG_CARRY, carry);
  setQuad(cpu, RFLAGS_REST, (rflags & ~BigInt(STATUS_FLAGS)) | 2n);
};
