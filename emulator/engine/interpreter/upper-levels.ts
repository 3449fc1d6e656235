/**
 * What the upper levels of page walks have come to, for some stretches of 2 MiB, of data and of code
 * apart. It holds as long as translations of data do: whatever may change an upper entry forgets
 * those.
 */
import type { UpperLevels } from '../../cpu/paging.ts';

const ENTRIES = 512;
const REGION_BYTES = 2 ** 21;

export interface KeptLevels extends UpperLevels {
  forget(): void;
}

/** `found` is told when a walk begins at its last level. */
export const createUpperLevels = (isOfCode: () => boolean, found: () => void): KeptLevels => {
  const keys = new Float64Array(ENTRIES).fill(Number.NaN);
  const tables = new Float64Array(ENTRIES);
  const rights = new Uint8Array(ENTRIES);
  const executable = new Uint8Array(ENTRIES);
  let at = 0;
  const keyOf = (linear: number): number =>
    Math.floor(linear / REGION_BYTES) * 2 + (isOfCode() ? 1 : 0);
  return {
    table(linear) {
      const key = keyOf(linear);
      at = key & (ENTRIES - 1);
      if (keys[at] !== key) return -1;
      found();
      return tables[at] ?? -1;
    },
    get rights() {
      return rights[at] ?? 0;
    },
    get isExecutable() {
      return executable[at] === 1;
    },
    keep(linear, table, both, isExecutable) {
      const key = keyOf(linear);
      const to = key & (ENTRIES - 1);
      keys[to] = key;
      tables[to] = table;
      rights[to] = both;
      executable[to] = isExecutable ? 1 : 0;
    },
    forget: () => {
      keys.fill(Number.NaN);
    },
  };
};
