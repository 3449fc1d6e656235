import { expect, test } from 'vitest';
import type { Gfn, Mfn } from '../memory/addresses.ts';
import { createMachineMemory } from '../memory/machine-memory.ts';
import { createFrames } from './frames.ts';
import { createP2m } from './p2m.ts';

const build = () => {
  const memory = createMachineMemory(8 << 20);
  const frames = createFrames(memory.ramBytes);
  return { memory, frames, p2m: createP2m(memory, frames) };
};

test('a large page is found by each of its frames', () => {
  const { p2m } = build();
  p2m.setLarge(512 as Gfn, 1024 as Mfn);

  expect(p2m.lookup(700 as Gfn)).toMatchObject({ type: 'ram', mfn: 1212, pageBytes: 2 << 20 });
  expect(p2m.lookup(1024 as Gfn)).toMatchObject({ type: 'hole', mfn: undefined });
});

test('giving back one frame of a large page splits it and keeps the others', () => {
  const { p2m } = build();
  p2m.setLarge(0 as Gfn, 512 as Mfn);
  p2m.set(3 as Gfn, 'ballooned', undefined);

  expect(p2m.lookup(2 as Gfn)).toMatchObject({ type: 'ram', mfn: 514, pageBytes: 4096 });
  expect(p2m.lookup(3 as Gfn)).toMatchObject({ type: 'ballooned', mfn: undefined });
  expect(p2m.ranges(new Map())).toMatchObject([
    { first: 0, count: 3, type: 'ram', mfn: 512, permissions: 'rwx' },
    { first: 3, count: 1, type: 'ballooned', permissions: '---' },
    { first: 4, count: 508, type: 'ram', mfn: 516 },
  ]);
});

test('frames are given out in the same order and refused when none is left', () => {
  const frames = createFrames(4096 * 4);

  expect([1, 2, 3, 4].map(() => frames.allocate(1))).toEqual([1, 2, 3, undefined]);
  frames.release(2 as Mfn);
  expect(frames.free).toBe(1);
  expect(frames.allocate(1)).toBe(2);
});
