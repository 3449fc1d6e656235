import { expect, test } from 'vitest';
import type { MachineEvent } from '../../events.ts';
import type { Maddr } from '../../memory/addresses.ts';
import { hostAddressOf } from '../../memory/machine-memory.ts';
import { addTestGuest, createTestGuest, DOMID_SELF, type TestGuest } from '../pv/mmu/test-guest.ts';
import { translate } from '../pv/mmu/translate.ts';

const MMU_UPDATE = 1;
const UPDATE_VA_MAPPING = 14;
const MMUEXT_OP = 26;
const LIST = 0x4000n;
const DONE = 0x5000n;
/** MACH2PHYS_VIRT_START as a signed number. */
const M2P = -(2 ** 47);
const P = 1n;
const RW = 2n;

const maddr = (guest: TestGuest, gfn: number, slot = 0): bigint =>
  BigInt(guest.mfn(gfn)) * 4096n + BigInt(slot * 8);

const mmuUpdate = (
  guest: TestGuest,
  requests: readonly (readonly [bigint, bigint])[],
  foreign = DOMID_SELF,
): number => {
  guest.put(DONE, [8, 0x99]);
  guest.put(LIST, ...requests.flat().map((value) => [8, value] as const));
  return guest.call(MMU_UPDATE, LIST, requests.length, DONE, foreign);
};

const mmuext = (
  guest: TestGuest,
  operations: readonly (readonly [number, number | bigint, (number | bigint)?])[],
  foreign = DOMID_SELF,
): number => {
  guest.put(DONE, [8, 0x99]);
  guest.put(
    LIST,
    ...operations.flatMap(
      ([command, first, second = 0]) =>
        [
          [8, command],
          [8, first],
          [8, second],
        ] as const,
    ),
  );
  return guest.call(MMUEXT_OP, LIST, operations.length, DONE, foreign);
};

test('a list of updates ends at the first that fails, and tells how many were done', () => {
  const guest = createTestGuest();
  const result = mmuUpdate(guest, [
    [maddr(guest, 3, 100), guest.entry(8, P)],
    [maddr(guest, 3, 101), guest.entry(9, P)],
    [maddr(guest, 3, 102), guest.entry(0, P | RW)],
    [maddr(guest, 3, 103), guest.entry(10, P)],
  ]);

  expect(result).toBe(-16);
  expect(guest.peek(DONE, 4)).toBe(2n);
  expect(guest.peek(100n * 4096n)).toBe(guest.peek(guest.linear(8)));
  expect(guest.machine.read(guest.mfn(3), 103)).toBe(0n);
});

test('bits of the address say what kind of request it is', () => {
  const guest = createTestGuest();
  mmuUpdate(guest, [[maddr(guest, 3, 8) | 0n, guest.entry(8, P | RW | 0x60n)]]);

  expect(mmuUpdate(guest, [[maddr(guest, 3, 8) | 2n, guest.entry(8, P | RW)]])).toBe(0);
  expect(guest.machine.read(guest.mfn(3), 8) & 0x60n).toBe(0x60n);
  expect(mmuUpdate(guest, [[maddr(guest, 3, 8), guest.entry(8, P | RW)]])).toBe(0);
  expect(guest.machine.read(guest.mfn(3), 8) & 0x60n).toBe(0n);
  expect(mmuUpdate(guest, [[maddr(guest, 8) | 1n, 77n]])).toBe(0);
  const { mmu } = guest.machine.paging;
  const inM2p = translate(mmu, guest.mfn(0), M2P + guest.mfn(8) * 8, false);
  expect(mmu.memory.view.getBigUint64(hostAddressOf(inM2p as Maddr), true)).toBe(77n);
  expect(translate(mmu, guest.mfn(0), M2P + guest.mfn(8) * 8, true)).toBe(-1);
  expect(mmuUpdate(guest, [[maddr(guest, 8) | 4n, 0n]])).toBe(-38);
});

test('a frame that is no table is simply written', () => {
  const guest = createTestGuest();

  expect(mmuUpdate(guest, [[maddr(guest, 9, 3), 0x1234n]])).toBe(0);
  expect(guest.peek(guest.linear(9) + 24n)).toBe(0x1234n);
});

test('other domains are refused, by each way that names them', () => {
  const guest = createTestGuest();
  const other = addTestGuest(guest.machine, 2, 8);
  const update = [[maddr(guest, 3, 100), BigInt(other.mfn(5)) * 4096n + P]] as const;

  expect(mmuUpdate(guest, update)).toBe(-16);
  expect(mmuUpdate(guest, update, 2)).toBe(-1);
  expect(mmuUpdate(guest, update, DOMID_SELF | (3 << 16))).toBe(-1);
  expect(mmuUpdate(guest, update, DOMID_SELF | (9 << 16))).toBe(-3);
  expect(mmuUpdate(guest, update, 1)).toBe(-3);
  expect(mmuUpdate(guest, update, 7)).toBe(-3);
  expect(mmuUpdate(guest, update, 0x7ff2)).toBe(-1);
  expect(mmuUpdate(guest, [[maddr(other, 3, 100), 0n]])).toBe(-22);
  expect(mmuUpdate(guest, [[maddr(other, 3, 100) | 1n, 0n]])).toBe(-22);
  expect(mmuext(guest, [[0, other.mfn(6)]])).toBe(-22);
  expect(mmuext(guest, [[0, other.mfn(6)]], 2)).toBe(-1);
});

