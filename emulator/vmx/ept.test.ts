import { beforeEach, expect, test } from 'vitest';
import type { PagingAccess } from '../cpu/paging.ts';
import type { Maddr } from '../memory/addresses.ts';
import { createMachineMemory, hostAddressOf } from '../memory/machine-memory.ts';
import { violationQualification, walkEpt } from './ept.ts';

const memory = createMachineMemory(0x10_0000);
const TABLES = [0x1000, 0x2000, 0x3000, 0x4000] as const;
const GPA = 0x1234;
const READ: PagingAccess = { write: false, execute: false, user: false };
const WRITE: PagingAccess = { ...READ, write: true };
const EXECUTE: PagingAccess = { ...READ, execute: true };

const slot = (table: number, index: number) => (hostAddressOf(table as Maddr) >>> 3) + index;
const put = (table: number, index: number, value: bigint) => {
  memory.quads[slot(table, index)] = value;
};
const walk = (access: PagingAccess, gpa = GPA, flags = 0x1e, forTable = false) =>
  walkEpt(memory, TABLES[0] | flags, 0, gpa, access, forTable);

beforeEach(() => {
  memory.bytes.fill(0, hostAddressOf(0x1000 as Maddr), hostAddressOf(0x6000 as Maddr));
  for (const [level, table] of TABLES.slice(0, 3).entries()) {
    put(table, 0, BigInt(TABLES[level + 1] ?? 0) | 7n);
  }
  put(TABLES[3], 1, 0x9_0000n | 0x37n);
});

test('a 4 KiB page', () => {
  expect(walk(WRITE)).toEqual({ kind: 'page', maddr: 0x9_0234, pageBytes: 4096 });
});

test('a 2 MiB page', () => {
  put(TABLES[2], 0, 0x40_0000n | 0xb7n);
  expect(walk(READ)).toEqual({ kind: 'page', maddr: 0x40_1234, pageBytes: 0x20_0000 });
});

test('a hole and a missing permission are violations, told apart by the permissions', () => {
  expect(walk(READ, 0x2000)).toEqual({ kind: 'violation', access: 1, permissions: 0 });
  put(TABLES[3], 1, 0x9_0000n | 0x31n);
  expect(walk(WRITE)).toEqual({ kind: 'violation', access: 2, permissions: 1 });
  expect(walk(EXECUTE)).toEqual({ kind: 'violation', access: 4, permissions: 1 });
});

test('with accessed and dirty bits a table access counts as a write', () => {
  put(TABLES[3], 1, 0x9_0000n | 0x31n);
  expect(walk(READ, GPA, 0x1e, true).kind).toBe('page');
  expect(walk(READ, GPA, 0x5e, true)).toEqual({ kind: 'violation', access: 3, permissions: 1 });
});

test.each([
  ['writable without readable', 0x9_0000n | 0x32n],
  ['a reserved memory type', 0x9_0000n | 0x17n],
  ['a reserved address bit', (1n << 51n) | 0x37n],
])('%s is a misconfiguration', (_name, value) => {
  put(TABLES[3], 1, value);
  expect(walk(READ)).toEqual({ kind: 'misconfiguration' });
});

test('accessed and dirty bits are set if the EPT pointer enables them', () => {
  walk(WRITE);
  expect(memory.quads[slot(TABLES[3], 1)]).toBe(0x9_0037n);
  walk(READ, GPA, 0x5e);
  expect(memory.quads[slot(TABLES[3], 1)]).toBe(0x9_0137n);
  walk(WRITE, GPA, 0x5e);
  expect(memory.quads[slot(TABLES[3], 1)]).toBe(0x9_0337n);
  expect((memory.quads[slot(TABLES[0], 0)] ?? 0n) & 0x300n).toBe(0x100n);
});

test('the qualification says what was tried and what was allowed', () => {
  const violation = (access: number, permissions: number) =>
    ({ kind: 'violation', access, permissions }) as const;
  expect(violationQualification(violation(2, 1), true, false)).toBe(0x18a);
  expect(violationQualification(violation(1, 0), true, true)).toBe(0x081);
  expect(violationQualification(violation(1, 0), false, false)).toBe(0x001);
});
