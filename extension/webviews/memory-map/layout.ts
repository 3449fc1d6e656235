/**
 * Where frames are on the screen: cells in rows, each of one frame or, farther away, of many.
 */

/** How near one looks. */
export interface Zoom {
  readonly framesPerCell: number;
  readonly cellPixels: number;
}

export interface Layout extends Zoom {
  readonly frames: number;
  readonly cells: number;
  readonly columns: number;
  readonly rows: number;
}

const SMALLEST_CELL = 8;
const LARGEST_CELL = 24;
const FARTHEST = 4096;
/** From far away to near. */
const ZOOMS: readonly Zoom[] = [
  ...Array.from({ length: Math.log2(FARTHEST) }, (_, step) => ({
    framesPerCell: FARTHEST / 2 ** step,
    cellPixels: SMALLEST_CELL,
  })),
  ...[SMALLEST_CELL, 12, 16, LARGEST_CELL].map((cellPixels) => ({ framesPerCell: 1, cellPixels })),
];
/** Rows begin at round numbers of frames where there is room for so many cells. */
const ROUND = 16;

export const layoutOf = (frames: number, widthPixels: number, zoom: Zoom): Layout => {
  const cells = Math.max(1, Math.ceil(frames / zoom.framesPerCell));
  const fitting = Math.max(1, Math.floor(widthPixels / zoom.cellPixels));
  const columns = fitting < ROUND ? fitting : fitting - (fitting % ROUND);
  return { ...zoom, frames, cells, columns, rows: Math.ceil(cells / columns) };
};

/** The nearest zoom at which all frames are seen at once, with cells as large as there is room for. */
export const fittingZoom = (frames: number, widthPixels: number, heightPixels: number): Zoom => {
  const fits = (zoom: Zoom): boolean =>
    layoutOf(frames, widthPixels, zoom).rows * zoom.cellPixels <= heightPixels;
  let zoom = ZOOMS.findLast(fits) ?? (ZOOMS[0] as Zoom);
  for (let cellPixels = zoom.cellPixels + 1; cellPixels <= LARGEST_CELL; cellPixels += 1) {
    if (fits({ ...zoom, cellPixels })) zoom = { ...zoom, cellPixels };
  }
  return zoom;
};

/** One step nearer, 1, or farther away, -1; the same at the end. */
export const zoomedBy = (zoom: Zoom, step: 1 | -1): Zoom => {
  const size = (one: Zoom): number => one.cellPixels / one.framesPerCell;
  const next =
    step > 0
      ? ZOOMS.find((one) => size(one) > size(zoom))
      : ZOOMS.findLast((one) => size(one) < size(zoom));
  return next ?? zoom;
};

export const cellOf = ({ framesPerCell }: Zoom, mfn: number): number =>
  Math.floor(mfn / framesPerCell);

/** The first frame of a cell, and the one after its last. */
export const framesOfCell = (
  { frames, framesPerCell }: Layout,
  cell: number,
): readonly [first: number, end: number] => [
  cell * framesPerCell,
  Math.min(frames, (cell + 1) * framesPerCell),
];

export const placeOf = (
  { columns, cellPixels }: Layout,
  cell: number,
): { readonly x: number; readonly y: number } => ({
  x: (cell % columns) * cellPixels,
  y: Math.floor(cell / columns) * cellPixels,
});

/** The cell at a point; undefined beside the cells. */
export const cellAt = (
  { columns, cells, cellPixels }: Layout,
  x: number,
  y: number,
): number | undefined => {
  const column = Math.floor(x / cellPixels);
  const cell = Math.floor(y / cellPixels) * columns + column;
  return x < 0 || y < 0 || column >= columns || cell >= cells ? undefined : cell;
};
