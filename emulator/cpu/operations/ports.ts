/**
 * Port I/O that does not exit: the permission check, then a bus on which nothing answers.
 * Source: SDM Vol. 1 19.5.2 "I/O Permission Bit Map"; Vol. 2, IN, OUT, INS, OUTS.
 */
import {
  type Cpu,
  cplOf,
  dataAccess,
  quad,
  raise,
  readLinear,
  SYSTEM_READ,
  setQuad,
  word,
  writeLinear,
} from '../cpu.ts';
import { OUTCOME, type Outcome } from '../processor.ts';
import { linearOf, UNUSABLE } from '../segmentation.ts';
import * as state from '../state.ts';
import { numberAt, type Operation } from './operation.ts';

const RCX = state.registerSlot(1);
const RDX = state.registerSlot(2);
const RSI = state.registerSlot(6);
const RDI = state.registerSlot(7);
const BITMAP_OFFSET = 0x66;
const DIRECTION_FLAG = 0x400n;
const TYPE_32BIT_TSS = 9;

/** #GP(0) or another fault if the ports are denied; undefined if they are not. */
export const portRefusal = (cpu: Cpu, port: number, width: number): Outcome | undefined => {
  const iopl = Number((quad(cpu, state.RFLAGS_REST) >> 12n) & 3n);
  if (cplOf(cpu) <= iopl || (word(cpu, state.CR0) & 1) === 0) return undefined;
  const access = word(cpu, state.segmentAccess(state.TR));
  const limit = word(cpu, state.segmentLimit(state.TR)) >>> 0;
  const hasBitmap = (access & UNUSABLE) === 0 && (access & 0xd) === TYPE_32BIT_TSS;
  if (!hasBitmap || limit < BITMAP_OFFSET + 1) return raise(cpu, 'GP', 0);
  const base = quad(cpu, state.segmentBase(state.TR));
  const map = readLinear(cpu, base + BigInt(BITMAP_OFFSET), 2, SYSTEM_READ);
  if ('failure' in map) return map.failure;
  const offset = Number(map.value) + (port >> 3);
  if (offset + 1 > limit) return raise(cpu, 'GP', 0);
  const found = readLinear(cpu, base + BigInt(offset), 2, SYSTEM_READ);
  if ('failure' in found) return found.failure;
  const mask = (1 << (width / 8)) - 1;
  return ((Number(found.value) >> (port & 7)) & mask) === 0 ? undefined : raise(cpu, 'GP', 0);
};

/** A read from a port at which no device answers. */
const nothing = (width: number): bigint => BigInt.asUintN(width, -1n);

const portOf = (cpu: Cpu): number => word(cpu, RDX) & 0xffff;

export const portIn: Operation = (cpu, args) => {
  const width = numberAt(args, 1);
  const refusal = portRefusal(cpu, numberAt(args, 0), width);
  if (refusal !== undefined) return refusal;
  const slot = state.registerSlot(0);
  const kept = width === 32 ? 0n : quad(cpu, slot) & ~nothing(width);
  setQuad(cpu, slot, kept | nothing(width));
  return OUTCOME.next;
};

export const portOut: Operation = (cpu, args) =>
  portRefusal(cpu, numberAt(args, 0), numberAt(args, 1)) ?? OUTCOME.next;

/** One iteration; RIP stays at the instruction while more are to come. */
const iterate = (
  cpu: Cpu,
  slot: number,
  width: number,
  addressWidth: number,
  repeats: boolean,
  move: (offset: bigint) => Outcome | undefined,
): Outcome => {
  const put = (register: number, value: bigint): void => {
    const cut = BigInt.asUintN(addressWidth, value);
    const kept = addressWidth === 16 ? quad(cpu, register) & ~0xffffn : 0n;
    setQuad(cpu, register, kept | cut);
  };
  const count = BigInt.asUintN(addressWidth, quad(cpu, RCX));
  if (repeats && count === 0n) return OUTCOME.next;
  const failure = move(BigInt.asUintN(addressWidth, quad(cpu, slot)));
  if (failure !== undefined) return failure;
  const bytes = BigInt(width / 8);
  const goesDown = (quad(cpu, state.RFLAGS_REST) & DIRECTION_FLAG) !== 0n;
  put(slot, quad(cpu, slot) + (goesDown ? -bytes : bytes));
  if (repeats) put(RCX, count - 1n);
  return repeats && count !== 1n ? OUTCOME.jumped : OUTCOME.next;
};

export const portInString: Operation = (cpu, args) => {
  const width = numberAt(args, 0);
  return (
    portRefusal(cpu, portOf(cpu), width) ??
    iterate(cpu, RDI, width, numberAt(args, 1), numberAt(args, 2) === 1, (offset) => {
      const linear = linearOf(cpu, state.ES, offset, width / 8, true);
      if (linear === undefined) return OUTCOME.fault;
      return writeLinear(cpu, linear, width / 8, nothing(width), dataAccess(cpu, true));
    })
  );
};

export const portOutString: Operation = (cpu, args) => {
  const width = numberAt(args, 0);
  return (
    portRefusal(cpu, portOf(cpu), width) ??
    iterate(cpu, RSI, width, numberAt(args, 1), numberAt(args, 2) === 1, (offset) => {
      const linear = linearOf(cpu, numberAt(args, 3), offset, width / 8, false);
      if (linear === undefined) return OUTCOME.fault;
      const found = readLinear(cpu, linear, width / 8, dataAccess(cpu, false));
      return 'failure' in found ? found.failure : undefined;
    })
  );
};
