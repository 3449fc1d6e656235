/** A named operation of isa/operations.ts: does its work on the processor's state. */
import type { Cpu } from '../cpu.ts';
import type { Outcome } from '../processor.ts';

export type Operation = (cpu: Cpu, args: readonly bigint[]) => Outcome;

/** An argument as a number; missing arguments are a mistake of the meaning that passes them. */
export const numberAt = (args: readonly bigint[], index: number): number => {
  const value = args[index];
  if (value === undefined) throw new Error(`Argument ${index} of the operation is missing.`);
  return Number(value);
};
