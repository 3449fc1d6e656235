/**
 * The picture of machine memory: a cell for every frame, or for some in a row, with a legend and
 * the details of the frame under the cursor.
 */
import type { MachineFrameResponse, MachineFrameState } from '../../../debug-adapter/protocol.ts';
import { cellAfterKey } from './cursor.ts';
import { changesSince, createCounter, type Snapshot, unpackRuns } from './frames.ts';
import {
  cellAt,
  cellOf,
  fittingZoom,
  framesOfCell,
  type Layout,
  layoutOf,
  placeOf,
  type Zoom,
  zoomedBy,
} from './layout.ts';
import { createLegend } from './legend.ts';
import type { FromWebview, ToWebview } from './messages.ts';
import { type Picture, paintRows } from './paint.ts';
import { readTheme } from './theme.ts';

interface Kept {
  /** Undefined: as far away as all frames need. */
  readonly zoom?: Zoom;
  readonly mfn: number;
}

declare const acquireVsCodeApi: () => {
  postMessage(message: FromWebview): void;
  getState(): Kept | undefined;
  setState(state: Kept): void;
};

/** The states that a divided cell shows. */
const MOST_SHARES = 4;
/** Room for the numbers of frames at the left, and how far apart they are. */
const GUTTER = 84;
const NUMBER_DISTANCE = 48;
/** The pointer rests so long before the adapter is asked. */
const HOVER_MS = 120;

const element = <T extends HTMLElement>(id: string): T => {
  const found = document.getElementById(id);
  if (found === null) throw new Error(`The page has no '${id}'.`);
  return found as T;
};

const editor = acquireVsCodeApi();
const scroller = element('scroller');
const spacer = element('spacer');
const canvas = element<HTMLCanvasElement>('cells');
const numbers = element('numbers');
const notice = element('notice');
const summary = element('summary');
const detailTitle = element('detail-title');
const detailRows = element('detail-rows');
const tip = element('tip');

let shown: Snapshot | undefined;
let changed: Uint8Array = new Uint8Array(0);
let counter = createCounter(0, MOST_SHARES);
let { zoom, mfn: cursor } = editor.getState() ?? { zoom: undefined, mfn: 0 };
let theme = readTheme();
let emphasized: string | undefined;
let isPaintDue = false;
/** The frame that is asked about, and where its answer goes. */
let asked: { readonly mfn: number; readonly place: 'detail' | 'tip' } | undefined;
let hoverTimer: ReturnType<typeof setTimeout> | undefined;

const legend = createLegend(element('legend'), (key) => {
  emphasized = key;
  paintSoon();
});

const hex = (value: number): string => `0x${value.toString(16)}`;

const layout = (): Layout => {
  const frames = shown?.states.length ?? 1;
  const width = scroller.clientWidth - GUTTER;
  return layoutOf(frames, width, zoom ?? fittingZoom(frames, width, scroller.clientHeight));
};

const visibleRows = ({ cellPixels }: Layout): number =>
  Math.max(1, Math.floor(scroller.clientHeight / cellPixels));

const paintSoon = (): void => {
  if (isPaintDue) return;
  isPaintDue = true;
  requestAnimationFrame(() => {
    isPaintDue = false;
    paint();
  });
};

const paint = (): void => {
  if (shown === undefined) return;
  const now = layout();
  const { cellPixels, rows } = now;
  spacer.style.height = `${rows * cellPixels}px`;
  const firstRow = Math.min(Math.floor(scroller.scrollTop / cellPixels), rows - 1);
  const endRow = Math.min(rows, firstRow + visibleRows(now) + 2);
  const width = scroller.clientWidth - GUTTER;
  const height = (endRow - firstRow) * cellPixels + 2;
  const ratio = window.devicePixelRatio;
  canvas.width = Math.round(width * ratio);
  canvas.height = Math.round(height * ratio);
  canvas.style.width = `${width}px`;
  canvas.style.height = `${height}px`;
  canvas.style.top = `${firstRow * cellPixels}px`;
  const pen = canvas.getContext('2d');
  if (pen === null) return;
  pen.setTransform(ratio, 0, 0, ratio, 0, 0);
  // The outline of the cursor is around its cell.
  pen.translate(1, 1);
  const index = shown.table.findIndex((state) => keyOf(state) === emphasized);
  const picture: Picture = {
    ...shown,
    layout: now,
    theme,
    count: counter,
    changed,
    emphasized: index < 0 ? undefined : index,
    cursor: cellOf(now, cursor),
  };
  paintRows(pen, picture, firstRow, endRow);
  paintNumbers(now, firstRow, endRow);
};

