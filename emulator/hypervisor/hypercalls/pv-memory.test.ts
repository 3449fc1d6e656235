import { expect, test } from 'vitest';
import { OWNER_FREE } from '../frames.ts';
import { createTestGuest, DOMID_SELF, type TestGuest } from '../pv/mmu/test-guest.ts';

const MEMORY_OP = 12;
const UPDATE_VA_MAPPING = 14;
const ARGUMENT = 0x4000n;
const LIST = 0x5000n;
const OUT_LIST = 0x6000n;
const P = 1n;

interface Reservation {
  readonly list?: bigint;
  readonly count?: number | bigint;
  readonly order?: number;
  readonly flags?: number;
  readonly domid?: number;
}

const reserve = (guest: TestGuest, command: number, given: Reservation): number => {
  const { list = LIST, count = 1, order = 0, flags = 0, domid = DOMID_SELF } = given;
  guest.put(ARGUMENT, [8, list], [8, count], [4, order], [4, flags], [8, domid]);
  return guest.call(MEMORY_OP, command, ARGUMENT);
};

const exchange = (
  guest: TestGuest,
  [inCount, inOrder]: readonly [number, number],
  [outCount, outOrder]: readonly [number, number],
  domid = DOMID_SELF,
): number => {
  guest.put(ARGUMENT, [8, LIST], [8, inCount], [4, inOrder], [4, 0], [8, domid]);
  guest.put(
    ARGUMENT + 32n,
    [8, OUT_LIST],
    [8, outCount],
    [4, outOrder],
    [4, 0],
    [8, domid],
    [8, 0],
  );
  return guest.call(MEMORY_OP, 11, ARGUMENT);
};

const unmap = (guest: TestGuest, ...gfns: readonly number[]): void => {
  for (const gfn of gfns) guest.call(UPDATE_VA_MAPPING, gfn * 4096, 0, 0);
};

const ownerOf = (guest: TestGuest, mfn: number): number | undefined =>
  guest.machine.hypervisor.frames.owners[mfn];

test('a frame that is given back is free once nothing maps it', () => {
  const guest = createTestGuest();
  guest.put(LIST, [8, guest.mfn(8)], [8, guest.mfn(9)], [8, 0x7fff]);
  unmap(guest, 8);

  expect(reserve(guest, 1, { count: 3 })).toBe(2);
  expect([8, 9].map((gfn) => ownerOf(guest, guest.mfn(gfn)))).toEqual([OWNER_FREE, 1]);
  expect(guest.domain.pages).toBe(31);
  unmap(guest, 9);
  expect(ownerOf(guest, guest.mfn(9))).toBe(OWNER_FREE);
  expect([guest.domain.pages, guest.domain.p2m.lookup(9 as never).mfn]).toEqual([30, undefined]);
});

test('frames come back by the numbers that the guest names, zeroed', () => {
  const guest = createTestGuest();
  guest.put(guest.linear(8), [8, 0x1234]);
  guest.put(LIST, [8, guest.mfn(8)]);
  unmap(guest, 8);
  reserve(guest, 1, {});
  guest.put(LIST, [8, 800], [8, 801]);

  // The domain may have 32 pages.
  expect(reserve(guest, 6, { count: 2 })).toBe(1);
  const mfn = guest.peek(LIST);
  expect(ownerOf(guest, Number(mfn))).toBe(1);
  expect(guest.machine.paging.mmu.m2p.gfn(Number(mfn))).toBe(800);
  expect(guest.call(UPDATE_VA_MAPPING, 0x8000, (mfn << 12n) | P, 0)).toBe(0);
  expect(guest.peek(0x8000n)).toBe(0n);
});

test('what cannot be done is no error: no extent is done', () => {
  const guest = createTestGuest();
  guest.put(LIST, [8, guest.mfn(8)]);

  expect(guest.call(MEMORY_OP, 1, 0x10_0000_0000n)).toBe(0);
  expect(reserve(guest, 1, { domid: 9 })).toBe(0);
  expect(reserve(guest, 1, { order: 10 })).toBe(0);
  expect(reserve(guest, 1, { count: 2n ** 40n })).toBe(0);
  expect(reserve(guest, 1, { flags: 12 })).toBe(0);
  expect(reserve(guest, 1, { list: 0xffff_8000_0000_0000n })).toBe(0);
  expect(reserve(guest, 0, { list: 0n })).toBe(0);
  expect(guest.domain.pages).toBe(32);
});

