/**
 * The generated code of an interpreter in one machine. Its module is the same for every machine; it
 * is made once, when the first code of its size runs.
 */
import type { MachineMemory } from '../../memory/machine-memory.ts';
import { IMPORTS } from '../wasm/module-writer.ts';
import { type FastWidth, QUIET } from './forms.ts';
import { generateInterpreter, type Interpreter } from './generate.ts';

export interface Handlers {
  readonly codeWidth: FastWidth;
  /** Their numbers by form key. */
  readonly numbers: ReadonlyMap<string, number>;
  /** For each handler that leaves the flags alone, the one that does not; others as they are. */
  readonly loud: readonly number[];
  /** Runs records until a handler leaves. */
  execute(record: number): number;
  /** Executes one record by a handler: the next record, or 0 when it leaves. */
  executeOne(record: number, handler: number): number;
  /** Exceptions and IRETQ in their usual form (usual-events.ts). */
  deliver(vector: number, errorCode: number, resumes: number): number;
  returnFromInterrupt(refusedFlags: number): number;
}

type Slow = (low: number, high: number, access: number) => number;

const made = new Map<FastWidth, { interpreter: Interpreter; module: WebAssembly.Module }>();

const moduleOf = (
  codeWidth: FastWidth,
): { interpreter: Interpreter; module: WebAssembly.Module } => {
  const known = made.get(codeWidth);
  if (known !== undefined) return known;
  const interpreter = generateInterpreter(codeWidth);
  const fresh = { interpreter, module: new WebAssembly.Module(interpreter.bytes) };
  made.set(codeWidth, fresh);
  return fresh;
};

/** Gives handlers by code size; those of each are made when they are first asked for. */
export const createHandlers = (
  { memory }: MachineMemory,
  slow: Slow,
): ((codeWidth: FastWidth) => Handlers) => {
  const instances: Partial<Record<FastWidth, Handlers>> = {};
  const instantiate = (codeWidth: FastWidth): Handlers => {
    const { interpreter, module } = moduleOf(codeWidth);
    const { exports } = new WebAssembly.Instance(module, { [IMPORTS]: { memory, slow } });
    const numbers = interpreter.handlers;
    const loud: number[] = [];
    for (const [key, handler] of numbers) {
      const own = key.endsWith(QUIET) ? key.slice(0, -QUIET.length) : key;
      loud[handler] = numbers.get(own) ?? handler;
    }
    return {
      codeWidth,
      numbers,
      loud,
      execute: exports.run as Handlers['execute'],
      executeOne: exports.step as Handlers['executeOne'],
      deliver: exports.deliver as Handlers['deliver'],
      returnFromInterrupt: exports.returnFromInterrupt as Handlers['returnFromInterrupt'],
    };
  };
  return (codeWidth) => {
    instances[codeWidth] ??= instantiate(codeWidth);
    return instances[codeWidth];
  };
};
