/**
 * The callers of the code where a vCPU stands. Assembly has no frames to rely on, so that the
 * depth of the stack is found by reading the function from its label to RIP: what it pushes, pops,
 * and takes off RSP. A return address counts only if a CALL ends there; if the reading fails, the
 * frame pointer is tried, then the nearest such address on the stack, which is marked as a guess.
 */

import type { Machine, Vcpu } from '../emulator/index.ts';
import { type DecodedInstruction, decode, type Operand } from '../isa/index.ts';
import type { SymbolTable } from './programs/symbols.ts';

export interface CodeFrame {
  readonly rip: bigint;
  /** RSP as it is in this frame. */
  readonly rsp: bigint;
  /** Found on the stack without proof. */
  readonly isGuess: boolean;
}

const FRAME_LIMIT = 64;
/** Words of the stack that are searched for a return address. */
const SEARCH_WORDS = 32;
/** Instructions read from a function's label to RIP. */
const READ_LIMIT = 2000;

/** The frames from the innermost to the outermost; at least one. */
export const unwind = (machine: Machine, vcpu: Vcpu, symbols: SymbolTable): CodeFrame[] => {
  const reader = createReader(machine, vcpu);
  const frames: CodeFrame[] = [{ rip: vcpu.rip, rsp: vcpu.register('rsp') ?? 0n, isGuess: false }];
  let framePointer = vcpu.register('rbp') ?? 0n;
  while (frames.length < FRAME_LIMIT) {
    const inner = frames.at(-1);
    if (inner === undefined) break;
    const caller = callerOf(reader, symbols, inner, framePointer);
    if (caller === undefined || caller.frame.rsp <= inner.rsp) break;
    frames.push(caller.frame);
    framePointer = caller.framePointer;
  }
  return frames;
};

interface Reader {
  readonly wordBytes: 4 | 8;
  word(address: bigint): bigint | undefined;
  instruction(address: bigint): DecodedInstruction | undefined;
  /** Whether a CALL ends at this address. */
  isAfterCall(address: bigint): boolean;
}

const createReader = (machine: Machine, vcpu: Vcpu): Reader => {
  const space = { kind: 'gva', domain: vcpu.domain, vcpu: vcpu.id } as const;
  const { codeWidth } = vcpu;
  const wordBytes = codeWidth === 64 ? 8 : 4;
  const instruction = (address: bigint): DecodedInstruction | undefined => {
    const { bytes, holes } = machine.peekMemory(space, address, 15);
    const available = holes[0] === undefined ? bytes : bytes.subarray(0, holes[0].offset);
    const decoded = decode(available, 0, address, codeWidth);
    return typeof decoded === 'string' ? undefined : decoded;
  };
  return {
    wordBytes,
    word(address) {
      const { bytes, holes } = machine.peekMemory(space, address, wordBytes);
      return holes.length > 0
        ? undefined
        : bytes.reduceRight((value, byte) => (value << 8n) | BigInt(byte), 0n);
    },
    instruction,
    isAfterCall: (address) =>
      [5n, 2n, 3n, 6n, 7n, 4n].some((length) => {
        if (address < length) return false;
        const found = instruction(address - length);
        return found?.mnemonic === 'call' && BigInt(found.lengthBytes) === length;
      }),
  };
};

interface Caller {
  readonly frame: CodeFrame;
  readonly framePointer: bigint;
}

const callerOf = (
  reader: Reader,
  symbols: SymbolTable,
  inner: CodeFrame,
  framePointer: bigint,
): Caller | undefined => {
  const word = BigInt(reader.wordBytes);
  const returnAt = (slot: bigint, outer: bigint, isGuess: boolean): Caller | undefined => {
    const rip = reader.word(slot);
    if (rip === undefined || !reader.isAfterCall(rip)) return undefined;
    return { frame: { rip, rsp: slot + word, isGuess }, framePointer: outer };
  };
  for (const start of symbols.startsBefore(inner.rip).slice(0, 4)) {
    const depth = readDepth(reader, start, inner.rip);
    if (depth === undefined) continue;
    const saved =
      depth.savedFrame === undefined ? undefined : inner.rsp + depth.bytes - depth.savedFrame;
    const outer = saved === undefined ? framePointer : (reader.word(saved) ?? framePointer);
    const base = depth.isFromFrame ? framePointer + depth.frameDepth : inner.rsp + depth.bytes;
    const found = returnAt(base, outer, inner.isGuess);
    if (found !== undefined) return found;
  }
  const chained =
    framePointer >= inner.rsp
      ? returnAt(framePointer + word, reader.word(framePointer) ?? 0n, inner.isGuess)
      : undefined;
  if (chained !== undefined) return chained;
  for (let index = 0n; index < SEARCH_WORDS; index += 1n) {
    const found = returnAt(inner.rsp + index * word, framePointer, true);
    if (found !== undefined) return found;
  }
  return undefined;
};

