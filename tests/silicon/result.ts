/**
 * What became of a case, and the compact form in which results are recorded: one stream, gzip
 * around it. A result is the difference to the case:
 *
 *   u16 registers that changed, u16 flags (DF and status), varint of each, varint of RIP's advance,
 *   u8 fault: 0 none, else vector + 1, then varints of error code and address,
 *   varint number of changed bytes of memory, then u16 offset and u8 value of each
 */
import { createHash } from 'node:crypto';
import { gunzipSync, gzipSync } from 'node:zlib';
import { type Case, CODE } from './cases.ts';

export interface Result {
  readonly registers: readonly bigint[];
  readonly flags: number;
  readonly rip: bigint;
  readonly fault:
    | { readonly vector: number; readonly error: number; readonly address: bigint }
    | undefined;
  /** Offsets in the data pages and their new bytes. */
  readonly memory: readonly (readonly [number, number])[];
}

/** Identifies the cases that a recording answers. */
export const digestOf = (cases: readonly Case[]): Buffer => {
  const hash = createHash('sha256');
  for (const { code, registers, flags } of cases) {
    hash.update(Uint8Array.from(code));
    hash.update(`${registers} ${flags}`);
  }
  return hash.digest();
};

export const pack = (cases: readonly Case[], results: readonly Result[]): Buffer => {
  const bytes: number[] = [...digestOf(cases)];
  const varint = (value: bigint) => {
    let rest = value;
    for (; rest > 0x7fn; rest >>= 7n) bytes.push(Number(rest & 0x7fn) | 0x80);
    bytes.push(Number(rest));
  };
  const word = (value: number) => bytes.push(value & 0xff, (value >> 8) & 0xff);
  for (const [index, result] of results.entries()) {
    const before = cases[index]?.registers ?? [];
    let changed = 0;
    for (const [i, value] of result.registers.entries()) {
      if (value !== before[i]) changed |= 1 << i;
    }
    word(changed);
    word(result.flags);
    for (const [i, value] of result.registers.entries()) if ((changed >> i) & 1) varint(value);
    varint(BigInt.asUintN(64, result.rip - BigInt(CODE)));
    const { fault, memory } = result;
    bytes.push(fault === undefined ? 0 : fault.vector + 1);
    if (fault !== undefined) {
      varint(BigInt(fault.error));
      varint(fault.address);
    }
    varint(BigInt(memory.length));
    for (const [offset, value] of memory) {
      word(offset);
      bytes.push(value);
    }
  }
  return gzipSync(Uint8Array.from(bytes), { level: 9 });
};

/** The results of a recording; an error if it was made for other cases. */
export const unpack = (cases: readonly Case[], recording: Uint8Array): Result[] => {
  const bytes = gunzipSync(recording);
  const digest = digestOf(cases);
  if (!bytes.subarray(0, digest.length).equals(digest)) {
    throw new Error('The recording answers other cases; record it again (RECORD_SILICON=1).');
  }
  let at = digest.length;
  const byte = (): number => {
    at += 1;
    return bytes[at - 1] ?? 0;
  };
  const word = () => byte() | (byte() << 8);
  const varint = (): bigint => {
    let value = 0n;
    for (let shift = 0n; ; shift += 7n) {
      const next = byte();
      value |= BigInt(next & 0x7f) << shift;
      if (next < 0x80) return value;
    }
  };
  return cases.map(({ registers: before }) => {
    const changed = word();
    const flags = word();
    const registers = before.map((value, i) => ((changed >> i) & 1 ? varint() : value));
    const rip = BigInt.asUintN(64, varint() + BigInt(CODE));
    const trap = byte();
    const fault =
      trap === 0 ? undefined : { vector: trap - 1, error: Number(varint()), address: varint() };
    const memory = Array.from({ length: Number(varint()) }, (): [number, number] => [
      word(),
      byte(),
    ]);
    return { registers, flags, rip, fault, memory };
  });
};
