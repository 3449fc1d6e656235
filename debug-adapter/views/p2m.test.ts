import { expect, test } from 'vitest';
import type { P2mRange } from '../../emulator/index.ts';
import { p2m } from './p2m.ts';
import type { View } from './view.ts';

const range = (first: number): P2mRange => ({
  first: first as P2mRange['first'],
  count: 1,
  type: first % 4 === 0 ? 'paged' : 'shared',
  mfn: undefined,
  permissions: '---',
  pageBytes: undefined,
  label: undefined,
});

/** A domain whose every second gfn is of another kind. */
const domainOf = (count: number) => {
  const all = Array.from({ length: count }, (_, index) => range(index * 2));
  return {
    id: 1,
    paging: 'hap',
    p2m: (first = 0, end = Number.POSITIVE_INFINITY) =>
      all.filter((one) => one.first >= first && one.first < end),
  };
};
const rowsOf = (count: number, parent: string) =>
  p2m.rows(
    { debuggee: { machine: { domains: [domainOf(count)] } } } as unknown as Parameters<
      View['rows']
    >[0],
    parent,
  );

test('a few ranges are rows', () => {
  expect(rowsOf(500, 'd1')).toHaveLength(500);
});

test('many are groups, which hold all of them', () => {
  const groups = rowsOf(1201, 'd1');
  const rows = groups.flatMap(({ id }) => rowsOf(1201, id));

  expect(groups.map(({ detail }) => detail)).toEqual([
    '500 ranges: paged, shared',
    '500 ranges: paged, shared',
    '201 ranges: paged, shared',
  ]);
  expect(groups.every(({ hasChildren }) => hasChildren)).toBe(true);
  expect(new Set(rows.map(({ id }) => id)).size).toBe(1201);
  expect(rowsOf(3, 'd2')).toEqual([]);
});
