import { expect, test } from 'vitest';
import type { MachineEvent } from '../../../events.ts';
import { OWNER_HYPERVISOR } from '../../frames.ts';
import { PAGE_TYPES } from './page-types.ts';
import { createTestMachine, type TestDomain } from './test-machine.ts';

const P = 1n;
const RW = 2n;
const US = 4n;
const A = 0x20n;
const TABLE = P | RW | US;

/** A domain with tables in its frames 0 to 3 (L4 to L1), which map frames 4 to 7 writable. */
const build = (pages = 16) => {
  const machine = createTestMachine();
  const one = machine.addDomain(1, pages);
  const { mfns } = one;
  const entry = (gfn: number, bits: bigint): bigint => (BigInt(mfns[gfn] ?? 0) << 12n) | bits;
  const at = (gfn: number): number => mfns[gfn] ?? 0;
  machine.write(at(0), 0, entry(1, TABLE));
  machine.write(at(1), 0, entry(2, TABLE));
  machine.write(at(2), 0, entry(3, TABLE));
  for (const gfn of [4, 5, 6, 7]) machine.write(at(3), gfn, entry(gfn, P | RW));
  const events: MachineEvent[] = [];
  machine.hypervisor.events.subscribe(
    ['mmu-refusal', 'page-table-pin', 'page-table-update'],
    (event) => {
      events.push(event);
      return undefined;
    },
  );
  /** Type and counts of a frame: 'l1_page_table 1', and references. */
  const state = (gfn: number): string => {
    const { types, counts } = machine.paging.mmu.pages;
    const { references } = machine.hypervisor.frames;
    return `${PAGE_TYPES[types[at(gfn)] ?? 0]} ${counts[at(gfn)]}, ${references[at(gfn)]}`;
  };
  const update = (gfn: number, slot: number, value: bigint, frameOwner = 1) =>
    machine.paging.update(
      one.vcpu,
      {
        table: at(gfn),
        slot,
        low: Number(value & 0xffff_ffffn) | 0,
        high: Number(value >> 32n) | 0,
        owner: 1,
        frameOwner,
        preservesUse: false,
        isTranslated: true,
      },
      'mmu_update',
    );
  return { ...machine, one, at, entry, state, update, events };
};

const reasons = (events: readonly MachineEvent[]): string[] =>
  events.flatMap((event) => (event.kind === 'mmu-refusal' ? [event.reason] : []));

test('pinning an L4 makes tables of all below it, and writable pages of what they map', () => {
  const { paging, one, state, at, events } = build();

  expect(paging.pin(one.vcpu, at(0), 4)).toBeUndefined();
  expect([0, 1, 2, 3, 4, 8].map(state)).toEqual([
    'l4_page_table 1, 1',
    'l3_page_table 1, 1',
    'l2_page_table 1, 1',
    'l1_page_table 1, 1',
    'writable_page 1, 1',
    'none 0, 0',
  ]);
  expect(events).toMatchObject([{ kind: 'page-table-pin', action: 'pin', mfn: at(0) }]);
});

test('entries of the kernel become user entries that bit 52 tells apart', () => {
  const { paging, one, at, entry, read, write } = build();
  write(at(3), 9, entry(9, P | US));
  paging.pin(one.vcpu, at(0), 4);

  expect(read(at(3), 4)).toBe(entry(4, P | RW | US | (1n << 52n)));
  expect(read(at(3), 9)).toBe(entry(9, P | US | 0x100n));
  expect(read(at(0), 0)).toBe(entry(1, TABLE | A));
});

test('unpinning gives everything back', () => {
  const { paging, one, at, state } = build();
  paging.pin(one.vcpu, at(0), 4);

  expect(paging.unpin(one.vcpu, at(0))).toBeUndefined();
  expect([0, 1, 2, 3, 4].map((gfn) => state(gfn).slice(-4))).toEqual(Array(5).fill('0, 0'));
  expect(paging.unpin(one.vcpu, at(0))).toBe('EINVAL');
});

test('a table with a writable mapping of a table is refused, and nothing is held', () => {
  const { paging, one, at, entry, state, write, events } = build();
  write(at(3), 8, entry(2, P | RW));

  expect(paging.pin(one.vcpu, at(0), 4)).toBe('EBUSY');
  expect([0, 1, 2, 3, 4].map((gfn) => state(gfn).slice(-4))).toEqual(Array(5).fill('0, 0'));
  expect(reasons(events)[0]).toMatch(/maps frame 0x\w+ of domain 1 writable, .* l2_page_table/);
});

test('a page table may be mapped read-only', () => {
  const { paging, one, at, entry, write, state } = build();
  write(at(3), 8, entry(2, P));

  expect(paging.pin(one.vcpu, at(0), 4)).toBeUndefined();
  expect(state(2)).toBe('l2_page_table 1, 2');
});

