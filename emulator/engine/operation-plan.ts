/**
 * Instructions that are nothing but a named operation on registers and constants (IRETQ, INVLPG,
 * MOV to and from control registers, PUSHF, IN, ...): what they pass to it, found out once.
 */
import type {
  DecodedInstruction,
  MemoryOperand,
  Operand,
  OperationName,
  Semantics,
  ValueWidth,
} from '../../isa/index.ts';
import { type Cpu, quad } from '../cpu/cpu.ts';
import * as state from '../cpu/state.ts';

export interface OperationPlan {
  readonly operation: OperationName;
  readonly instruction: DecodedInstruction;
  /** The arguments as registers are now; RIP is that of the instruction. */
  args(): readonly bigint[];
}

/** A value that is computed when it is asked for. */
interface Term {
  readonly width: ValueWidth;
  /** Known beforehand. */
  readonly constant: bigint | undefined;
  get(): bigint;
}

/** The meaning does something else than to call an operation. */
class NoPlan extends Error {}

const constant = (value: bigint | number, width: ValueWidth): Term => {
  const bits = BigInt.asUintN(width, BigInt(value));
  return { width, constant: bits, get: () => bits };
};

/** The plan of an instruction of 32-bit or 64-bit code; undefined if it is no such instruction. */
export const planOperation = (
  cpu: Cpu,
  instruction: DecodedInstruction,
): OperationPlan | undefined => {
  const { definition, form, lengthBytes } = instruction;
  if (definition === undefined || form.codeWidth === 16) return undefined;
  let called: { operation: OperationName; terms: readonly Term[] } | undefined;

  const term = (width: ValueWidth, get: () => bigint): Term => ({
    width,
    constant: undefined,
    get: () => BigInt.asUintN(width, get()),
  });
  const register = (number: number, width: ValueWidth): Term =>
    term(width, () => quad(cpu, state.registerSlot(number)));
  const next = (): bigint =>
    BigInt.asUintN(form.codeWidth, quad(cpu, state.RIP) + BigInt(lengthBytes));
  const addressOf = ({ base, index, scale, displacement }: MemoryOperand): Term => {
    const start = base === 'rip' ? next : base === undefined ? () => 0n : register(base, 64).get;
    const offset = index === undefined ? () => 0n : register(index, 64).get;
    const factor = BigInt(scale);
    return term(form.addressWidth, () => start() + offset() * factor + displacement);
  };
  const known: Partial<Semantics<Term>> = {
    form,
    constant,
    register,
    addressOf: (operand) => ({ ...addressOf(operand), width: 64 }),
    zeroExtend: (value, width) => ({ ...value, width }),
    nextInstruction: () => term(64, next),
    read(operand: Operand, width) {
      if (operand.kind === 'immediate') return constant(operand.value, width ?? operand.width);
      if (operand.kind !== 'register' || operand.high) throw new NoPlan();
      return register(operand.register, width ?? operand.width);
    },
    call(operation, ...terms) {
      called = { operation, terms };
    },
  };
  const meaning = new Proxy(known, {
    get: (target, name) => {
      const member: unknown = Reflect.get(target, name);
      if (member === undefined) throw new NoPlan();
      return member;
    },
  });
  try {
    definition.semantics(meaning as Semantics<Term>, ...instruction.operands);
  } catch (error) {
    if (error instanceof NoPlan) return undefined;
    throw error;
  }
  if (called === undefined) return undefined;
  const { operation, terms } = called;
  const constants = terms.flatMap((one) => one.constant ?? []);
  const args =
    constants.length === terms.length ? () => constants : () => terms.map(({ get }) => get());
  return { operation, instruction, args };
};
