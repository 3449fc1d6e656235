/**
 * Operations in their usual form, done without leaving the interpreter: what a guest does at every
 * page fault. Each does all of its instruction, or nothing, and then it is left to the precise
 * engine; none changes what is looked at between instructions, but for RFLAGS.IF.
 */
import { type Cpu, cplOf, setWord, word } from '../../cpu/cpu.ts';
import * as state from '../../cpu/state.ts';
import { returnUsually } from '../../cpu/usual-interrupts.ts';
import type { OperationPlan } from '../operation-plan.ts';

const CR2 = 2n;
const QUADWORD = 64n;
const RFLAGS_TF = 0x100;

/** Does the instruction at RIP; false, with nothing done, if it is not usual. */
export type UsualOperation = () => boolean;

/** RIP goes on behind an instruction of 64-bit mode. */
export const advanceRip = (cpu: Cpu, lengthBytes: number): void => {
  const low = (word(cpu, state.RIP) >>> 0) + lengthBytes;
  setWord(cpu, state.RIP, low);
  if (low >= 2 ** 32) setWord(cpu, state.RIP + 4, word(cpu, state.RIP + 4) + 1);
};

/** The usual form of a planned operation; undefined if there is none. */
export const usualOf = (cpu: Cpu, plan: OperationPlan): UsualOperation | undefined => {
  const { lengthBytes } = plan.instruction;
  switch (plan.operation) {
    case 'interruptReturn':
      return plan.args()[0] === QUADWORD ? () => returnUsually(cpu, RFLAGS_TF) : undefined;
    case 'readControlRegister': {
      const [number, register = 0n] = plan.args();
      if (number !== CR2) return undefined;
      const to = state.registerSlot(Number(register));
      return () => {
        if (cplOf(cpu) !== 0) return false;
        setWord(cpu, to, word(cpu, state.CR2));
        setWord(cpu, to + 4, word(cpu, state.CR2 + 4));
        advanceRip(cpu, lengthBytes);
        return true;
      };
    }
    case 'invlpg':
      // Nothing that is remembered is stale, so that nothing is to be forgotten.
      return () => {
        if (cplOf(cpu) !== 0 || cpu.nonRoot?.mayExit?.('invlpg') !== false) return false;
        advanceRip(cpu, lengthBytes);
        return true;
      };
    default:
      return undefined;
  }
};