/** Numbers of frames beside some of the rows. */
const paintNumbers = (
  { columns, cellPixels, framesPerCell }: Layout,
  first: number,
  end: number,
) => {
  const every = Math.max(1, Math.round(NUMBER_DISTANCE / cellPixels));
  const marks: HTMLElement[] = [];
  for (let row = Math.ceil(first / every) * every; row < end; row += every) {
    const mark = document.createElement('span');
    mark.textContent = hex(row * columns * framesPerCell);
    mark.style.top = `${row * cellPixels}px`;
    marks.push(mark);
  }
  numbers.replaceChildren(...marks);
};

const keyOf = ({ kind, domain }: MachineFrameState): string => `${kind} ${domain ?? ''}`;

const stateOf = (mfn: number): MachineFrameState | undefined =>
  shown?.table[shown.states[mfn] ?? 0];

const words = (state: MachineFrameState | undefined): string =>
  state === undefined
    ? ''
    : state.domain === undefined
      ? state.label
      : `${state.label}, ${state.owner}`;

/** The frames of a cell in a sentence: for the screen reader, and until the adapter has answered. */
const cellWords = (now: Layout, cell: number): string => {
  const [first, end] = framesOfCell(now, cell);
  if (shown === undefined) return '';
  if (end - first === 1) return `mfn ${hex(first)}: ${words(stateOf(first))}`;
  const parts = counter(shown.states, first, end).map(
    ({ state, count }) => `${count} × ${words(shown?.table[state])}`,
  );
  return `mfn ${hex(first)} to ${hex(end - 1)}: ${parts.join('; ')}`;
};

const keep = (): void => editor.setState({ ...(zoom === undefined ? {} : { zoom }), mfn: cursor });

const ask = (mfn: number, place: 'detail' | 'tip'): void => {
  asked = { mfn, place };
  editor.postMessage({ kind: 'frame', mfn });
};

const fillRows = (into: HTMLElement, { rows }: MachineFrameResponse): void => {
  into.replaceChildren(
    ...rows.flatMap(({ name, value }) => {
      const term = document.createElement('dt');
      term.textContent = name;
      const text = document.createElement('dd');
      text.textContent = value;
      return [term, text];
    }),
  );
};

const moveTo = (cell: number): void => {
  const now = layout();
  const { y } = placeOf(now, cell);
  [cursor] = framesOfCell(now, cell);
  if (y < scroller.scrollTop) scroller.scrollTop = y;
  else if (y + now.cellPixels > scroller.scrollTop + scroller.clientHeight) {
    scroller.scrollTop = y + now.cellPixels - scroller.clientHeight;
  }
  summary.textContent = cellWords(now, cell);
  keep();
  paintSoon();
};

const zoomTo = (next: Zoom | undefined): void => {
  zoom = next;
  paint();
  moveTo(cellOf(layout(), cursor));
};

const zoomBy = (step: 1 | -1): void => {
  const { framesPerCell, cellPixels } = layout();
  zoomTo(zoomedBy({ framesPerCell, cellPixels }, step));
};

const showDetail = (): void => ask(cursor, 'detail');

scroller.addEventListener('keydown', (event) => {
  if (event.altKey || event.metaKey || shown === undefined) return;
  const now = layout();
  const cell = cellAfterKey(event, cellOf(now, cursor), now, visibleRows(now));
  if (cell !== undefined) moveTo(cell);
  else if (event.key === 'Enter') showDetail();
  else if (event.key === '+' || event.key === '=') zoomBy(1);
  else if (event.key === '-') zoomBy(-1);
  else if (event.key === '0') zoomTo(undefined);
  else if (event.key === 'Escape') tip.hidden = true;
  else return;
  event.preventDefault();
});

