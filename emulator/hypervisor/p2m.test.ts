import { expect, test } from 'vitest';
import type { Gfn, Mfn } from '../memory/addresses.ts';
import { createMachineMemory } from '../memory/machine-memory.ts';
import { createFrames, NO_GFN, OWNER_HYPERVISOR } from './frames.ts';
import { createP2m, EPT_ACCESSED, EPT_ALL, EPT_DIRTY, EPT_READ, P2M_TYPES } from './p2m.ts';
import { p2mRanges } from './p2m-ranges.ts';

const build = (ramBytes = 8 << 20) => {
  const memory = createMachineMemory(ramBytes);
  const frames = createFrames(memory.ramBytes);
  return { memory, frames, p2m: createP2m(memory, frames) };
};
const NO_LABELS = new Map<number, string>();
const gfn = (value: number) => value as Gfn;
const mfn = (value: number) => value as Mfn;

test('a large page is found by each of its frames', () => {
  const { p2m } = build();
  p2m.setLarge(gfn(512), mfn(1024));

  expect(p2m.lookup(gfn(700))).toMatchObject({ type: 'ram', mfn: 1212, pageBytes: 2 << 20 });
  expect(p2m.lookup(gfn(1024))).toMatchObject({ type: 'hole', mfn: undefined });
});

test('giving back one frame of a large page splits it and keeps the others', () => {
  const { p2m, frames } = build();
  p2m.setLarge(gfn(0), mfn(512));
  p2m.set(gfn(3), 'ballooned', undefined);

  expect(p2m.lookup(gfn(2))).toMatchObject({ type: 'ram', mfn: 514, pageBytes: 4096 });
  expect(p2m.lookup(gfn(3))).toMatchObject({ type: 'ballooned', mfn: undefined });
  expect([...frames.gfns.subarray(514, 517)]).toEqual([2, NO_GFN, 4]);
  expect(p2mRanges(p2m, NO_LABELS)).toMatchObject([
    { first: 0, count: 3, type: 'ram', mfn: 512, permissions: 'rwx' },
    { first: 3, count: 1, type: 'ballooned', permissions: '---' },
    { first: 4, count: 508, type: 'ram', mfn: 516 },
  ]);
  expect(p2mRanges(p2m, NO_LABELS, 2, 6)).toMatchObject([
    { first: 2, count: 1 },
    { first: 3, count: 1 },
    { first: 4, count: 2, mfn: 516 },
  ]);
});

test('512 frames in a row become one large page, and its table is free again', () => {
  const { p2m, frames } = build();
  p2m.setLarge(gfn(512), mfn(1024));
  const { free } = frames;
  p2m.set(gfn(600), 'ballooned', undefined);
  expect(frames.free).toBe(free - 1);
  p2m.set(gfn(600), 'ram', mfn(3));
  expect(p2m.lookup(gfn(601)).pageBytes).toBe(4096);
  p2m.set(gfn(600), 'ram', mfn(1112));

  expect(p2m.lookup(gfn(601))).toMatchObject({ mfn: 1113, pageBytes: 2 << 20 });
  expect(frames.free).toBe(free);
  p2m.merges = false;
  p2m.set(gfn(600), 'logdirty', mfn(1112), EPT_READ);
  p2m.set(gfn(600), 'ram', mfn(1112));
  expect(p2m.lookup(gfn(601)).pageBytes).toBe(4096);
});

test('512 large pages in a row become one of 1 GiB, which is split again', () => {
  const { p2m, frames } = build();
  const gigabyte = 512 * 512;
  for (let page = 0; page < 511; page += 1)
    p2m.setLarge(gfn(page * 512), mfn(gigabyte + page * 512));
  const { free } = frames;
  for (let page = gigabyte - 512; page < gigabyte; page += 1) {
    p2m.set(gfn(page), 'ram', mfn(gigabyte + page));
  }

  expect(p2m.lookup(gfn(77))).toMatchObject({ mfn: gigabyte + 77, pageBytes: 1 << 30 });
  expect(frames.free).toBe(free + 1);
  p2m.set(gfn(5), 'hole', undefined);
  expect(p2m.lookup(gfn(4))).toMatchObject({ mfn: gigabyte + 4, pageBytes: 4096 });
  expect(p2m.lookup(gfn(5)).type).toBe('hole');
  expect(p2m.lookup(gfn(512))).toMatchObject({ mfn: gigabyte + 512, pageBytes: 2 << 20 });
});

test('entries without a frame may be large, and keep what they say when they are split', () => {
  const { p2m, frames } = build();
  p2m.setAbsent(gfn(100), 2000, 'on-demand');
  const { free } = frames;
  expect(p2m.lookup(gfn(600))).toMatchObject({ type: 'on-demand', pageBytes: 2 << 20 });
  p2m.setPaged(gfn(600), 0x12345);

  expect(free - frames.free).toBe(1);
  expect(p2m.lookup(gfn(600))).toMatchObject({ type: 'paged', mfn: undefined });
  expect(p2m.slotOf(gfn(600))).toBe(0x12345);
  expect(p2m.lookup(gfn(601))).toMatchObject({ type: 'on-demand', mfn: undefined });
  expect(p2mRanges(p2m, NO_LABELS).map(({ first, count, type }) => [first, count, type])).toEqual([
    [100, 500, 'on-demand'],
    [600, 1, 'paged'],
    [601, 1499, 'on-demand'],
  ]);
});

