import { expect, test } from 'vitest';
import { GTF, growTable, readEntry, releaseTable, writeEntry } from '../grants/grant-table.ts';
import { releaseMappings } from '../grants/map.ts';
import { addTestGuest, createTestGuest, DOMID_SELF, type TestGuest } from '../pv/mmu/test-guest.ts';

const UPDATE_VA_MAPPING = 14;
const GRANT_TABLE_OP = 20;
const UVMF_INVLPG = 2;
const LIST = 0x4000n;
const RW = 3n;
/** A linear address whose entry is in the guests' L1 table. */
const PLACE = 20;

const build = () => {
  const first = createTestGuest();
  const second = addTestGuest(first.machine, 2, 32);
  const { hypervisor } = first.machine;
  for (const { domain } of [first, second]) growTable(hypervisor, domain, 1);
  return { hypervisor, pages: first.machine.paging.mmu.pages, first, second };
};

/** An entry of version 1: a PV domain grants machine frames. */
const grant = (guest: TestGuest, reference: number, flags: number, to: number, frame: number) => {
  const { hypervisor } = guest.machine;
  writeEntry(hypervisor, guest.domain.grants, reference, 4, 4, frame);
  writeEntry(hypervisor, guest.domain.grants, reference, 2, 2, to);
  writeEntry(hypervisor, guest.domain.grants, reference, 0, 2, flags);
};

const status = (guest: TestGuest, offset: number): number =>
  Number(BigInt.asIntN(16, guest.peek(LIST + BigInt(offset), 2)));

const map = (guest: TestGuest, address: bigint, flags: number, reference: number): number => {
  guest.put(LIST, [8, address], [4, flags], [4, reference], [2, 1], [2, 0], [4, 0], [8, 0]);
  expect(guest.call(GRANT_TABLE_OP, 0, LIST, 1)).toBe(0);
  return status(guest, 18);
};

const unmap = (guest: TestGuest, address: bigint, handle: number): number => {
  guest.put(LIST, [8, address], [8, 0], [4, handle], [4, 0]);
  expect(guest.call(GRANT_TABLE_OP, 1, LIST, 1)).toBe(0);
  return status(guest, 20);
};

test('a granted page is mapped by an entry of the guest, and is no page table meanwhile', () => {
  const { hypervisor, pages, first, second } = build();
  const mfn = first.mfn(10);
  first.put(first.linear(10), [8, 0x1234]);
  first.call(UPDATE_VA_MAPPING, first.linear(10), 0, UVMF_INVLPG);
  grant(first, 9, GTF.permitAccess, 2, mfn);

  expect(map(second, second.linear(PLACE), 2, 9)).toBe(0);
  expect(second.peek(second.linear(PLACE))).toBe(0x1234n);
  second.put(second.linear(PLACE), [8, 0x5678]);
  expect(first.call(UPDATE_VA_MAPPING, first.linear(10), first.entry(10, RW), UVMF_INVLPG)).toBe(0);
  expect(first.peek(first.linear(10))).toBe(0x5678n);
  first.call(UPDATE_VA_MAPPING, first.linear(10), 0, UVMF_INVLPG);
  expect(pages.counts[mfn]).toBeGreaterThan(0);
  expect(first.machine.paging.pin(first.vcpu, mfn, 1)).not.toBeUndefined();

  expect(unmap(second, second.linear(PLACE), 0)).toBe(0);
  expect(() => second.peek(second.linear(PLACE))).toThrow('not mapped');
  expect(pages.counts[mfn]).toBe(0);
  expect(hypervisor.frames.isHeld(mfn)).toBe(false);
  expect(first.domain.grants.active.size).toBe(0);
});

test('a page table is granted for reading alone', () => {
  const { first, second } = build();
  grant(first, 9, GTF.permitAccess, 2, first.mfn(3));

  expect(map(second, second.linear(PLACE), 2, 9)).toBe(-1);
  expect(first.domain.grants.active.size).toBe(0);
  expect(map(second, second.linear(PLACE), 6, 9)).toBe(0);
  expect(unmap(second, second.linear(PLACE), 0)).toBe(0);
});

test('a page is mapped by the machine address of an entry, if that is the own table', () => {
  const { first, second } = build();
  grant(first, 9, GTF.permitAccess, 2, first.mfn(10));
  const entryOf = ({ mfn }: TestGuest): bigint => BigInt(mfn(3)) * 4096n + BigInt(PLACE * 8);

  expect(map(second, entryOf(first), 0x12, 9)).toBe(-1);
  expect(map(second, entryOf(second) + 4n, 0x12, 9)).toBe(-1);
  expect(map(second, BigInt(second.mfn(12)) * 4096n, 0x12, 9)).toBe(-1);
  expect(map(second, entryOf(second), 0x12, 9)).toBe(0);
  expect(unmap(second, entryOf(second), 0)).toBe(0);
});

