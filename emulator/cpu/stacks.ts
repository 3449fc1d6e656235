/**
 * Stacks as far transfers, interrupts and their returns use them: the running one, and those of
 * inner levels in the task-state segment.
 * Source: SDM Vol. 3A 5.8.5 "Stack Switching", 6.14.2 "64-Bit Mode Stack Frame", 6.14.5 "Interrupt
 * Stack Table"; 7.2.1 "Task-State Segment (TSS)", 7.7 "Task Management in 64-bit Mode".
 */
import {
  type Cpu,
  dataAccess,
  type Failure,
  is64Bit,
  isLongMode,
  quad,
  raise,
  readLinear,
  SYSTEM_READ,
  setQuad,
  word,
  writeLinear,
} from './cpu.ts';
import {
  type Descriptor,
  dplOf,
  isCanonical,
  isPresent,
  isWithinLimit,
  markAccessed,
  readDescriptor,
} from './segmentation.ts';
import * as state from './state.ts';

const RSP = state.registerSlot(4);
const STACK_BIG = 0x4000;
const WRITABLE_DATA = 0x12;
const DATA_BITS = 0x1a;
const BUSY_TSS_16 = 3;

/** A stack to push on or pop from. */
export interface Stack {
  readonly base: bigint;
  readonly top: bigint;
  readonly pointerWidth: 16 | 32 | 64;
  readonly access: number;
  readonly limit: number;
  /** Of a new stack: what SS is to be loaded with; absent in 64-bit mode. */
  readonly descriptor: Descriptor | undefined;
}

/** A stack of 64-bit mode. */
const flatStack = (top: bigint): Stack => ({
  base: 0n,
  top,
  pointerWidth: 64,
  access: 0,
  limit: 0,
  descriptor: undefined,
});

const widthOf = (access: number): 16 | 32 => ((access & STACK_BIG) !== 0 ? 32 : 16);

/** The running stack. */
export const currentStack = (cpu: Cpu): Stack => {
  if (is64Bit(cpu)) return flatStack(quad(cpu, RSP));
  const access = word(cpu, state.segmentAccess(state.SS));
  const pointerWidth = widthOf(access);
  return {
    base: quad(cpu, state.segmentBase(state.SS)),
    top: BigInt.asUintN(pointerWidth, quad(cpu, RSP)),
    pointerWidth,
    access,
    limit: word(cpu, state.segmentLimit(state.SS)),
    descriptor: undefined,
  };
};

type Found<T> = T | { failure: Failure };

const refuse = (cpu: Cpu, name: 'TS' | 'SS', selector: number): { failure: Failure } => ({
  failure: raise(cpu, name, selector & 0xfffc) as Failure,
});

/** The stack of an inner level, or of an entry of the interrupt stack table, from the TSS. */
export const innerStack = (cpu: Cpu, level: number, tableEntry = 0): Found<Stack> => {
  const isLong = isLongMode(cpu);
  const isWide = (word(cpu, state.segmentAccess(state.TR)) & 0xf) !== BUSY_TSS_16;
  const offset =
    tableEntry !== 0 ? 0x24 + (tableEntry - 1) * 8 : isWide ? 4 + level * 8 : 2 + level * 4;
  const last = offset + (isLong ? 7 : isWide ? 5 : 3);
  const task = word(cpu, state.segmentSelector(state.TR));
  if (last > word(cpu, state.segmentLimit(state.TR)) >>> 0) return refuse(cpu, 'TS', task);
  const at = quad(cpu, state.segmentBase(state.TR)) + BigInt(offset);
  const found = readLinear(cpu, at, last - offset + 1, SYSTEM_READ);
  if ('failure' in found) return found;
  if (isLong) return flatStack(found.value);
  const pointerBits = isWide ? 32 : 16;
  const selector = Number((found.value >> BigInt(pointerBits)) & 0xffffn);
  if ((selector & 0xfffc) === 0) return refuse(cpu, 'TS', 0);
  const descriptor = readDescriptor(cpu, selector, 'TS');
  if ('failure' in descriptor) return descriptor;
  const isWritable = (descriptor.access & DATA_BITS) === WRITABLE_DATA;
  if ((selector & 3) !== level || dplOf(descriptor) !== level || !isWritable) {
    return refuse(cpu, 'TS', selector);
  }
  if (!isPresent(descriptor)) return refuse(cpu, 'SS', selector);
  const failure = markAccessed(cpu, descriptor);
  if (failure !== undefined) return { failure };
  const { base, access, limit } = descriptor;
  const pointerWidth = widthOf(access);
  const top = BigInt.asUintN(Math.min(pointerWidth, pointerBits), found.value);
  return { base, top, pointerWidth, access, limit, descriptor };
};

