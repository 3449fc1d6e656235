import { expect, test } from 'vitest';
import { cellAfterKey } from './cursor.ts';
import { layoutOf } from './layout.ts';

/** 3 rows of 16 cells, and 5 more. */
const layout = layoutOf(53, 128, { framesPerCell: 1, cellPixels: 8 });
const after = (key: string, cell: number, ctrlKey = false): number | undefined =>
  cellAfterKey({ key, ctrlKey }, cell, layout, 2);

test.each([
  ['ArrowLeft', 20, 19],
  ['ArrowLeft', 0, 0],
  ['ArrowRight', 15, 16],
  ['ArrowRight', 52, 52],
  ['ArrowUp', 20, 4],
  ['ArrowUp', 4, 4],
  ['ArrowDown', 20, 36],
  ['ArrowDown', 34, 50],
  ['ArrowDown', 40, 40],
  ['ArrowDown', 50, 50],
  ['PageDown', 3, 35],
  ['PageDown', 24, 40],
  ['PageUp', 50, 18],
  ['PageUp', 20, 4],
  ['Home', 20, 16],
  ['End', 20, 31],
  ['End', 50, 52],
])('%s from cell %i leads to %i', (key, cell, expected) => {
  expect(after(key, cell)).toBe(expected);
});

test('with Ctrl, Home and End lead to the first and the last cell', () => {
  expect(after('Home', 20, true)).toBe(0);
  expect(after('End', 20, true)).toBe(52);
});

test('other keys move nothing', () => {
  expect(after('Enter', 20)).toBeUndefined();
  expect(after('a', 20)).toBeUndefined();
});