test('frames are exchanged for frames in a row', () => {
  const guest = createTestGuest();
  const old = [8, 9, 10, 11].map((gfn) => guest.mfn(gfn));
  guest.put(LIST, ...old.map((mfn) => [8, mfn] as const));
  guest.put(OUT_LIST, [8, 8]);
  expect(exchange(guest, [4, 0], [1, 2])).toBe(-22);
  unmap(guest, 8, 9, 10, 11);

  expect(exchange(guest, [4, 0], [1, 2])).toBe(0);
  const first = Number(guest.peek(OUT_LIST));
  const { m2p } = guest.machine.paging.mmu;
  expect([0, 1, 2, 3].map((page) => m2p.gfn(first + page))).toEqual([8, 9, 10, 11]);
  expect(first % 4).toBe(0);
  expect([guest.domain.pages, guest.peek(ARGUMENT + 64n)]).toEqual([32, 4n]);
  expect(exchange(guest, [2, 0], [1, 2])).toBe(-22);
  expect(exchange(guest, [1, 10], [1, 10])).toBe(-1);
  expect(exchange(guest, [4, 0], [4, 0], 9)).toBe(-3);
});

test('a long list is gone through in several calls', () => {
  const guest = createTestGuest();
  // One page of the same frame, at linear addresses in a row: it is given back again and again.
  guest.put(LIST, ...Array.from({ length: 512 }, () => [8, guest.mfn(20)] as const));
  for (let slot = 100; slot < 120; slot += 1) {
    guest.call(UPDATE_VA_MAPPING, slot * 4096, guest.entry(5, P), 0);
  }

  expect(reserve(guest, 1, { list: 100n * 4096n, count: 20 * 512 })).toBe(10_240);
  expect(guest.domain.hypercallCounts.get('memory_op')).toBe(3);
  expect(guest.domain.pages).toBe(32);
});

test('the M2P is where it is said to be', () => {
  const guest = createTestGuest();

  expect(guest.call(MEMORY_OP, 12, ARGUMENT)).toBe(0);
  expect([0n, 8n, 16n].map((offset) => guest.peek(ARGUMENT + offset))).toEqual([
    0xffff_8000_0000_0000n,
    0xffff_8040_0000_0000n,
    0x7_ffff_ffffn,
  ]);
  guest.put(ARGUMENT, [8, 4], [8, LIST], [8, 0]);
  expect(guest.call(MEMORY_OP, 5, ARGUMENT)).toBe(0);
  expect(guest.peek(ARGUMENT + 16n, 4)).toBe(1n);
  expect(guest.peek(LIST)).toBe(BigInt(guest.machine.paging.mmu.m2p.first));
  expect(guest.call(MEMORY_OP, 12, 0)).toBe(-14);
});

test('the memory map is one range, and nothing is added to a P2M', () => {
  const guest = createTestGuest();
  guest.put(ARGUMENT, [8, 8], [8, LIST]);

  expect(guest.call(MEMORY_OP, 9, ARGUMENT)).toBe(0);
  expect(guest.peek(ARGUMENT, 4)).toBe(1n);
  expect([guest.peek(LIST), guest.peek(LIST + 8n), guest.peek(LIST + 16n, 4)]).toEqual([
    0n,
    32n * 4096n,
    1n,
  ]);
  guest.put(ARGUMENT, [2, DOMID_SELF]);
  expect(guest.call(MEMORY_OP, 7, ARGUMENT)).toBe(-13);
  expect(guest.call(MEMORY_OP, 15, ARGUMENT)).toBe(-13);
  expect([guest.call(MEMORY_OP, 3, ARGUMENT), guest.call(MEMORY_OP, 4, ARGUMENT)]).toEqual([
    32, 32,
  ]);
});