/** The 16-byte aligned stack on which long mode pushes the frame of an event. */
export const alignedStack = ({ top }: Stack): Stack => flatStack(top & ~15n);

/** #SS if `bytes` bytes from `offset` on are not within the stack; undefined if they are. */
const refusalOf = (cpu: Cpu, stack: Stack, offset: bigint, bytes: number): Failure | undefined => {
  const { pointerWidth, access, limit, descriptor } = stack;
  const isInside =
    pointerWidth === 64
      ? isCanonical(offset) && isCanonical(BigInt.asUintN(64, offset + BigInt(bytes - 1)))
      : isWithinLimit(access, limit, offset, bytes);
  return isInside ? undefined : refuse(cpu, 'SS', descriptor?.selector ?? 0).failure;
};

const linearOn = ({ base, pointerWidth }: Stack, offset: bigint): bigint =>
  BigInt.asUintN(pointerWidth === 64 ? 64 : 32, base + offset);

/** Pushes the values, the first one first; the new stack pointer. */
export const pushAll = (
  cpu: Cpu,
  stack: Stack,
  width: number,
  values: readonly bigint[],
  user: boolean,
): Found<bigint> => {
  const size = BigInt(width / 8);
  const access = { write: true, execute: false, user };
  // Most often all fits; where the pointer wraps around, each push is checked on its own.
  const lowest = BigInt.asUintN(stack.pointerWidth, stack.top - size * BigInt(values.length));
  const isChecked = refusalOf(cpu, stack, lowest, values.length * (width / 8)) === undefined;
  let at = stack.top;
  for (const value of values) {
    at = BigInt.asUintN(stack.pointerWidth, at - size);
    const failure =
      (isChecked ? undefined : refusalOf(cpu, stack, at, width / 8)) ??
      writeLinear(cpu, linearOn(stack, at), width / 8, BigInt.asUintN(width, value), access);
    if (failure !== undefined) return { failure };
  }
  return at;
};

/** Reads `count` values of `width` bits, from `distance` bytes above the stack pointer upwards. */
export const peekStack = (
  cpu: Cpu,
  stack: Stack,
  distance: bigint,
  width: number,
  count: number,
): Found<{ values: bigint[] }> => {
  const bytes = width / 8;
  const first = BigInt.asUintN(stack.pointerWidth, stack.top + distance);
  const access = dataAccess(cpu, false);
  const isChecked = refusalOf(cpu, stack, first, count * bytes) === undefined;
  const values: bigint[] = [];
  for (let index = 0; index < count; index += 1) {
    const at = BigInt.asUintN(stack.pointerWidth, first + BigInt(index * bytes));
    const failure = isChecked ? undefined : refusalOf(cpu, stack, at, bytes);
    if (failure !== undefined) return { failure };
    const found = readLinear(cpu, linearOn(stack, at), bytes, access);
    if ('failure' in found) return found;
    values.push(found.value);
  }
  return { values };
};

/** Sets the stack pointer: all of it in 64-bit code, else as many bits as the stack has. */
export const setStackPointer = (cpu: Cpu, width: 16 | 32 | 64, value: bigint): void => {
  const kept = width === 16 ? quad(cpu, RSP) & ~0xffffn : 0n;
  setQuad(cpu, RSP, kept | BigInt.asUintN(width, value));
};