const cellUnder = (event: MouseEvent): number | undefined => {
  const box = canvas.getBoundingClientRect();
  const now = layout();
  const firstRow = Math.round(Number.parseFloat(canvas.style.top) / now.cellPixels);
  return cellAt(
    now,
    event.clientX - box.left - 1,
    event.clientY - box.top - 1 + firstRow * now.cellPixels,
  );
};

canvas.addEventListener('mousemove', (event) => {
  const cell = cellUnder(event);
  clearTimeout(hoverTimer);
  tip.hidden = cell === undefined;
  if (cell === undefined) return;
  const now = layout();
  const [first, end] = framesOfCell(now, cell);
  const title = document.createElement('strong');
  title.textContent = cellWords(now, cell);
  tip.replaceChildren(title);
  const { innerWidth, innerHeight } = window;
  tip.style.left = `${Math.min(event.clientX + 14, Math.max(0, innerWidth - 360))}px`;
  tip.style.top = `${event.clientY > innerHeight * 0.6 ? event.clientY - tip.offsetHeight - 14 : event.clientY + 14}px`;
  if (end - first === 1) hoverTimer = setTimeout(() => ask(first, 'tip'), HOVER_MS);
});

canvas.addEventListener('mouseleave', () => {
  clearTimeout(hoverTimer);
  tip.hidden = true;
});

canvas.addEventListener('click', (event) => {
  const cell = cellUnder(event);
  if (cell === undefined) return;
  scroller.focus();
  moveTo(cell);
  showDetail();
});

scroller.addEventListener('scroll', paintSoon);
scroller.addEventListener(
  'wheel',
  (event) => {
    if (!event.ctrlKey) return;
    event.preventDefault();
    zoomBy(event.deltaY < 0 ? 1 : -1);
  },
  { passive: false },
);
element('nearer').addEventListener('click', () => zoomBy(1));
element('farther').addEventListener('click', () => zoomBy(-1));
element('all').addEventListener('click', () => zoomTo(undefined));
new ResizeObserver(paintSoon).observe(scroller);
new MutationObserver(() => {
  theme = readTheme();
  if (shown !== undefined) legend.show(shown.table, theme);
  paintSoon();
}).observe(document.body, { attributes: true, attributeFilter: ['class'] });

const takeMap = ({ map }: Extract<ToWebview, { kind: 'map' }>): void => {
  const next: Snapshot = { table: map.states, states: unpackRuns(map) };
  changed = changesSince(shown, next);
  shown = next;
  counter = createCounter(map.states.length, MOST_SHARES);
  cursor = Math.min(cursor, map.frames - 1);
  document.body.classList.remove('empty');
  notice.textContent = map.isRunning ? 'Running' : '';
  legend.show(map.states, theme);
  const now = layout();
  summary.textContent = cellWords(now, cellOf(now, cursor));
  paintSoon();
  // What is told of a frame follows time, too.
  if (detailTitle.textContent !== '') showDetail();
};

const takeFrame = (mfn: number, frame: MachineFrameResponse): void => {
  if (asked?.mfn !== mfn) return;
  if (asked.place === 'detail') {
    detailTitle.textContent = frame.title;
    fillRows(detailRows, frame);
    return;
  }
  const rows = document.createElement('dl');
  fillRows(rows, frame);
  const title = document.createElement('strong');
  title.textContent = frame.title;
  tip.replaceChildren(title, rows);
};

window.addEventListener('message', ({ data }: MessageEvent<ToWebview>) => {
  switch (data.kind) {
    case 'map':
      takeMap(data);
      break;
    case 'frame':
      takeFrame(data.mfn, data.frame);
      break;
    case 'nothing':
      document.body.classList.add('empty');
      notice.textContent = data.reason;
      break;
  }
});

editor.postMessage({ kind: 'ready' });
