/**
 * Where page walks for data have ended, for stretches of 2 MiB: the last table and the rights of the
 * levels above, or a large page. Generated code takes the last step from there (fill.ts). An entry
 * holds as long as translations of data do: whatever may change an upper level forgets those.
 */
import type { LastLevels } from '../../cpu/paging.ts';
import * as state from '../../cpu/state.ts';
import { hostAddressOf, type MachineMemory } from '../../memory/machine-memory.ts';
import type { StageCache } from './stage-cache.ts';
import { LAST_TABLE, STAGE_KIND } from './translation-tables.ts';

const TWO_32 = 2 ** 32;
const STRETCH_SHIFT = 21;
const ENTRY_WORDS = 4;

export interface LastTables extends LastLevels {
  /** All entries: generations begin anew. */
  clear(): void;
}

/** `generation` is that of translations of data; `isKept` tells whether a walk is one of those. */
export const createLastTables = (
  { words }: MachineMemory,
  stage: StageCache,
  generation: () => number,
  isKept: () => boolean,
): LastTables => {
  const keep = (linear: number, place: number, bits: number): void => {
    const low = linear | 0;
    const index = (low >>> STRETCH_SHIFT) & (state.LAST_TABLES_ENTRIES - 1);
    const entry = (state.LAST_TABLES >>> 2) + index * ENTRY_WORDS;
    words[entry] = (low & -(1 << STRETCH_SHIFT)) | generation();
    words[entry + 1] = Math.floor(linear / TWO_32) | 0;
    words[entry + 2] = place;
    words[entry + 3] = bits;
  };
  return {
    keepTable(linear, table, rights) {
      if (!isKept()) return;
      const maddr = stage.known(table, STAGE_KIND.table);
      if (maddr === undefined) return;
      const isWritable = stage.known(table, STAGE_KIND.write) !== undefined;
      keep(linear, hostAddressOf(maddr), rights | (isWritable ? LAST_TABLE.maySetBits : 0));
    },
    keepPage(linear, gpa, rights, isDirty) {
      if (!isKept()) return;
      const place = Math.floor(gpa / 2 ** STRETCH_SHIFT);
      keep(linear, place, rights | LAST_TABLE.isPage | (isDirty ? LAST_TABLE.isDirty : 0));
    },
    clear() {
      const first = state.LAST_TABLES >>> 2;
      words.fill(0, first, first + state.LAST_TABLES_ENTRIES * ENTRY_WORDS);
    },
  };
};
