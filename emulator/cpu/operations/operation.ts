/** A named operation of isa/operations.ts: does its work on the processor's state. */
import { MEMORY_DESTINATION } from '../../../isa/index.ts';
import { type Cpu, dataAccess, quad, readLinear } from '../cpu.ts';
import { OUTCOME, type Outcome } from '../processor.ts';
import { linearOf } from '../segmentation.ts';
import { registerSlot } from '../state.ts';

export type Operation = (cpu: Cpu, args: readonly bigint[]) => Outcome;

/** An argument as a number; missing arguments are a mistake of the meaning that passes them. */
export const numberAt = (args: readonly bigint[], index: number): number => {
  const value = args[index];
  if (value === undefined) throw new Error(`Argument ${index} of the operation is missing.`);
  return Number(value);
};

/**
 * The 16-bit source operand whose register, segment and offset begin at `index`; `linear` is its
 * address if it is in memory.
 */
export const readWordSource = (
  cpu: Cpu,
  args: readonly bigint[],
  index: number,
): { value: number; linear?: bigint } | { failure: Outcome } => {
  const register = numberAt(args, index);
  if (register !== MEMORY_DESTINATION) {
    return { value: Number(quad(cpu, registerSlot(register)) & 0xffffn) };
  }
  const linear = linearOf(cpu, numberAt(args, index + 1), args[index + 2] ?? 0n, 2, false);
  if (linear === undefined) return { failure: OUTCOME.fault };
  const found = readLinear(cpu, linear, 2, dataAccess(cpu, false));
  return 'failure' in found ? found : { value: Number(found.value), linear };
};
