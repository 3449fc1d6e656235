/**
 * Two PV guests that try everything with their page tables and frames, in random order. Whatever
 * they do, the counts are right, nobody maps what is not theirs, and all is given back in the end.
 */
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { expectConsistent } from './recount.ts';
import { addTestGuest, DOMID_SELF, type TestGuest } from './test-guest.ts';
import { createTestMachine } from './test-machine.ts';

const PAGES = 40;
/** The first frames are tables that each guest comes back to; these hold its arguments. */
const LIST = 4n * 4096n;
const EXTENTS = 5n * 4096n;
/** Frames from here on may be anything; half of them are mapped writable at first. */
const FIRST = 6;
const MAPPED = 23;
const OPERATIONS = 5000;
const RUNS = 20;
const CHECK_EVERY = 250;

const MMU_UPDATE = 1;
const SET_GDT = 2;
const UPDATE_DESCRIPTOR = 10;
const MEMORY_OP = 12;
const UPDATE_VA_MAPPING = 14;
const VM_ASSIST = 21;
const MMUEXT_OP = 26;
const M2P_STRICT = 32;

const anyFrame = fc.integer({ min: FIRST, max: PAGES - 1 });
/** A guest's frame by its first number, another's, or one that is none. */
const frame = fc.oneof(
  { weight: 20, arbitrary: anyFrame.map((gfn) => ({ of: 'own', gfn }) as const) },
  { weight: 2, arbitrary: fc.nat(PAGES - 1).map((gfn) => ({ of: 'other', gfn }) as const) },
  { weight: 1, arbitrary: fc.nat(0xfff).map((gfn) => ({ of: 'machine', gfn }) as const) },
);
type Frame = typeof frame extends fc.Arbitrary<infer T> ? T : never;
const bits = fc.oneof(
  { weight: 4, arbitrary: fc.constantFrom(1n, 3n, 5n, 7n, 0x67n) },
  { weight: 1, arbitrary: fc.constantFrom(0n, 0x105n, 0x83n, (1n << 63n) | 7n, (1n << 52n) | 5n) },
);
const slot = fc.oneof(fc.nat(7), fc.constantFrom(255, 256, 260, 271, 272, 511));
const order = fc.nat(2);

const operation = fc.oneof(
  fc.record({ kind: fc.constant('entry' as const), table: frame, slot, target: frame, bits }),
  fc.record({ kind: fc.constant('entry' as const), table: frame, slot, target: frame, bits }),
  fc.record({ kind: fc.constant('va' as const), page: anyFrame, target: frame, bits }),
  fc.record({ kind: fc.constant('extended' as const), command: fc.nat(20), frame, second: frame }),
  fc.record({ kind: fc.constant('extended' as const), command: fc.nat(5), frame, second: frame }),
  fc.record({ kind: fc.constant('m2p' as const), frame, gfn: fc.nat(80) }),
  fc.record({
    kind: fc.constant('memory' as const),
    command: fc.constantFrom(0, 1, 6),
    frame,
    order,
  }),
  fc.record({ kind: fc.constant('exchange' as const), frame, inOrder: order, outOrder: order }),
  fc.record({ kind: fc.constant('gdt' as const), frame, entries: fc.constantFrom(0, 1, 512) }),
  fc.record({
    kind: fc.constant('descriptor' as const),
    frame,
    slot,
    value: fc.bigInt(0n, 2n ** 64n - 1n),
  }),
  fc.record({ kind: fc.constant('strict' as const), on: fc.boolean() }),
);
type Operation = typeof operation extends fc.Arbitrary<infer T> ? T : never;

const mfnOf = (guest: TestGuest, other: TestGuest, { of, gfn }: Frame): bigint => {
  if (of === 'machine') return BigInt(gfn);
  const { mfns } = of === 'own' ? guest : other;
  return BigInt(mfns[gfn] ?? 0);
};

