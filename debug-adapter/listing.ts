/**
 * The instructions in memory as rows, each page by itself: what the generated listings and DAP's
 * disassembly show. x86 code can be decoded in one direction only, so that rows begin at known
 * boundaries: source lines, symbols, addresses at which a vCPU has stood. Where a boundary falls
 * into an instruction, its bytes up to there are data.
 */

import type { Machine, Vcpu } from '../emulator/index.ts';
import { formatInstruction } from '../isa/index.ts';
import { hex } from './numbers.ts';

export const PAGE_BYTES = 0x1000n;
const LONGEST_INSTRUCTION = 15;

export interface ListingRow {
  readonly address: bigint;
  readonly bytes: Uint8Array;
  /** NASM text. */
  readonly text: string;
  readonly isData: boolean;
}

export interface Listing {
  /** Rows of the page that begins at `page`; empty if it is not mapped. */
  rowsOf(vcpu: Vcpu, page: bigint): readonly ListingRow[];
  /** An instruction is known to begin here. */
  noteBoundary(address: bigint): void;
}

export const pageOf = (address: bigint): bigint => address & ~(PAGE_BYTES - 1n);

interface CachedPage {
  readonly bytes: Uint8Array;
  readonly version: number;
  readonly codeWidth: number;
  readonly rows: readonly ListingRow[];
}

export const createListing = (machine: Machine, boundaries: Iterable<bigint>): Listing => {
  const known = new Map<bigint, Set<bigint>>();
  const versions = new Map<bigint, number>();
  const cache = new Map<string, CachedPage>();
  const note = (address: bigint): void => {
    const page = pageOf(address);
    const set = known.get(page) ?? new Set<bigint>();
    known.set(page, set);
    if (set.has(address)) return;
    set.add(address);
    versions.set(page, (versions.get(page) ?? 0) + 1);
  };
  for (const address of boundaries) note(address);
  return {
    rowsOf(vcpu, page) {
      const space = { kind: 'gva', domain: vcpu.domain, vcpu: vcpu.id } as const;
      const { bytes, holes } = machine.peekMemory(space, page, 4096 + LONGEST_INSTRUCTION);
      if (holes.some(({ offset }) => offset === 0)) return [];
      const readable = holes.some(({ offset }) => offset === 4096)
        ? bytes.subarray(0, 4096)
        : bytes;
      const key = `${vcpu.domain}.${vcpu.id}.${page}`;
      const version = versions.get(page) ?? 0;
      const { codeWidth } = vcpu;
      const old = cache.get(key);
      if (
        old?.version === version &&
        old.codeWidth === codeWidth &&
        sameBytes(old.bytes, readable)
      ) {
        return old.rows;
      }
      const starts = [...(known.get(page) ?? [])].sort((a, b) => (a < b ? -1 : 1));
      const first = firstBoundary(machine, vcpu, page, known.get(page - PAGE_BYTES));
      const rows = decodeRows(readable, page, first, starts, codeWidth);
      cache.set(key, { bytes: readable.slice(), version, codeWidth, rows });
      return rows;
    },
    noteBoundary: note,
  };
};

const sameBytes = (a: Uint8Array, b: Uint8Array): boolean =>
  a.length === b.length && a.every((byte, index) => byte === b[index]);

/** Where the page's first own instruction begins: after one that reaches in from the page before. */
const firstBoundary = (
  machine: Machine,
  vcpu: Vcpu,
  page: bigint,
  previous: ReadonlySet<bigint> | undefined,
): bigint => {
  let at = [...(previous ?? [])].reduce<bigint | undefined>(
    (best, start) => (best === undefined || start > best ? start : best),
    undefined,
  );
  if (at === undefined || page - at > 256n) return page;
  const space = { kind: 'gva', domain: vcpu.domain, vcpu: vcpu.id } as const;
  while (at < page) {
    const { bytes } = machine.peekMemory(space, at, LONGEST_INSTRUCTION);
    at += BigInt(formatInstruction(bytes, 0, at, vcpu.codeWidth).lengthBytes);
  }
  return at;
};

const decodeRows = (
  bytes: Uint8Array,
  page: bigint,
  first: bigint,
  starts: readonly bigint[],
  codeWidth: 16 | 32 | 64,
): ListingRow[] => {
  const rows: ListingRow[] = [];
  let next = 0;
  for (let offset = Number(first - page); offset < 4096; ) {
    const address = page + BigInt(offset);
    while ((starts[next] ?? address + PAGE_BYTES) <= address) next += 1;
    const limit = Number((starts[next] ?? page + 8192n) - page);
    const decoded = formatInstruction(bytes, offset, address, codeWidth);
    const isWhole = decoded.isValid && offset + decoded.lengthBytes <= limit;
    const length = isWhole ? decoded.lengthBytes : 1;
    const own = bytes.slice(offset, offset + length);
    rows.push({
      address,
      bytes: own,
      text: isWhole ? decoded.text : `db ${hex(own[0] ?? 0)}`,
      isData: !isWhole,
    });
    offset += length;
  }
  return rows;
};
