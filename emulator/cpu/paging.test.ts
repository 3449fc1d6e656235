import { beforeEach, describe, expect, test } from 'vitest';
import type { Maddr } from '../memory/addresses.ts';
import { createMachineMemory, hostAddressOf } from '../memory/machine-memory.ts';
import {
  errorCodeOf,
  isWalkFault,
  linearNumber,
  noSecondStage,
  type PagingAccess,
  type SecondStage,
  translateLinear,
  WALK_EXIT,
} from './paging.ts';
import { CR0, CR3, CR4, EFER, PDPTES, RFLAGS_REST } from './state.ts';

const memory = createMachineMemory(0x10_0000);
const PML4 = 0x1000;
const PDPT = 0x2000;
const PD = 0x3000;
const PT = 0x4000;
const PAGE = 0x5000;
const LINEAR = 0x0000_7f80_4020_1abcn;
const NX = 1n << 63n;

const at = (table: number, index: number) => (hostAddressOf(table as Maddr) >>> 3) + index;
const entry = (table: number, index: number) => memory.quads[at(table, index)] ?? 0n;
const put = (table: number, index: number, value: bigint) => {
  memory.quads[at(table, index)] = value;
};
const set = (slot: number, value: bigint) => {
  memory.quads[slot >>> 3] = value;
};
const index = (shift: bigint) => Number((LINEAR >> shift) & 511n);

const READ: PagingAccess = { write: false, execute: false, user: false };
const WRITE: PagingAccess = { ...READ, write: true };
const FETCH: PagingAccess = { ...READ, execute: true };
const user = (access: PagingAccess): PagingAccess => ({ ...access, user: true });
const readable = (result: number) =>
  result === WALK_EXIT
    ? { kind: 'exit' }
    : isWalkFault(result)
      ? fault(errorCodeOf(result))
      : page(result);
const translate = (access: PagingAccess, stage: SecondStage = noSecondStage) =>
  readable(translateLinear(memory, stage, linearNumber(LINEAR), access));
const page = (maddr: number) => ({ kind: 'page', maddr });
const fault = (errorCode: number) => ({ kind: 'fault', errorCode });

beforeEach(() => {
  memory.bytes.fill(0, hostAddressOf(0 as Maddr), hostAddressOf(0x6000 as Maddr));
  set(CR0, 0x8001_0001n);
  set(CR3, BigInt(PML4));
  set(CR4, 0x20n);
  set(EFER, 0xd00n);
  set(RFLAGS_REST, 2n);
  put(PML4, index(39n), BigInt(PDPT) | 7n);
  put(PDPT, index(30n), BigInt(PD) | 7n);
  put(PD, index(21n), BigInt(PT) | 7n);
  put(PT, index(12n), BigInt(PAGE) | 7n);
});

test('without paging a linear address is the physical one', () => {
  set(CR0, 1n);
  expect(readable(translateLinear(memory, noSecondStage, 0x1234, WRITE))).toEqual(page(0x1234));
});

test('four levels, with A in all of them and D only for a write', () => {
  expect(translate(READ)).toEqual(page(PAGE + 0xabc));
  expect([entry(PML4, index(39n)), entry(PT, index(12n))]).toEqual([
    BigInt(PDPT) | 0x27n,
    BigInt(PAGE) | 0x27n,
  ]);
  translate(WRITE);
  expect(entry(PT, index(12n)) & 0x40n).toBe(0x40n);
  expect(entry(PD, index(21n)) & 0x40n).toBe(0n);
});

test('large pages of 2 MiB and 1 GiB', () => {
  put(PD, index(21n), 0x20_0083n);
  expect(translate(READ)).toEqual(page(0x20_0000 + Number(LINEAR & 0x1f_ffffn)));
  put(PDPT, index(30n), 0x4000_0083n);
  expect(translate(READ)).toEqual(page(0x4000_0000 + Number(LINEAR & 0x3fff_ffffn)));
});

