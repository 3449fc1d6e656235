/**
 * The precise engine: fetches, decodes and evaluates one instruction at a time on the processor's
 * state, with the reference engine of isa/. Everything is exact; nothing is fast.
 */
import {
  type DecodedInstruction,
  decode,
  evaluate,
  MAX_INSTRUCTION_BYTES,
  type OperationName,
  type ReferenceHost,
} from '../../isa/index.ts';
import {
  type Cpu,
  cplOf,
  dataAccess,
  failureOf,
  hostAt,
  is64Bit,
  probeWrite,
  quad,
  raise,
  readLinear,
  setQuad,
  setWord,
  word,
  writeLinear,
} from '../cpu/cpu.ts';
import { deliverPendingDebug, deliverPendingFault } from '../cpu/exceptions.ts';
import { operationOf } from '../cpu/operations/catalog.ts';
import { linearNumber, type PagingAccess } from '../cpu/paging.ts';
import { OUTCOME, type Outcome } from '../cpu/processor.ts';
import { linearOf, stackWidthOf } from '../cpu/segmentation.ts';
import * as state from '../cpu/state.ts';
import { createDecoder } from './decoded.ts';
import type { OperationPlan } from './operation-plan.ts';

/** What became of one step. `retired`: the instruction is complete. */
export type StepResult = 'retired' | 'unfinished' | 'delivered' | 'exit' | 'halted' | 'shutdown';

const RFLAGS_TF = 0x100;
const RFLAGS_RF = 0x1_0000;
const BLOCKED_BY_MOV_SS = 2;
const DIRECTION_FLAG = 0x400n;
/** In DR6, and in the pending debug exceptions. */
const DEBUG_SINGLE_STEP = 0x4000n;
const PAGE_BYTES = 4096;
const FETCH: PagingAccess = { write: false, execute: true, user: false };
const USER_FETCH: PagingAccess = { ...FETCH, user: true };

export interface PreciseEngine {
  /** Executes one instruction, or one iteration of a repeated string instruction. */
  step(): StepResult;
  /**
   * Executes the instruction at RIP, which is known to be this operation. Not of 16-bit code, with
   * no trap and no blocking of interrupts pending.
   */
  operate(plan: OperationPlan): StepResult;
  /** Delivers the fault that is pending. */
  deliver(): StepResult;
}

