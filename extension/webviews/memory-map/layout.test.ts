import { expect, test } from 'vitest';
import {
  cellAt,
  cellOf,
  fittingZoom,
  framesOfCell,
  layoutOf,
  placeOf,
  zoomedBy,
} from './layout.ts';

const single = { framesPerCell: 1, cellPixels: 8 };

test('rows begin at round numbers, unless there is no room for them', () => {
  expect(layoutOf(1000, 300, single)).toMatchObject({ columns: 32, rows: 32, cells: 1000 });
  expect(layoutOf(1000, 100, single)).toMatchObject({ columns: 12 });
  expect(layoutOf(1000, -5, single)).toMatchObject({ columns: 1, rows: 1000 });
});

test.each([
  [100, 24],
  [17_000, 8],
])('%i frames are seen one by one, in cells of %i pixels', (frames, cellPixels) => {
  expect(fittingZoom(frames, 1300, 900)).toEqual({ framesPerCell: 1, cellPixels });
});

test('a million frames fit in aggregated cells', () => {
  const zoom = fittingZoom(2 ** 20, 1000, 700);
  const { rows, cells } = layoutOf(2 ** 20, 1000, zoom);

  expect(zoom).toEqual({ framesPerCell: 128, cellPixels: 8 });
  expect(rows * zoom.cellPixels).toBeLessThanOrEqual(700);
  expect(cells).toBe(8192);
});

test('cells grow into the room that is left', () => {
  expect(fittingZoom(17_000, 1000, 300)).toEqual({ framesPerCell: 8, cellPixels: 11 });
});

test('zoom goes from far to single frames and on to larger cells, and ends', () => {
  let zoom = { framesPerCell: 4, cellPixels: 8 };
  const seen = [];
  for (let step = 0; step < 7; step += 1) {
    zoom = zoomedBy(zoom, 1);
    seen.push([zoom.framesPerCell, zoom.cellPixels]);
  }

  expect(seen).toEqual([
    [2, 8],
    [1, 8],
    [1, 12],
    [1, 16],
    [1, 24],
    [1, 24],
    [1, 24],
  ]);
  expect(zoomedBy({ framesPerCell: 4096, cellPixels: 8 }, -1).framesPerCell).toBe(4096);
});

test('from between two steps, zoom goes to the next one', () => {
  const between = { framesPerCell: 4, cellPixels: 11 };

  expect(zoomedBy(between, 1)).toEqual({ framesPerCell: 2, cellPixels: 8 });
  expect(zoomedBy(between, -1)).toEqual({ framesPerCell: 4, cellPixels: 8 });
});

test('every cell is found again at its place, and every frame in its cell', () => {
  const layout = layoutOf(1000, 300, { framesPerCell: 4, cellPixels: 8 });
  for (let cell = 0; cell < layout.cells; cell += 1) {
    const { x, y } = placeOf(layout, cell);
    expect(cellAt(layout, x, y)).toBe(cell);
    expect(cellAt(layout, x + 7, y + 7)).toBe(cell);
    const [first, end] = framesOfCell(layout, cell);
    expect([cellOf(layout, first), cellOf(layout, end - 1)]).toEqual([cell, cell]);
  }
});

test('there is no cell beside the cells', () => {
  const layout = layoutOf(33, 300, single);

  expect(cellAt(layout, -1, 0)).toBeUndefined();
  expect(cellAt(layout, 32 * 8, 0)).toBeUndefined();
  expect(cellAt(layout, 8, 8)).toBeUndefined();
  expect(cellAt(layout, 7, 8)).toBe(32);
});

test('the last cell ends with the last frame', () => {
  expect(framesOfCell(layoutOf(10, 300, { framesPerCell: 4, cellPixels: 8 }), 2)).toEqual([8, 10]);
});