test('a list that is not readable is EFAULT, as is one in the hypervisor', () => {
  const guest = createTestGuest();

  expect(guest.call(MMU_UPDATE, 0x10_0000_0000n, 1, DONE, DOMID_SELF)).toBe(-14);
  expect(guest.call(MMU_UPDATE, 0xffff_8000_0000_0000n, 0, 0, DOMID_SELF)).toBe(-14);
  expect(guest.call(MMU_UPDATE, 0, 0, 0, DOMID_SELF)).toBe(0);
});

test('a long list is finished in several calls', () => {
  const guest = createTestGuest(64);
  // The same page of requests, at 200 linear addresses in a row.
  guest.put(
    LIST,
    ...Array.from(
      { length: 512 },
      (_, index) => [8, index % 2 === 0 ? maddr(guest, 20) : 5n] as const,
    ),
  );
  for (let slot = 100; slot < 300; slot += 1) {
    guest.call(UPDATE_VA_MAPPING, slot * 4096, guest.entry(4, P), 0);
  }
  guest.put(DONE, [8, 0]);

  expect(guest.call(MMU_UPDATE, 100 * 4096, 200 * 256, DONE, DOMID_SELF)).toBe(0);
  expect(guest.peek(DONE, 4)).toBe(51_200n);
  expect(guest.domain.hypercallCounts.get('mmu_update')).toBe(4);
});

test('tables are pinned, unpinned and run on', () => {
  const guest = createTestGuest();
  const { machine, entry, mfn } = guest;
  machine.write(mfn(10), 0, machine.read(mfn(0), 0));
  for (const gfn of [10, 11]) guest.call(UPDATE_VA_MAPPING, gfn * 4096, entry(gfn, P), 0);

  expect(
    mmuext(guest, [
      [3, mfn(10)],
      [5, mfn(10)],
      [15, mfn(10)],
    ]),
  ).toBe(0);
  expect(machine.paging.roots(guest.vcpu)).toEqual({ kernel: mfn(10), user: mfn(10) });
  expect(mmuext(guest, [[3, mfn(10)]])).toBe(-22);
  expect(
    mmuext(guest, [
      [4, mfn(0)],
      [4, mfn(0)],
    ]),
  ).toBe(-22);
  expect(guest.peek(DONE, 4)).toBe(1n);
  expect(mmuext(guest, [[15, 0]])).toBe(0);
  expect(mmuext(guest, [[5, mfn(12)]])).toBe(-22);
  expect(mmuext(guest, [[5, 2n ** 52n]])).toBe(-22);
});

test.each([
  [
    'TLB flushes',
    [
      [6, 0],
      [7, 0x4000],
      [10, 0],
      [11, 0x4000],
    ],
    0,
  ],
  ['a flush of some vCPUs', [[8, 0, LIST]], 0],
  ['a flush of vCPUs whose set is not mapped', [[9, 0, 0x10_0000_0000n]], -22],
  ['a cache flush', [[12, 0]], -13],
  ['a cache flush of all', [[18, 0]], -22],
  ['an LDT', [[13, 0x7000, 16]], 0],
  ['an LDT within a page', [[13, 0x7008, 16]], -22],
  ['an LDT of too many entries', [[13, 0x7000, 8193]], -22],
  ['a large page', [[19, 0]], -95],
  ['the command that is not there', [[14, 0]], -38],
] as const)('%s', (_, operations, result) => {
  expect(mmuext(createTestGuest(), operations)).toBe(result);
});

test('pages are cleared and copied, but not tables', () => {
  const guest = createTestGuest();
  guest.put(guest.linear(8), [8, 0x1234]);

  expect(mmuext(guest, [[17, guest.mfn(9), guest.mfn(8)]])).toBe(0);
  expect(mmuext(guest, [[16, guest.mfn(8)]])).toBe(0);
  expect([guest.peek(guest.linear(8)), guest.peek(guest.linear(9))]).toEqual([0n, 0x1234n]);
  expect(mmuext(guest, [[16, guest.mfn(3)]])).toBe(-22);
  expect(mmuext(guest, [[17, guest.mfn(0), guest.mfn(8)]])).toBe(-22);
});

test('update_va_mapping changes the entry of an address', () => {
  const guest = createTestGuest();
  const events: MachineEvent[] = [];
  guest.machine.hypervisor.events.subscribe(['page-table-update', 'mmu-refusal'], (event) => {
    events.push(event);
    return undefined;
  });

  expect(guest.call(UPDATE_VA_MAPPING, 0x8000, guest.entry(9, P), 2 | 4)).toBe(0);
  expect(guest.machine.read(guest.mfn(3), 8)).toBe(guest.entry(9, P | 4n) | (1n << 52n));
  expect(guest.call(UPDATE_VA_MAPPING, 0x8000, 0, 1 | 0x5000)).toBe(0);
  expect(guest.call(UPDATE_VA_MAPPING, 0x8000, 0, 2n | 0x20_0000_0000n)).toBe(-14);
  expect(guest.call(UPDATE_VA_MAPPING, 0x20_0000, 0, 0)).toBe(-22);
  expect(guest.call(UPDATE_VA_MAPPING, 0xffff_8000_0000_0000n, 0, 0)).toBe(-22);
  expect(guest.call(22, 0x8000, 0, 0, 1)).toBe(-3);
  expect(guest.call(22, 0x8000, 0, 0, DOMID_SELF)).toBe(0);
  expect(events.map(({ kind }) => kind)).toEqual([
    ...Array(3).fill('page-table-update'),
    ...Array(2).fill('mmu-refusal'),
    'page-table-update',
  ]);
});