export const createPreciseEngine = (cpu: Cpu): PreciseEngine => {
  const host = createHost(cpu);
  const decodeAt = createDecoder(cpu.memory);

  const fetch = (): DecodedInstruction | Outcome => {
    const width = word(cpu, state.CODE_WIDTH) as 16 | 32 | 64;
    const stack = stackWidthOf(cpu);
    const rip = quad(cpu, state.RIP);
    const room = bytesInCode(cpu, rip);
    if (room <= 0) return raise(cpu, 'GP', 0);
    const linear = linearNumber(
      width === 64 ? rip : BigInt.asUintN(32, rip + quad(cpu, state.segmentBase(state.CS))),
    );
    const access = cplOf(cpu) === 3 ? USER_FETCH : FETCH;
    const host = hostAt(cpu, linear, access);
    if (host < 0) return failureOf(host);
    const first = PAGE_BYTES - (linear & (PAGE_BYTES - 1));
    // Only near the end of the segment are there fewer bytes than an instruction can have.
    let decoded =
      room < MAX_INSTRUCTION_BYTES
        ? decode(
            cpu.memory.bytes.subarray(host, host + Math.min(first, room)),
            0,
            rip,
            width,
            stack,
          )
        : decodeAt(host, width, stack);
    if (decoded === 'truncated') {
      if (room <= first) return raise(cpu, 'GP', 0);
      const next = hostAt(cpu, linear + first, access);
      if (next < 0) return failureOf(next);
      const bytes = new Uint8Array(Math.min(room, MAX_INSTRUCTION_BYTES));
      bytes.set(cpu.memory.bytes.subarray(host, host + first));
      const rest = bytes.length - first;
      bytes.set(cpu.memory.bytes.subarray(next, next + rest), first);
      decoded = decode(bytes, 0, rip, width, stack);
    }
    if (decoded === 'tooLong' || decoded === 'truncated') return raise(cpu, 'GP', 0);
    return decoded === 'invalid' ? raise(cpu, 'UD') : decoded;
  };

  const execute = (instruction: DecodedInstruction): Outcome | 'again' => {
    cpu.instructionLength = instruction.lengthBytes;
    cpu.instruction = instruction;
    const evaluation = evaluate(instruction, host.host);
    switch (evaluation.kind) {
      case 'next':
      case 'jumped':
        return OUTCOME.jumped;
      case 'again':
        return 'again';
      case 'pending':
        return host.takePending();
      case 'operation':
        return perform(evaluation.operation, evaluation.args, instruction.lengthBytes);
    }
  };

  const perform = (
    operation: OperationName,
    args: readonly bigint[],
    lengthBytes: number,
  ): Outcome => {
    if (cpu.nonRoot?.intercepts(operation, args) === true) return OUTCOME.exit;
    const outcome = operationOf(operation)(cpu, args);
    if (outcome !== OUTCOME.next) return outcome;
    const low = (word(cpu, state.RIP) >>> 0) + lengthBytes;
    setWord(cpu, state.RIP, low);
    if (low >= 2 ** 32 && is64Bit(cpu)) setWord(cpu, state.RIP + 4, word(cpu, state.RIP + 4) + 1);
    return OUTCOME.jumped;
  };

  const deliver = (): StepResult => {
    cpu.watches?.dropUnfinished();
    return stepOf(deliverPendingFault(cpu));
  };

  const operate = ({ operation, args, instruction }: OperationPlan): StepResult => {
    cpu.instructionLength = instruction.lengthBytes;
    cpu.instruction = instruction;
    const outcome = perform(operation, args(), instruction.lengthBytes);
    if (outcome === OUTCOME.jumped) return 'retired';
    return outcome === OUTCOME.fault ? deliver() : stepOf(outcome);
  };

  const step = (): StepResult => {
    if (word(cpu, state.ACTIVITY) !== 0) return 'halted';
    cpu.instructionLength = 0;
    const blocking = word(cpu, state.INTERRUPTIBILITY) & 3;
    const traps = (word(cpu, state.RFLAGS_REST) & RFLAGS_TF) !== 0;
    const fetched = fetch();
    const outcome = typeof fetched === 'object' ? execute(fetched) : fetched;
    switch (outcome) {
      case 'again':
        // A single-step trap comes after each iteration.
        return traps ? singleStepTrap(cpu) : 'unfinished';
      case OUTCOME.fault:
        return deliver();
      case OUTCOME.exit:
        return 'exit';
      case OUTCOME.shutdown:
        return 'shutdown';
      default:
        if (blocking !== 0) {
          setWord(cpu, state.INTERRUPTIBILITY, word(cpu, state.INTERRUPTIBILITY) & ~blocking);
        }
        clearResumeFlag(cpu, fetched);
        // A load of SS inhibits debug exceptions until the next instruction has completed.
        if ((word(cpu, state.INTERRUPTIBILITY) & BLOCKED_BY_MOV_SS) !== 0) return 'retired';
        return traps && !isSoftwareInterrupt(cpu, fetched) ? singleStepTrap(cpu) : 'retired';
    }
  };
  return { step, operate, deliver };
};

const stepOf = (outcome: Outcome): StepResult =>
  outcome === OUTCOME.exit ? 'exit' : outcome === OUTCOME.shutdown ? 'shutdown' : 'delivered';

/** An instruction that completes clears RF, but for IRET, which loads it. SDM Vol. 3B 17.3.1.1. */
const clearResumeFlag = (cpu: Cpu, instruction: DecodedInstruction | Outcome): void => {
  const rest = word(cpu, state.RFLAGS_REST);
  if ((rest & RFLAGS_RF) === 0 || typeof instruction !== 'object') return;
  if (instruction.definition?.mnemonic === 'iret') return;
  setWord(cpu, state.RFLAGS_REST, rest & ~RFLAGS_RF);
};

const SOFTWARE_INTERRUPTS: ReadonlySet<string> = new Set(['int', 'int3', 'int1', 'into']);