interface Depth {
  /** From RSP up to the return address. */
  readonly bytes: bigint;
  /** Bytes from the saved frame pointer up to the return address, if it was pushed. */
  readonly savedFrame: bigint | undefined;
  /** RSP can not be followed, the frame pointer can: it is `frameDepth` below the return address. */
  readonly isFromFrame: boolean;
  readonly frameDepth: bigint;
}

const RSP = 4;
const RBP = 5;

const isRegister = (operand: Operand | undefined, register: number): boolean =>
  operand?.kind === 'register' && operand.register === register && !operand.high;

/** How deep the function has put the stack when it has come in a straight line from start to end. */
const readDepth = (reader: Reader, start: bigint, end: bigint): Depth | undefined => {
  const word = BigInt(reader.wordBytes);
  let bytes = 0n;
  let isKnown = true;
  let frameDepth: bigint | undefined;
  let savedFrame: bigint | undefined;
  let at = start;
  /** Depths with which forward jumps go to their targets. */
  const jumps = new Map<bigint, bigint>();
  let isReached = true;
  for (let count = 0; at <= end; count += 1) {
    if (!isReached) bytes = jumps.get(at) ?? bytes;
    isReached = isReached || jumps.has(at);
    if (at === end) break;
    const instruction = reader.instruction(at);
    if (instruction === undefined || count > READ_LIMIT) return undefined;
    const [first, second] = instruction.operands;
    const isStackPointer = isRegister(first, RSP);
    const isFramePointer = isRegister(first, RBP);
    const constant = second?.kind === 'immediate' ? BigInt.asIntN(64, second.value) : undefined;
    switch (instruction.mnemonic) {
      case 'push':
      case 'pushf':
      case 'pushfq':
        bytes += word;
        if (instruction.mnemonic === 'push' && isFramePointer) savedFrame = bytes;
        break;
      case 'pop':
      case 'popf':
      case 'popfq':
        bytes -= word;
        if (isFramePointer && savedFrame !== undefined) savedFrame = undefined;
        break;
      case 'enter':
        savedFrame = bytes + word;
        frameDepth = savedFrame;
        isKnown = false;
        break;
      case 'leave':
        if (frameDepth === undefined) return undefined;
        bytes = frameDepth - word;
        isKnown = true;
        break;
      case 'sub':
      case 'add':
        if (!isStackPointer) break;
        if (constant === undefined) isKnown = false;
        else bytes += instruction.mnemonic === 'sub' ? constant : -constant;
        break;
      case 'mov':
        if (isFramePointer && isRegister(second, RSP)) frameDepth = bytes;
        if (!isStackPointer) break;
        if (isRegister(second, RBP) && frameDepth !== undefined) {
          bytes = frameDepth;
          isKnown = true;
        } else isKnown = false;
        break;
      case 'lea':
      case 'and':
        if (isStackPointer) isKnown = false;
        break;
      default:
    }
    const after = at + BigInt(instruction.lengthBytes);
    if (first?.kind === 'target' && instruction.mnemonic !== 'call') {
      jumps.set(after + first.displacement, bytes);
    }
    if (instruction.mnemonic === 'ret' || instruction.mnemonic === 'jmp') isReached = false;
    at = after;
  }
  if (at !== end || bytes < 0n || (!isKnown && frameDepth === undefined)) return undefined;
  return { bytes, savedFrame, isFromFrame: !isKnown, frameDepth: frameDepth ?? 0n };
};