test.each([
  ['where the guest has no table', 0x4000_0000n],
  ["the hypervisor's", 0xffff_8000_0000_0000n],
  ['not canonical', 0x8000_0000_0000_0000n],
])('an address %s is refused', (_, address) => {
  const { first, second } = build();
  grant(first, 9, GTF.permitAccess, 2, first.mfn(10));

  expect(map(second, address, 2, 9)).toBe(-1);
  expect(first.machine.hypervisor.frames.isHeld(first.mfn(10))).toBe(true);
  expect(first.domain.grants.active.size).toBe(0);
  expect(second.domain.grants.mappings.size).toBe(0);
});

test('a mapping gives way to another address of the guest', () => {
  const { first, second } = build();
  grant(first, 9, GTF.permitAccess, 2, first.mfn(10));
  second.put(second.linear(21), [8, 0x77]);
  map(second, second.linear(PLACE), 2, 9);
  second.put(LIST, [8, second.linear(PLACE)], [8, second.linear(21)], [4, 0], [4, 0]);

  expect(second.call(GRANT_TABLE_OP, 7, LIST, 1)).toBe(0);
  expect(status(second, 20)).toBe(0);
  expect(second.peek(second.linear(PLACE))).toBe(0x77n);
  expect(() => second.peek(second.linear(21))).toThrow('not mapped');
});

test('a page goes over to another PV domain, which finds its number in the M2P', () => {
  const { hypervisor, first, second } = build();
  const mfn = first.mfn(10);
  const offer = (): void => grant(second, 9, GTF.acceptTransfer, 1, 0x99);
  const transfer = (frame: number): number => {
    first.put(LIST, [8, frame], [2, 2], [2, 0], [4, 9], [8, 0]);
    expect(first.call(GRANT_TABLE_OP, 4, LIST, 1)).toBe(0);
    return status(first, 16);
  };
  second.domain.maximumPages = second.domain.pages + 4;
  offer();

  expect(transfer(mfn)).toBe(-1);
  first.call(UPDATE_VA_MAPPING, first.linear(10), 0, UVMF_INVLPG);
  const before = [first.domain.pages, second.domain.pages];
  expect(transfer(mfn)).toBe(0);
  expect([first.domain.pages, second.domain.pages]).toEqual([
    (before[0] ?? 0) - 1,
    (before[1] ?? 0) + 1,
  ]);
  expect(hypervisor.frames.owners[mfn]).toBe(2);
  expect(first.machine.paging.mmu.m2p.gfn(mfn)).toBe(0x99);
  expect(readEntry(hypervisor, second.domain.grants, 9, 4, 4)).toBe(mfn);
  expect(transfer(mfn)).toBe(-9);
  expect(transfer(second.mfn(12))).toBe(-9);

  // The entry is used up: the next page is lost, and counts once.
  first.call(UPDATE_VA_MAPPING, first.linear(11), 0, UVMF_INVLPG);
  expect(transfer(first.mfn(11))).toBe(-1);
  expect(first.domain.pages).toBe((before[0] ?? 0) - 2);
  expect(hypervisor.frames.owners[first.mfn(11)]).toBe(0xffff);
});

test('a page table is not copied to', () => {
  const { first, second } = build();
  grant(first, 9, GTF.permitAccess, 2, first.mfn(3));
  const copy = (): number => {
    second.put(LIST, [8, second.mfn(21)], [2, DOMID_SELF], [2, 0], [4, 0]);
    second.put(LIST + 16n, [8, 9], [2, 1], [2, 0], [4, 0], [2, 8], [2, 2], [2, 0], [2, 0]);
    expect(second.call(GRANT_TABLE_OP, 5, LIST, 1)).toBe(0);
    return status(second, 36);
  };

  expect(copy()).toBe(-1);
  grant(first, 9, GTF.permitAccess, 2, first.mfn(12));
  expect(copy()).toBe(0);
});

test('a domain that dies gives its mappings and its table back', () => {
  const { hypervisor, pages, first, second } = build();
  grant(first, 9, GTF.permitAccess, 2, first.mfn(10));
  first.call(UPDATE_VA_MAPPING, first.linear(10), 0, UVMF_INVLPG);
  map(second, second.linear(PLACE), 2, 9);
  const { free } = hypervisor.frames;
  const own = hypervisor.frames.owners.filter((owner) => owner === 2).length;
  releaseMappings(hypervisor, second.domain);
  releaseTable(hypervisor, second.domain);
  first.machine.paging.releaseDomain(second.domain);

  expect(hypervisor.frames.owners.includes(2)).toBe(false);
  expect(hypervisor.frames.free).toBeGreaterThanOrEqual(free + own - 1);
  expect(hypervisor.frames.isHeld(first.mfn(10))).toBe(false);
  expect(pages.counts[first.mfn(10)]).toBe(0);
  expect(first.domain.grants.active.size).toBe(0);
});
