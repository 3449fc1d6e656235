import { expect, test } from 'vitest';
import type { MachineFrameState } from '../../../debug-adapter/protocol.ts';
import { colorOf, cssOf, type Theme } from './colors.ts';
import { createCounter } from './frames.ts';
import { layoutOf } from './layout.ts';
import { byOwner } from './legend.ts';
import { type Pen, type Picture, paintRows } from './paint.ts';

const theme: Theme = {
  background: [0, 0, 0],
  foreground: [255, 255, 255],
  dom0: [200, 200, 0],
  domains: [[0, 0, 255]],
  shared: [200, 0, 200],
  cursor: [255, 128, 0],
  isHighContrast: false,
};

const state = (kind: string, domain?: number): MachineFrameState => ({
  kind,
  label: kind,
  description: '',
  owner: domain === undefined ? 'Nobody' : `Domain ${domain}`,
  count: 1,
  ...(domain === undefined ? {} : { domain }),
});

const table = [state('free'), state('ram', 1), state('page-table', 1)];

/** Notes what is drawn. */
const createPen = () => {
  const fills: { x: number; y: number; width: number; color: string; alpha: number }[] = [];
  const outlines: { x: number; y: number; color: string }[] = [];
  const pen = {
    fillStyle: '',
    strokeStyle: '',
    lineWidth: 1,
    globalAlpha: 1,
    fillRect(x: number, y: number, width: number) {
      fills.push({ x, y, width, color: String(pen.fillStyle), alpha: pen.globalAlpha });
    },
    strokeRect(x: number, y: number) {
      outlines.push({ x, y, color: String(pen.strokeStyle) });
    },
    beginPath() {},
    moveTo() {},
    lineTo() {},
    arc() {},
    stroke() {},
    fill() {},
  };
  return { pen: pen as Pen, fills, outlines };
};

const picture = (states: readonly number[], framesPerCell: number): Picture => ({
  table,
  states: Uint16Array.from(states),
  layout: layoutOf(states.length, 32, { framesPerCell, cellPixels: 8 }),
  theme,
  count: createCounter(table.length, 4),
  changed: new Uint8Array(states.length),
  emphasized: undefined,
  cursor: 0,
});

test('a cell has the color of its frame', () => {
  const { pen, fills } = createPen();
  paintRows(pen, picture([0, 1, 1, 0, 1], 1), 0, 2);

  expect(fills.map(({ x, y }) => [x, y])).toEqual([
    [0, 0],
    [8, 0],
    [16, 0],
    [24, 0],
    [0, 8],
  ]);
  const [free, ram] = table.map((one) => cssOf(colorOf(one, theme)));
  expect(fills.map(({ color }) => color)).toEqual([free, ram, ram, free, ram]);
});

test('a cell of several states is divided, and its least part is still seen', () => {
  const { pen, fills } = createPen();
  paintRows(pen, picture([...Array(255).fill(1), 2], 256), 0, 1);

  expect(fills.map(({ x, width }) => [x, width])).toEqual([
    [0, 6],
    [6, 1],
  ]);
});

test('rows that are scrolled away are not drawn, and the first one is at the top', () => {
  const { pen, fills } = createPen();
  paintRows(pen, picture(Array(40).fill(1), 1), 3, 5);

  expect([...new Set(fills.map(({ y }) => y))]).toEqual([0, 8]);
  expect(fills.length).toBe(8);
});

test('other states than the emphasized one are dimmed', () => {
  const { pen, fills } = createPen();
  paintRows(pen, { ...picture([0, 1], 1), emphasized: 1 }, 0, 1);

  expect(fills.map(({ alpha }) => alpha)).toEqual([0.2, 1]);
});

test('what has changed has an outline, the cursor one of its own', () => {
  const { pen, outlines } = createPen();
  paintRows(pen, { ...picture([1, 1, 1], 1), changed: Uint8Array.of(0, 0, 1), cursor: 1 }, 0, 1);

  expect(outlines.map(({ x, color }) => [Math.floor(x), color])).toEqual([
    [16, cssOf(theme.foreground)],
    [7, cssOf(theme.cursor)],
  ]);
});

test('in high contrast every cell has an outline', () => {
  const { pen, outlines } = createPen();
  const plain = picture([0, 1, 1], 1);
  paintRows(pen, { ...plain, theme: { ...theme, isHighContrast: true } }, 0, 1);

  expect(outlines.length).toBe(3 + 1);
});

test('the legend has domains first, in order, and the others last', () => {
  const states = [state('free'), state('ram', 2), state('ram', 0), state('page-table', 2)];

  expect(byOwner(states).map(([owner, own]) => [owner, own.length])).toEqual([
    ['Domain 0', 1],
    ['Domain 2', 2],
    ['Nobody', 1],
  ]);
});
