import { expect, test } from 'vitest';
import type { MachineFrameState } from '../../../debug-adapter/protocol.ts';
import { changesSince, createCounter, unpackRuns } from './frames.ts';

const state = (kind: string, domain?: number): MachineFrameState => ({
  kind,
  label: kind,
  description: '',
  owner: '',
  count: 0,
  ...(domain === undefined ? {} : { domain }),
});

const map = (frames: number, bytes: readonly number[]) => ({
  frames,
  states: [],
  runs: btoa(String.fromCharCode(...bytes)),
  isRunning: false,
});

test('runs are unpacked, their numbers in groups of 7 bits', () => {
  const states = unpackRuns(map(1003, [0, 1, 1, 0xe8, 0x07, 2, 2]));

  expect([...states.subarray(0, 2), ...states.subarray(1000)]).toEqual([0, 1, 1, 2, 2]);
  expect(states.filter((one) => one === 1).length).toBe(1000);
});

test('a million frames are unpacked', () => {
  const frames = 2 ** 20;
  const states = unpackRuns(map(frames, [5, 0x80, 0x80, 0x40]));

  expect(states.length).toBe(frames);
  expect(states.every((one) => one === 5)).toBe(true);
});

test('the states of a cell are counted, the most frequent first', () => {
  const count = createCounter(4, 2);
  const states = Uint16Array.of(3, 0, 0, 1, 0, 3);

  expect(count(states, 0, 6)).toEqual([
    { state: 0, count: 3 },
    { state: 3, count: 2 },
  ]);
  expect(count(states, 3, 4)).toEqual([{ state: 1, count: 1 }]);
});

test('frames that have changed are found, though states have other numbers now', () => {
  const before = { table: [state('free'), state('ram', 1)], states: Uint16Array.of(0, 1, 1, 0) };
  const now = { table: [state('ram', 1), state('free')], states: Uint16Array.of(1, 0, 1, 0) };

  expect([...changesSince(before, now)]).toEqual([0, 0, 1, 1]);
});

test('nothing has changed on the first picture, nor on one of another machine', () => {
  const now = { table: [state('free')], states: Uint16Array.of(0, 0) };

  expect([...changesSince(undefined, now)]).toEqual([0, 0]);
  expect([...changesSince({ ...now, states: Uint16Array.of(0) }, now)]).toEqual([0, 0]);
});
