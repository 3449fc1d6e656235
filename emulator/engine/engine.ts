/**
 * The engine that runs a processor: the interpreter as far as it goes, the precise engine for what
 * is left; or, as the reference, the precise engine alone.
 */
import { type Cpu, is64Bit, quad, setWord, word } from '../cpu/cpu.ts';
import { isFlat } from '../cpu/segmentation.ts';
import * as state from '../cpu/state.ts';
import { createInterpreter, type FastEngine, LEFT } from './interpreter/interpreter.ts';
import { createPreciseEngine, type StepResult } from './precise.ts';

/**
 * What became of a stretch: the result of its last step; `ran`: all of it was plain instructions;
 * `cpuid`: a CPUID is next, which finishCpuid() executes if nobody else does.
 */
export type Advance = StepResult | 'ran' | 'cpuid';

export interface Engine
  extends Pick<
    FastEngine,
    'remembered' | 'forget' | 'forgetFrame' | 'noteWrite' | 'setBreakpoints'
  > {
  /** The state may have been changed by others; counts from 0 again, or with what is given. */
  begin(retired?: number): void;
  /**
   * Runs at most `limit` instructions and deliveries, and ends with the first instruction that is not
   * plain; if `isFree`, nobody needs to look after one that is not, and only what is more than an
   * operation or a delivery ends it. Before any but the first it stops at breakpoints.
   */
  advance(limit: number, isFree: boolean): Advance;
  /** One instruction, or one iteration of a repeated one. */
  iterate(): StepResult;
  finishCpuid(): StepResult;
  /** The instruction at RIP was done by others. */
  skip(lengthBytes: number): void;
  /** Instructions retired since begin(), at any time. */
  readonly retired: number;
  /** These and the faults and traps that were delivered. */
  readonly steps: number;
}

const RFLAGS_TF = 0x100;
const RFLAGS_RF = 0x1_0000;

/** Whether nothing but the plain execution of instructions is to be done, in flat memory. */
const mayRunFast = (cpu: Cpu): boolean =>
  (word(cpu, state.CODE_WIDTH) === 64 || isFlat(cpu)) &&
  word(cpu, state.ACTIVITY) === 0 &&
  (word(cpu, state.RFLAGS_REST) & RFLAGS_TF) === 0 &&
  (word(cpu, state.INTERRUPTIBILITY) & 3) === 0;

/** RIP goes on behind an instruction. */
const advanceRip = (cpu: Cpu, lengthBytes: number): void => {
  const low = (word(cpu, state.RIP) >>> 0) + lengthBytes;
  setWord(cpu, state.RIP, low);
  if (low >= 2 ** 32 && is64Bit(cpu)) setWord(cpu, state.RIP + 4, word(cpu, state.RIP + 4) + 1);
};

/** An instruction that completes clears RF; one that faults or exits saves it as set anyway. */
const clearResumeFlag = (cpu: Cpu): void => {
  const rest = word(cpu, state.RFLAGS_REST);
  if ((rest & RFLAGS_RF) !== 0) setWord(cpu, state.RFLAGS_REST, rest & ~RFLAGS_RF);
};

/** Whoever watches memory is told of the instruction that comes. */
const tellWatches = (cpu: Cpu): void => {
  if (cpu.watches?.isActive === true) cpu.watches.begin(quad(cpu, state.RIP));
};

export const createReferenceEngine = (cpu: Cpu): Engine => {
  const precise = createPreciseEngine(cpu);
  let retired = 0;
  let delivered = 0;
  const advance = (): StepResult => {
    tellWatches(cpu);
    const result = precise.step();
    if (result === 'retired') retired += 1;
    else if (result === 'delivered') delivered += 1;
    return result;
  };
  return {
    get retired() {
      return retired;
    },
    get steps() {
      return retired + delivered;
    },
    begin(count = 0) {
      retired = count;
      delivered = 0;
    },
    advance,
    iterate: advance,
    finishCpuid: advance,
    skip(lengthBytes) {
      advanceRip(cpu, lengthBytes);
      retired += 1;
    },
    // It keeps no translations, and compares code bytes before it uses them.
    remembered: () => 0,
    forget: () => {},
    forgetFrame: () => {},
    noteWrite: () => {},
    setBreakpoints: () => {},
  };
};

/** `mustStop` tells whether someone asked to stop between two instructions. */
export const createFastEngine = (cpu: Cpu, mustStop: () => boolean = () => false): Engine => {
  const precise = createPreciseEngine(cpu);
  const fast = createInterpreter(cpu);
  let retired = 0;
  let delivered = 0;
  const finished = (result: StepResult): StepResult => {
    if (result === 'retired') retired += 1;
    else if (result === 'delivered') delivered += 1;
    fast.refresh();
    return result;
  };
  const operate = (): StepResult => {
    tellWatches(cpu);
    return finished(fast.plan === undefined ? precise.step() : precise.operate(fast.plan));
  };
  const step = (): StepResult => {
    tellWatches(cpu);
    return finished(precise.step());
  };
  const advanceOnce = (limit: number, isFree: boolean): Advance => {
    if (!mayRunFast(cpu)) return step();
    clearResumeFlag(cpu);
    const count = fast.run(limit, isFree);
    const { deliveries } = fast;
    retired += count;
    delivered += deliveries;
    if (count + deliveries === limit) return 'ran';
    switch (fast.left) {
      case LEFT.cpuid:
        return 'cpuid';
      case LEFT.operation:
        return operate();
      case LEFT.fault:
        tellWatches(cpu);
        return finished(precise.deliver());
      case LEFT.exit:
        tellWatches(cpu);
        return 'exit';
      case LEFT.nowhere:
        if (count + deliveries > 0) return 'ran';
        break;
      default:
        fast.repeat();
    }
    return step();
  };
  const advance = (limit: number, isFree: boolean): Advance => {
    const end = retired + delivered + limit;
    for (;;) {
      const result = advanceOnce(end - retired - delivered, isFree);
      const goesOn = isFree && (result === 'retired' || result === 'delivered');
      if (!goesOn || retired + delivered >= end || mustStop() || fast.isAtBreakpoint())
        return result;
    }
  };
  return {
    get retired() {
      return retired;
    },
    get steps() {
      return retired + delivered;
    },
    begin(count = 0) {
      retired = count;
      delivered = 0;
      fast.begin();
    },
    advance,
    iterate: step,
    finishCpuid: operate,
    skip(lengthBytes) {
      advanceRip(cpu, lengthBytes);
      retired += 1;
    },
    remembered: fast.remembered,
    forget: fast.forget,
    forgetFrame: fast.forgetFrame,
    noteWrite: fast.noteWrite,
    setBreakpoints: fast.setBreakpoints,
  };
};
