import { expect, test } from 'vitest';
import type { Gfn } from '../../memory/addresses.ts';
import { OWNER_SHARED } from '../frames.ts';
import { EPT_EXECUTE, EPT_READ } from '../p2m.ts';
import { p2mRanges } from '../p2m-ranges.ts';
import { timersOf } from '../timers.ts';
import { buildTestMachine, contradictions, fillPage, peekPage } from './test-machine.ts';

const MIB = 1 << 20;
const build = () => {
  const machine = buildTestMachine(12 * MIB, [2 * MIB, 2 * MIB]);
  const [first, second] = machine.domains;
  if (first === undefined || second === undefined) throw new Error('no domain');
  return { machine, first, second, frames: machine.hypervisor.frames };
};
const gfn = (value: number) => value as Gfn;

test('pages of zeros of all domains get one frame, and a write gets its own', () => {
  const { machine, first, second, frames } = build();
  fillPage(machine, first, 400, 7);
  const { free } = frames;
  const shared = machine.units.sharing.scan(2000, 'zero');
  const zero = second.p2m.lookup(gfn(300));

  expect(shared).toBeGreaterThan(500);
  expect(machine.units.sharing.frames).toBe(1);
  // One frame is left of all, and each domain has an EPT table more.
  expect(frames.free).toBe(free + shared - 1 - 2);
  expect(zero).toMatchObject({ type: 'shared', access: EPT_READ | EPT_EXECUTE });
  expect(first.p2m.mfnOf(gfn(300))).toBe(zero.mfn);
  expect(first.p2m.typeOf(gfn(400))).toBe('ram');
  expect(frames.owners[zero.mfn ?? 0]).toBe(OWNER_SHARED);
  // The view has one range for neighbors that share one frame.
  const ranges = p2mRanges(second.p2m, new Map()).filter(({ type }) => type === 'shared');
  expect(ranges.length).toBeLessThan(4);

  fillPage(machine, first, 300, 5);
  expect(first.p2m.lookup(gfn(300))).toMatchObject({ type: 'ram' });
  expect([peekPage(machine, first, 300), peekPage(machine, second, 300)]).toEqual([5, 0]);
  expect(machine.units.counts.of(first)).toMatchObject({ unshares: 1 });
  expect(contradictions(machine)).toEqual([]);
});

test('pages of equal content are shared in the mode that looks for them', () => {
  const { machine, first, second } = build();
  for (const [domain, page, value] of [
    [first, 400, 7],
    [second, 410, 7],
    [second, 411, 8],
    [first, 412, 7],
  ] as const) {
    fillPage(machine, domain, page, value);
  }
  machine.units.sharing.scan(2000, 'zero');
  expect(second.p2m.typeOf(gfn(410))).toBe('ram');
  machine.units.sharing.scan(2000, 'identical');
  machine.units.sharing.scan(2000, 'identical');

  const mfn = first.p2m.mfnOf(gfn(400));
  expect([second.p2m.mfnOf(gfn(410)), first.p2m.mfnOf(gfn(412))]).toEqual([mfn, mfn]);
  expect(second.p2m.typeOf(gfn(411))).toBe('ram');
  expect(machine.units.sharing.references(mfn as never)).toBe(3);
});

test('the last one that shares keeps the frame, and nothing is copied', () => {
  const { machine, first, second, frames } = build();
  fillPage(machine, first, 400, 7);
  fillPage(machine, second, 410, 7);
  machine.units.sharing.scan(2000, 'identical');
  machine.units.sharing.scan(2000, 'identical');
  const mfn = first.p2m.mfnOf(gfn(400)) ?? 0;
  fillPage(machine, second, 410, 8);
  const { free } = frames;
  fillPage(machine, first, 400, 9);

  expect(first.p2m.mfnOf(gfn(400))).toBe(mfn);
  expect([frames.owners[mfn], frames.free]).toEqual([first.id, free]);
  expect(contradictions(machine)).toEqual([]);
});

test('a frame that is in use by its machine address is left alone', () => {
  const { machine, first, frames } = build();
  const mfn = first.p2m.mfnOf(gfn(400)) ?? 0;
  frames.hold(mfn);
  machine.units.sharing.scan(2000, 'zero');

  expect(first.p2m.mfnOf(gfn(400))).toBe(mfn);
  expect(machine.units.swap.pageOut(first, gfn(400))).toBe(false);
});

test('the scan comes on its timer, so many pages at a time, and ends when it is told to', () => {
  const { machine, first, second } = build();
  const timers = timersOf(machine.hypervisor);
  const { sharing, counts } = machine.units;
  sharing.configure({ intervalMs: 2, pagesPerScan: 700, mode: 'zero' });
  timers.fire(1_999_999);
  expect(counts.of(first).shared).toBe(0);
  timers.fire(2_000_000);
  const after = counts.of(second).shared;
  expect(counts.of(first).shared).toBeGreaterThan(200);
  expect(after).toBeLessThan(200);
  timers.fire(4_000_000);
  expect(counts.of(second).shared).toBeGreaterThan(after);
  sharing.configure(undefined);
  expect(timers.nextNs).toBeUndefined();
});

test('without a free frame a write waits, and nothing changes', () => {
  const { machine, first, frames } = build();
  machine.units.sharing.scan(2000, 'zero');
  while (frames.allocate(first.id) !== undefined);

  expect(machine.units.prepare(first, gfn(300), 'write')).toBe('no-frame');
  expect(first.p2m.typeOf(gfn(300))).toBe('shared');
});