test('every type of the table is kept by an entry, with and without a frame', () => {
  const { p2m } = build();
  for (const [number, type] of P2M_TYPES.entries()) {
    p2m.set(gfn(number), type, undefined);
    expect(p2m.typeOf(gfn(number))).toBe(type);
    p2m.set(gfn(number), type, mfn(number + 1), EPT_READ);
    expect(p2m.lookup(gfn(number))).toMatchObject({ type, mfn: number + 1, access: EPT_READ });
  }
});

test('accessed and dirty bits are taken, and stay through a split and a merge', () => {
  const { p2m, memory } = build();
  p2m.setLarge(gfn(0), mfn(512));
  const entry = p2m.path(gfn(0)).at(-1);
  const at = memory.view.byteLength - memory.ramBytes + (entry?.maddr ?? 0);
  memory.view.setUint8(at + 1, memory.view.getUint8(at + 1) | 3);

  p2m.set(gfn(9), 'ballooned', undefined);
  expect(p2m.takeFlags(gfn(8), EPT_ACCESSED)).toBe(EPT_ACCESSED | EPT_DIRTY);
  expect(p2m.takeFlags(gfn(8), EPT_DIRTY)).toBe(EPT_DIRTY);
  expect(p2m.takeFlags(gfn(8), EPT_DIRTY)).toBe(0);
  p2m.set(gfn(9), 'ram', mfn(521));
  expect(p2m.lookup(gfn(9)).pageBytes).toBe(2 << 20);
  expect(p2m.takeFlags(gfn(9), 0)).toBe(EPT_ACCESSED | EPT_DIRTY);
});

test('without a frame for a table nothing changes', () => {
  const { p2m, frames } = build();
  p2m.setLarge(gfn(0), mfn(512));
  while (frames.allocate(1) !== undefined);

  expect(p2m.set(gfn(3), 'ballooned', undefined)).toBe(false);
  expect(p2m.set(gfn(4096 * 512), 'ram', mfn(3))).toBe(false);
  expect(p2m.lookup(gfn(3))).toMatchObject({ type: 'ram', mfn: 515, access: EPT_ALL });
});

test('clearing gives every table back but the root', () => {
  const { p2m, frames } = build();
  const { free } = frames;
  p2m.setLarge(gfn(0), mfn(512));
  p2m.set(gfn(3), 'ballooned', undefined);
  p2m.set(gfn(2 ** 30), 'ram', mfn(7));
  expect(p2m.tables()).toHaveLength(free - frames.free + 1);
  p2m.clear();

  expect(frames.free).toBe(free);
  expect(p2m.tables()).toEqual([p2m.root]);
  expect(p2mRanges(p2m, NO_LABELS)).toEqual([]);
  expect(frames.gfns[7]).toBe(NO_GFN);
});

test('the ranges of a fragmented domain of 4 GiB add up', () => {
  const { p2m } = build(16 << 20);
  for (let page = 0; page < 2 ** 20; page += 1) {
    if (page % 512 > 500) p2m.setPaged(gfn(page), page);
    else p2m.set(gfn(page), 'ram', mfn(page ^ (page % 512 < 32 ? 3 : 0)));
  }
  const ranges = p2mRanges(p2m, NO_LABELS);

  expect(ranges).toHaveLength(2048 * (32 + 2));
  expect(ranges.reduce((sum, { count }) => sum + count, 0)).toBe(2 ** 20);
  expect(ranges.every(({ first }, index) => first === end(ranges[index - 1]))).toBe(true);
});

const end = (range: { first: number; count: number } | undefined): number =>
  range === undefined ? 0 : range.first + range.count;

test('frames are given out in the same order and refused when none is left', () => {
  const frames = createFrames(4096 * 4);

  expect([1, 2, 3, 4].map(() => frames.allocate(1))).toEqual([1, 2, 3, undefined]);
  frames.release(mfn(2));
  expect(frames.free).toBe(1);
  expect(frames.allocate(1)).toBe(2);
});

test('a frame that is in use by its machine address is freed when it is let go', () => {
  const frames = createFrames(4096 * 8);
  const taken = frames.allocate(1) ?? mfn(0);
  const own = frames.allocate(OWNER_HYPERVISOR) ?? mfn(0);
  const { free } = frames;
  for (const one of [taken, taken, own]) frames.hold(one);
  frames.letGo(own);
  frames.release(taken);
  frames.letGo(taken);
  expect([frames.isHeld(taken), frames.free]).toEqual([true, free]);
  frames.letGo(taken);

  expect([frames.isHeld(taken), frames.free]).toEqual([false, free + 1]);
  expect(frames.owners[own]).toBe(OWNER_HYPERVISOR);
});
