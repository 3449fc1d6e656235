import { expect, test } from 'vitest';
import { createEntryUsers } from './entry-users.ts';

test('lists of users are those of a plain model, under random changes', () => {
  const users = createEntryUsers(200);
  const model = new Map<number, number>();
  let state = 12345;
  const below = (limit: number): number => {
    state = (Math.imul(state, 1103515245) + 12345) >>> 0;
    return (state >>> 8) % limit;
  };
  for (let round = 0; round < 5000; round += 1) {
    const entry = below(200);
    const key = below(4) === 0 ? undefined : below(12) - 4;
    users.set(entry, key);
    if (key === undefined) model.delete(entry);
    else model.set(entry, key);
    const wanted = below(12) - 4;
    const expected = [...model].filter(([, one]) => one === wanted).map(([one]) => one);
    expect([...users.of(wanted)].sort((a, b) => a - b)).toEqual(expected.sort((a, b) => a - b));
    expect(users.has(wanted)).toBe(expected.length > 0);
    expect(users.keyOf(entry)).toBe(key);
  }
  expect([...users.keys()].sort()).toEqual([...new Set(model.values())].sort());
  users.clear();
  expect(users.keys()).toEqual([]);
});