test.each([
  ['a large page', 2, 1, P | RW | 0x80n, 'EINVAL'],
  ['a global L2 entry', 2, 1, P | RW | 0x100n, 'EINVAL'],
  ['write-through caching', 3, 1, P | RW | 8n, 'EINVAL'],
  ['a frame of the hypervisor', 3, 1, P | (0n << 12n), 'EBUSY'],
  ['a frame that is no memory', 3, 1, P | (0x8_0000n << 12n), 'EPERM'],
  ['all ones', 3, 1, (0xff_ffff_ffffn << 12n) | P, 'EINVAL'],
  ["a slot of the hypervisor's", 0, 256, 0n, 'EINVAL'],
] as const)('%s is refused with the right error', (_, gfn, slot, value, error) => {
  const { paging, one, at, update, events } = build();
  paging.pin(one.vcpu, at(0), 4);

  expect(update(gfn, slot, value)).toBe(error);
  expect(reasons(events)).toHaveLength(1);
});

test('a frame of another domain is refused, mapped or as a table', () => {
  const { paging, one, at, update, addDomain } = build();
  const two = addDomain(2, 4);
  paging.pin(one.vcpu, at(0), 4);
  const foreign = BigInt(two.mfns[0] ?? 0) << 12n;

  expect(update(3, 1, foreign | P)).toBe('EBUSY');
  expect(update(2, 1, foreign | TABLE)).toBe('EINVAL');
});

test('an update moves the references', () => {
  const { paging, one, at, entry, update, state, read, events } = build();
  paging.pin(one.vcpu, at(0), 4);

  expect(update(3, 4, entry(9, P | RW))).toBeUndefined();
  expect([state(4), state(9)]).toEqual(['writable_page 0, 0', 'writable_page 1, 1']);
  expect(read(at(3), 4)).toBe(entry(9, P | RW | US | (1n << 52n)));
  expect(events.at(-1)).toMatchObject({ kind: 'page-table-update', slot: 4, by: 'mmu_update' });
});

test('a page that was writable becomes a table once no mapping of it is', () => {
  const { paging, one, at, entry, update } = build();
  paging.pin(one.vcpu, at(0), 4);

  expect(paging.pin(one.vcpu, at(4), 1)).toBe('EINVAL');
  expect(update(3, 4, entry(4, P))).toBeUndefined();
  expect(paging.pin(one.vcpu, at(4), 1)).toBeUndefined();
});

test('an L4 may lead to itself read-only, and an L3 to another L3, one step', () => {
  const { paging, one, at, entry, update, state } = build();
  paging.pin(one.vcpu, at(0), 4);
  for (const gfn of [8, 9]) paging.pin(one.vcpu, at(gfn), 3);

  expect(update(0, 300, entry(0, TABLE))).toBe('EINVAL');
  expect(update(0, 300, entry(0, P | US))).toBeUndefined();
  expect(update(1, 300, entry(8, P | US))).toBeUndefined();
  expect(update(8, 300, entry(9, P | US))).toBe('EINVAL');
  expect(update(9, 300, entry(1, P | US))).toBe('EINVAL');
  expect(state(8)).toBe('l3_page_table 2, 2');
  expect(update(1, 300, 0n)).toBeUndefined();
  expect(state(8)).toBe('l3_page_table 1, 1');
});

test('the L4 in use shows the M2P, and the hypervisor has its slots', () => {
  const { paging, one, at, read, write } = build();
  write(at(0), 257, 0xdead_beefn);
  paging.pin(one.vcpu, at(0), 4);
  expect(read(at(0), 256)).toBe(0n);

  expect(paging.setKernelRoot(one.vcpu, at(0))).toBeUndefined();
  expect(read(at(0), 256)).toBe(paging.mmu.m2p.slotEntry);
  expect(read(at(0), 257)).toBe(0n);
  expect(paging.mmu.m2p.gfn(at(5))).toBe(5);
  expect(one.domain.p2m.lookup(5 as never).mfn).toBe(at(5));
});

const destroy = (
  { paging, hypervisor }: ReturnType<typeof createTestMachine>,
  { domain }: TestDomain,
): number => {
  paging.releaseDomain(domain);
  return hypervisor.frames.free;
};

test('a domain that dies leaves no frame and no count', () => {
  const machine = build();
  const { paging, one, at, hypervisor } = machine;
  const shared = hypervisor.frames.allocate(OWNER_HYPERVISOR) ?? (0 as never);
  paging.shareFrame(shared, 1, 'read-write');
  paging.pin(one.vcpu, at(0), 4);
  paging.setKernelRoot(one.vcpu, at(0));
  const { free } = hypervisor.frames;

  expect(destroy(machine, one)).toBe(free + 16);
  expect([one.domain.pages, hypervisor.frames.owners[shared]]).toEqual([0, OWNER_HYPERVISOR]);
  expect(paging.mmu.pages.counts.every((count) => count === 0)).toBe(true);
  expect(hypervisor.frames.references.every((count) => count === 0)).toBe(true);
});
