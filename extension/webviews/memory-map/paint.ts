/**
 * Draws cells on a canvas.
 */
import type { MachineFrameState } from '../../../debug-adapter/protocol.ts';
import { colorOf, cssOf, inkOn, type Pattern, patternOf, type Rgb, type Theme } from './colors.ts';
import type { createCounter, Share, Snapshot } from './frames.ts';
import { framesOfCell, type Layout, placeOf } from './layout.ts';

/** As much of a canvas as cells need; a test has its own. */
export type Pen = Pick<
  CanvasRenderingContext2D,
  | 'fillStyle'
  | 'strokeStyle'
  | 'lineWidth'
  | 'globalAlpha'
  | 'fillRect'
  | 'strokeRect'
  | 'beginPath'
  | 'moveTo'
  | 'lineTo'
  | 'arc'
  | 'stroke'
  | 'fill'
>;

/** Smaller cells have no room for a pattern. */
const SMALLEST_PATTERN = 6;
const DIMMED = 0.2;
const GAP = 1;

const line = (pen: Pen, ...points: readonly (readonly [number, number])[]): void => {
  pen.beginPath();
  for (const [index, [x, y]] of points.entries()) {
    if (index === 0) pen.moveTo(x, y);
    else pen.lineTo(x, y);
  }
  pen.stroke();
};

type Draw = (pen: Pen, x: number, y: number, size: number) => void;

const DRAW: Readonly<Record<Pattern, Draw>> = {
  plain: () => {},
  ring(pen, x, y, size) {
    pen.beginPath();
    pen.arc(x + size / 2, y + size / 2, size * 0.3, 0, 2 * Math.PI);
    pen.stroke();
  },
  cross(pen, x, y, size) {
    line(pen, [x, y], [x + size, y + size]);
    line(pen, [x + size, y], [x, y + size]);
  },
  slash: (pen, x, y, size) => line(pen, [x, y + size], [x + size, y]),
  backslash: (pen, x, y, size) => line(pen, [x, y], [x + size, y + size]),
  rows(pen, x, y, size) {
    for (const part of [0.3, 0.7]) line(pen, [x, y + size * part], [x + size, y + size * part]);
  },
  columns(pen, x, y, size) {
    for (const part of [0.3, 0.7]) line(pen, [x + size * part, y], [x + size * part, y + size]);
  },
  grid(pen, x, y, size) {
    line(pen, [x, y + size / 2], [x + size, y + size / 2]);
    line(pen, [x + size / 2, y], [x + size / 2, y + size]);
  },
  bar: (pen, x, y, size) => pen.fillRect(x, y + size * 0.4, size, Math.max(1, size * 0.25)),
  half(pen, x, y, size) {
    pen.beginPath();
    pen.moveTo(x, y + size);
    pen.lineTo(x + size, y + size);
    pen.lineTo(x + size, y);
    pen.fill();
  },
  square: (pen, x, y, size) =>
    pen.strokeRect(x + size * 0.25, y + size * 0.25, size * 0.5, size * 0.5),
  dot(pen, x, y, size) {
    pen.beginPath();
    pen.arc(x + size / 2, y + size / 2, size * 0.22, 0, 2 * Math.PI);
    pen.fill();
  },
  corner(pen, x, y, size) {
    pen.beginPath();
    pen.moveTo(x, y);
    pen.lineTo(x + size / 2, y);
    pen.lineTo(x, y + size / 2);
    pen.fill();
  },
  corners(pen, x, y, size) {
    DRAW.corner(pen, x, y, size);
    DRAW.half(pen, x + size / 2, y + size / 2, size / 2);
  },
};

/** One square of one state, as in the legend. */
export const paintState = (
  pen: Pen,
  state: MachineFrameState,
  theme: Theme,
  x: number,
  y: number,
  size: number,
): void => {
  const color = colorOf(state, theme);
  pen.fillStyle = cssOf(color);
  pen.fillRect(x, y, size, size);
  if (size >= SMALLEST_PATTERN) {
    pen.lineWidth = 1;
    pen.fillStyle = cssOf(inkOn(color));
    pen.strokeStyle = cssOf(inkOn(color));
    DRAW[patternOf(state)](pen, x, y, size);
  }
  if (theme.isHighContrast) outline(pen, theme.foreground, 1, x, y, size);
};

const outline = (pen: Pen, color: Rgb, width: number, x: number, y: number, size: number): void => {
  pen.lineWidth = width;
  pen.strokeStyle = cssOf(color);
  pen.strokeRect(x + width / 2, y + width / 2, size - width, size - width);
};

/** A cell of frames of several states is divided among them, side by side. */
const paintShares = (
  pen: Pen,
  shares: readonly Share[],
  table: readonly MachineFrameState[],
  theme: Theme,
  x: number,
  y: number,
  size: number,
): void => {
  const total = shares.reduce((sum, { count }) => sum + count, 0);
  let left = x;
  for (const [index, { state, count }] of shares.entries()) {
    const known = table[state];
    if (known === undefined) continue;
    const rest = x + size - left;
    const others = shares.length - 1 - index;
    const width = others === 0 ? rest : Math.min(rest - others, Math.round((count / total) * size));
    pen.fillStyle = cssOf(colorOf(known, theme));
    pen.fillRect(left, y, Math.max(1, width), size);
    left += Math.max(1, width);
  }
  if (theme.isHighContrast) outline(pen, theme.foreground, 1, x, y, size);
};

export interface Picture extends Snapshot {
  readonly layout: Layout;
  readonly theme: Theme;
  readonly count: ReturnType<typeof createCounter>;
  /** By mfn, 1 where it has changed. */
  readonly changed: Uint8Array;
  /** Frames of other states are dimmed; undefined: none is. */
  readonly emphasized: number | undefined;
  readonly cursor: number;
}

/** The cells of some rows; the first of them is at the top. */
export const paintRows = (pen: Pen, picture: Picture, firstRow: number, endRow: number): void => {
  const { layout, theme, states, table, count, changed, emphasized, cursor } = picture;
  const { columns, cells, cellPixels } = layout;
  const size = cellPixels - GAP;
  const top = firstRow * cellPixels;
  for (let cell = firstRow * columns; cell < Math.min(cells, endRow * columns); cell += 1) {
    const [first, end] = framesOfCell(layout, cell);
    const place = placeOf(layout, cell);
    const y = place.y - top;
    const shares = count(states, first, end);
    const only = shares.length === 1 ? table[shares[0]?.state ?? 0] : undefined;
    const isDimmed = emphasized !== undefined && !shares.some(({ state }) => state === emphasized);
    pen.globalAlpha = isDimmed ? DIMMED : 1;
    if (only !== undefined) paintState(pen, only, theme, place.x, y, size);
    else paintShares(pen, shares, table, theme, place.x, y, size);
    pen.globalAlpha = 1;
    if (changed.subarray(first, end).includes(1)) {
      outline(pen, theme.foreground, theme.isHighContrast ? 3 : 1, place.x, y, size);
    }
  }
  const at = placeOf(layout, cursor);
  pen.lineWidth = 2;
  pen.strokeStyle = cssOf(theme.cursor);
  pen.strokeRect(at.x - 1, at.y - top - 1, size + 2, size + 2);
};