describe('faults and their error codes', () => {
  test.each([
    ['not present, supervisor read', 0n, READ, 0x00],
    ['not present, user write', 0n, user(WRITE), 0x06],
    ['not present, fetch', 0n, FETCH, 0x10],
    ['read-only, user write', 5n, user(WRITE), 0x07],
    ['read-only, supervisor write with WP', 5n, WRITE, 0x03],
    ['supervisor page, user read', 3n, user(READ), 0x05],
    ['no execute', NX | 7n, FETCH, 0x11],
    ['reserved address bit', (1n << 51n) | 7n, READ, 0x09],
  ])('%s', (_name, bits, access, errorCode) => {
    put(PT, index(12n), BigInt(PAGE) | bits);
    expect(translate(access)).toEqual(fault(errorCode));
  });

  test('a fault sets no accessed bit', () => {
    put(PT, index(12n), 0n);
    translate(READ);
    expect(entry(PML4, index(39n))).toBe(BigInt(PDPT) | 7n);
  });

  test('WP clear lets the supervisor write to read-only pages', () => {
    set(CR0, 0x8000_0001n);
    put(PT, index(12n), BigInt(PAGE) | 5n);
    expect(translate(WRITE)).toEqual(page(PAGE + 0xabc));
  });

  test('NX is a reserved bit while EFER.NXE is clear', () => {
    set(EFER, 0x500n);
    put(PT, index(12n), BigInt(PAGE) | 7n | NX);
    expect(translate(READ)).toEqual(fault(0x09));
  });

  test('SMEP stops supervisor fetches, SMAP supervisor data, AC lifts SMAP for explicit access', () => {
    set(CR4, 0x30_0020n);
    expect(translate(FETCH)).toEqual(fault(0x11));
    expect(translate(READ)).toEqual(fault(0x01));
    set(RFLAGS_REST, 0x4_0002n);
    expect(translate(READ)).toEqual(page(PAGE + 0xabc));
    expect(translate({ ...READ, implicit: true })).toEqual(fault(0x01));
  });
});

describe('paging without IA-32e mode', () => {
  const walk = (linear: number, access = READ) =>
    readable(translateLinear(memory, noSecondStage, linear, access));

  test('32-bit: 4 KiB pages, and 4 MiB pages beyond 4 GiB', () => {
    set(CR4, 0x10n);
    set(EFER, 0n);
    memory.view.setUint32(hostAddressOf((PML4 + 4) as Maddr), PT | 7, true);
    memory.view.setUint32(hostAddressOf((PT + 8) as Maddr), PAGE | 7, true);
    memory.view.setUint32(hostAddressOf((PML4 + 8) as Maddr), 0x40_0000 | (3 << 13) | 0x87, true);
    expect(walk(0x40_2123)).toEqual(page(PAGE + 0x123));
    expect(walk(0x80_5678)).toEqual(page(3 * 2 ** 32 + 0x40_5678));
  });

  test('32-bit: bit 21 of an entry for 4 MiB is reserved', () => {
    set(CR4, 0x10n);
    set(EFER, 0n);
    memory.view.setUint32(hostAddressOf((PML4 + 8) as Maddr), 0x60_0087, true);
    expect(walk(0x80_0000)).toEqual(fault(0x09));
  });

  test('PAE: bits 62:52 are reserved', () => {
    set(EFER, 0x800n);
    set(PDPTES, BigInt(PD) | 1n);
    put(PD, 2, BigInt(PT) | 7n);
    put(PT, 1, BigInt(PAGE) | 7n);
    expect(walk(0x40_1000)).toEqual(page(PAGE));
    put(PT, 1, BigInt(PAGE) | 7n | (1n << 52n));
    expect(walk(0x40_1000)).toEqual(fault(0x09));
  });
});

test('every entry and the page itself go through the second stage', () => {
  const asked: number[] = [];
  const stage: SecondStage = {
    translate: (gpa) => {
      asked.push(gpa);
      return gpa as Maddr;
    },
  };
  put(PML4, index(39n), BigInt(PDPT) | 0x27n);
  put(PDPT, index(30n), BigInt(PD) | 0x27n);
  put(PD, index(21n), BigInt(PT) | 0x27n);

  expect(translate(READ, stage)).toEqual(page(PAGE + 0xabc));
  const entries = [
    PML4 + index(39n) * 8,
    PDPT + index(30n) * 8,
    PD + index(21n) * 8,
    PT + index(12n) * 8,
  ];
  expect(asked).toEqual([...entries, PT + index(12n) * 8, PAGE + 0xabc]);
});

test('an exit of the second stage ends the walk', () => {
  expect(translate(READ, { translate: () => undefined })).toEqual({ kind: 'exit' });
});