const perform = (guest: TestGuest, other: TestGuest, one: Operation): number => {
  const mfn = (given: Frame): bigint => mfnOf(guest, other, given);
  switch (one.kind) {
    case 'entry':
      guest.put(
        LIST,
        [8, mfn(one.table) * 4096n + BigInt(one.slot * 8)],
        [8, (mfn(one.target) << 12n) | one.bits],
      );
      return guest.call(MMU_UPDATE, LIST, 1, 0, DOMID_SELF);
    case 'va':
      return guest.call(UPDATE_VA_MAPPING, one.page * 4096, (mfn(one.target) << 12n) | one.bits, 0);
    case 'extended':
      guest.put(LIST, [8, one.command], [8, mfn(one.frame)], [8, mfn(one.second)]);
      return guest.call(MMUEXT_OP, LIST, 1, 0, DOMID_SELF);
    case 'm2p':
      guest.put(LIST, [8, mfn(one.frame) * 4096n + 1n], [8, one.gfn]);
      return guest.call(MMU_UPDATE, LIST, 1, 0, DOMID_SELF);
    case 'memory':
      guest.put(EXTENTS, [8, mfn(one.frame)]);
      guest.put(LIST, [8, EXTENTS], [8, 1], [4, one.order], [4, 0], [8, DOMID_SELF]);
      return guest.call(MEMORY_OP, one.command, LIST);
    case 'exchange': {
      const count = (of: number): number => 2 ** Math.max(one.inOrder, one.outOrder) / 2 ** of;
      guest.put(EXTENTS, [8, mfn(one.frame)], [8, mfn(one.frame) + 1n], [8, mfn(one.frame) + 2n]);
      guest.put(LIST, [8, EXTENTS], [8, count(one.inOrder)], [4, one.inOrder], [4, 0]);
      guest.put(LIST + 24n, [8, DOMID_SELF], [8, EXTENTS + 64n], [8, count(one.outOrder)]);
      guest.put(LIST + 48n, [4, one.outOrder], [4, 0], [8, DOMID_SELF], [8, 0]);
      return guest.call(MEMORY_OP, 11, LIST);
    }
    case 'gdt':
      guest.put(LIST, [8, mfn(one.frame)]);
      return guest.call(SET_GDT, LIST, one.entries);
    case 'descriptor':
      return guest.call(
        UPDATE_DESCRIPTOR,
        mfn(one.frame) * 4096n + BigInt(one.slot * 8),
        one.value,
      );
    case 'strict':
      return guest.call(VM_ASSIST, one.on ? 0 : 1, M2P_STRICT);
  }
};

/** Runs the guest on its first tables, with its arguments mapped. */
const comeBack = (guest: TestGuest): void => {
  const { machine, vcpu, mfn, entry } = guest;
  machine.paging.setKernelRoot(vcpu, mfn(0));
  const entries = [0, 1, 2].map((level) => [level, 0, entry(level + 1, 7n)] as const);
  for (const [table, at, value] of [
    ...entries,
    [3, 4, entry(4, 3n)],
    [3, 5, entry(5, 3n)],
  ] as const) {
    const update = {
      table: mfn(table),
      slot: at,
      low: Number(value & 0xffff_ffffn) | 0,
      high: Number(value >> 32n),
      owner: guest.domain.id,
      frameOwner: guest.domain.id,
      preservesUse: false,
      isTranslated: false,
    };
    machine.paging.update(vcpu, update, 'mmu_update');
  }
};

test('counts stay right under random operations, and nothing is left of a dead domain', () => {
  let performed = 0;
  let accepted = 0;
  fc.assert(
    fc.property(
      fc.array(fc.tuple(fc.boolean(), operation), { minLength: OPERATIONS, maxLength: OPERATIONS }),
      (operations) => {
        const machine = createTestMachine(4 << 20);
        const { frames } = machine.hypervisor;
        const guests = [1, 2].map((id) => addTestGuest(machine, id, PAGES, MAPPED)) as [
          TestGuest,
          TestGuest,
        ];
        const all = frames.free + 2 * PAGES;
        operations.forEach(([isFirst, one], index) => {
          const [guest, other] = isFirst ? guests : ([guests[1], guests[0]] as const);
          comeBack(guest);
          if (perform(guest, other, one) >= 0) accepted += 1;
          performed += 1;
          if (index % CHECK_EVERY === 0) expectConsistent(machine);
        });
        expectConsistent(machine);
        for (const { domain } of guests) machine.paging.releaseDomain(domain);
        expectConsistent(machine);
        expect(frames.free).toBe(all);
        expect(frames.owners.some((owner) => owner === 1 || owner === 2)).toBe(false);
        expect(machine.paging.mmu.pages.counts.every((count) => count === 0)).toBe(true);
      },
    ),
    { numRuns: RUNS, endOnFailure: true },
  );
  expect(performed).toBe(OPERATIONS * RUNS);
  expect(accepted).toBeGreaterThan(performed / 5);
}, 120_000);