/** INT n has cleared TF on its way into the handler, and no trap follows: SDM Vol. 3B 17.3.1.4. */
const isSoftwareInterrupt = (cpu: Cpu, instruction: DecodedInstruction | Outcome): boolean =>
  typeof instruction === 'object' &&
  SOFTWARE_INTERRUPTS.has(instruction.definition?.mnemonic ?? '') &&
  (word(cpu, state.RFLAGS_REST) & RFLAGS_TF) === 0;

/** The instruction began with TF set: a debug trap follows it. SDM Vol. 3B 17.3.1.4. */
const singleStepTrap = (cpu: Cpu): StepResult => {
  setQuad(cpu, state.PENDING_DEBUG, quad(cpu, state.PENDING_DEBUG) | DEBUG_SINGLE_STEP);
  if (cpu.nonRoot?.defersDebugTrap?.() === true) return 'retired';
  const outcome = deliverPendingDebug(cpu);
  return outcome === OUTCOME.jumped ? 'retired' : stepOf(outcome);
};

/** How many bytes of code there are from an offset on, up to the code segment's limit. */
const bytesInCode = (cpu: Cpu, offset: bigint): number =>
  is64Bit(cpu)
    ? MAX_INSTRUCTION_BYTES
    : (word(cpu, state.segmentLimit(state.CS)) >>> 0) - Number(offset) + 1;

/** The reference engine's host over the processor's state. */
const createHost = (cpu: Cpu): { host: ReferenceHost; takePending: () => Outcome } => {
  let pending: Outcome = OUTCOME.fault;
  const failed = (failure: Outcome): undefined => {
    pending = failure;
    return undefined;
  };
  const host: ReferenceHost = {
    readRegister: (register) => quad(cpu, state.registerSlot(register)),
    writeRegister: (register, value) => setQuad(cpu, state.registerSlot(register), value),
    readStatusWords: () => ({
      result: quad(cpu, state.FLAG_RESULT),
      sign: quad(cpu, state.FLAG_SIGN),
      carry: quad(cpu, state.FLAG_CARRY),
    }),
    writeStatusWords: ({ result, sign, carry }) => {
      setQuad(cpu, state.FLAG_RESULT, result);
      setQuad(cpu, state.FLAG_SIGN, sign);
      setQuad(cpu, state.FLAG_CARRY, carry);
    },
    readDirectionFlag: () => (quad(cpu, state.RFLAGS_REST) & DIRECTION_FLAG) !== 0n,
    writeDirectionFlag: (value) => {
      const rest = quad(cpu, state.RFLAGS_REST) & ~DIRECTION_FLAG;
      setQuad(cpu, state.RFLAGS_REST, value ? rest | DIRECTION_FLAG : rest);
    },
    readSelector: (segment) => quad(cpu, state.segmentSelector(segment)) & 0xffffn,
    readInstructionPointer: () => quad(cpu, state.RIP),
    writeInstructionPointer: (value) => setQuad(cpu, state.RIP, value),
    isInCodeSegment: (offset) => bytesInCode(cpu, offset) > 0,
    linearOf: (segment, offset, bytes, writes) =>
      linearOf(cpu, segment, offset, bytes, writes) ?? failed(OUTCOME.fault),
    read: (linear, bytes) => {
      const found = readLinear(cpu, linear, bytes, dataAccess(cpu, false));
      return 'failure' in found ? failed(found.failure) : found.value;
    },
    mayWrite: (linear, bytes) => {
      const failure = probeWrite(cpu, linear, bytes, dataAccess(cpu, true));
      if (failure !== undefined) pending = failure;
      return failure === undefined;
    },
    write: (linear, bytes, value) => {
      writeLinear(cpu, linear, bytes, value, dataAccess(cpu, true));
    },
    raise: (exception) => {
      pending = raise(cpu, exception, FAULTS_WITH_CODE.has(exception) ? 0 : undefined);
    },
  };
  return { host, takePending: () => pending };
};

const FAULTS_WITH_CODE: ReadonlySet<string> = new Set(['TS', 'NP', 'SS', 'GP', 'PF', 'AC', 'DF']);
