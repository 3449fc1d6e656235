/**
 * The keys that move the cursor over the cells.
 */
import type { Layout } from './layout.ts';

export interface Key {
  readonly key: string;
  readonly ctrlKey: boolean;
}

/** The cell that a key leads to; undefined for a key that moves nothing. */
export const cellAfterKey = (
  { key, ctrlKey }: Key,
  cell: number,
  { columns, cells }: Layout,
  visibleRows: number,
): number | undefined => {
  const last = cells - 1;
  const rowStart = cell - (cell % columns);
  /** In the same column, as far as there are rows. */
  const byRows = (rows: number): number => {
    const wanted = cell + rows * columns;
    if (wanted < 0) return cell % columns;
    return wanted > last ? last - ((((last - cell) % columns) + columns) % columns) : wanted;
  };
  switch (key) {
    case 'ArrowLeft':
      return Math.max(0, cell - 1);
    case 'ArrowRight':
      return Math.min(last, cell + 1);
    case 'ArrowUp':
      return byRows(-1);
    case 'ArrowDown':
      return byRows(1);
    case 'PageUp':
      return byRows(-Math.max(1, visibleRows));
    case 'PageDown':
      return byRows(Math.max(1, visibleRows));
    case 'Home':
      return ctrlKey ? 0 : rowStart;
    case 'End':
      return ctrlKey ? last : Math.min(last, rowStart + columns - 1);
    default:
      return undefined;
  }
};
