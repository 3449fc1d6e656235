/**
 * REP MOVS and REP STOS at once: as many elements as lie in one page of the source and of the
 * destination. What is left, or not usual (backwards, a fault, pages with code or tables, copies
 * onto themselves), is done by the precise engine, an element at a time, with the same result.
 */
import { type Cpu, quad, setQuad, word } from '../../cpu/cpu.ts';
import * as state from '../../cpu/state.ts';
import { ACCESS_WRITES } from './translation-tables.ts';

const RAX = 0;
const RCX = 1;
const RSI = 6;
const RDI = 7;
const DIRECTION = 0x400;
const PAGE = 4096;

/** Translates the place of one element as `slow` of generated code does; 0 if it is not usual. */
type Probe = (low: number, high: number, access: number) => number;

export interface Repeated {
  readonly stores: boolean;
  readonly elementBytes: number;
  readonly addressWidth: 32 | 64;
}

/**
 * The repeated string instruction that these bytes are, in 64-bit mode or of 32-bit code with flat
 * segments; undefined if none.
 */
export const repeatedOf = (
  bytes: Uint8Array,
  at: number,
  codeWidth: number,
): Repeated | undefined => {
  if (bytes[at] !== 0xf3) return undefined;
  const rex = bytes[at + 1] ?? 0;
  const isWide = rex === 0x48 && codeWidth === 64;
  const opcode = bytes[at + (isWide ? 2 : 1)] ?? 0;
  if ((opcode & 0xfe) !== 0xa4 && (opcode & 0xfe) !== 0xaa) return undefined;
  const elementBytes = (opcode & 1) === 0 ? 1 : isWide ? 8 : 4;
  const addressWidth = codeWidth === 64 ? 64 : 32;
  return { stores: opcode >= 0xaa, elementBytes, addressWidth };
};

const low = (value: bigint): number => Number(BigInt.asIntN(32, value));
const high = (value: bigint): number => Number(BigInt.asIntN(32, value >> 32n));
const roomAt = (address: bigint): number => PAGE - (Number(address) & (PAGE - 1));

/** Does elements of it while more than one is left; whether it has done any. */
export const repeatInPages = (
  cpu: Cpu,
  { stores, elementBytes, addressWidth }: Repeated,
  probe: Probe,
): boolean => {
  if ((word(cpu, state.RFLAGS_REST) & DIRECTION) !== 0) return false;
  const register = (number: number) =>
    BigInt.asUintN(addressWidth, quad(cpu, state.registerSlot(number)));
  const set = (number: number, value: bigint) =>
    setQuad(cpu, state.registerSlot(number), BigInt.asUintN(addressWidth, value));
  let any = false;
  for (;;) {
    const count = register(RCX);
    const to = register(RDI);
    const from = register(RSI);
    const room = stores ? roomAt(low64(to)) : Math.min(roomAt(low64(to)), roomAt(low64(from)));
    const fitting = Math.floor(room / elementBytes);
    // The last element is the precise engine's: it ends the instruction.
    const elements = count - 1n < BigInt(fitting) ? Number(count) - 1 : fitting;
    if (elements <= 0) return any;
    const source = stores ? 0 : probe(low(from), high(from), elementBytes);
    if (!stores && source === 0) return any;
    const target = probe(low(to), high(to), ACCESS_WRITES | elementBytes);
    if (target === 0) return any;
    const bytes = elements * elementBytes;
    if (stores) fill(cpu, target, bytes, elementBytes, register(RAX));
    else if (target > source && target < source + bytes) return any;
    else cpu.memory.bytes.copyWithin(target, source, source + bytes);
    set(RCX, count - BigInt(elements));
    set(RDI, to + BigInt(bytes));
    if (!stores) set(RSI, from + BigInt(bytes));
    any = true;
  }
};

/** The low bits, exact as a number. */
const low64 = (value: bigint): bigint => value & 0xfffn;

const fill = (
  { memory }: Cpu,
  target: number,
  bytes: number,
  elementBytes: number,
  value: bigint,
): void => {
  const { view } = memory;
  const byte = Number(value & 0xffn);
  const repeated = BigInt.asUintN(elementBytes * 8, 0x0101_0101_0101_0101n * BigInt(byte));
  if (BigInt.asUintN(elementBytes * 8, value) === repeated) {
    memory.bytes.fill(byte, target, target + bytes);
    return;
  }
  for (let at = target; at < target + bytes; at += elementBytes) {
    if (elementBytes === 8) view.setBigUint64(at, value, true);
    else view.setUint32(at, Number(value & 0xffff_ffffn), true);
  }
};
