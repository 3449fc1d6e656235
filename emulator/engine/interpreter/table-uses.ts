/**
 * Which machine pages hold paging entries that remembered translations depend on, and on which
 * part of the linear addresses a change of one tells: a last-level table that is used for one
 * stretch of 2 MiB maps a page by each entry; of all others it is not known.
 */

import { PAGE_FLAGS, TABLE_REGIONS } from '../../cpu/state.ts';
import {
  type MachineMemory,
  PAGE_HAS_CODE_TABLE,
  PAGE_HAS_TABLE,
  pageFlagSlot,
} from '../../memory/machine-memory.ts';

/** In place of a page number: an entry that more than one page may depend on. */
export const MANY = -1;

export interface TableUses {
  /** A walk for this linear address begins; of code, in long mode. */
  begin(linear: number, isOfCode: boolean, isLong: boolean): void;
  /** Whether the walk is one of code. */
  readonly isOfCode: boolean;
  /** The walk reads its next entry at this host address; true if the page was not flagged before. */
  note(host: number): boolean;
  /** The linear page, by its 48-bit number, that depends on the entry in these bytes; or MANY. */
  pageOf(host: number, lengthBytes: number): number;
  /** Whether these bytes are of one entry of 8 bytes that is not present: no walk used it. */
  isEmptyEntry(host: number, lengthBytes: number): boolean;
  /** Pages that once held tables may hold data now: nothing is remembered any more. */
  forget(): void;
}

const ENTRY_BYTES = 8;
const ENTRIES = 512;
const LAST_LEVEL = 4;
const REGION_BYTES = 2 ** 21;
const REGIONS = 2 ** 27;

export const createTableUses = ({ bytes, words, ramBytes }: MachineMemory): TableUses => {
  /** For each page with a table: the stretch of 2 MiB that it maps, plus 1, or MANY; else 0. */
  const regionSlot = (frame: number): number => (TABLE_REGIONS >>> 2) + frame;
  let level = 0;
  let stretch = 0;
  let flag = PAGE_HAS_TABLE;
  let isLong = false;

  const isWithinEntry = (host: number, lengthBytes: number): boolean =>
    (host & (ENTRY_BYTES - 1)) + lengthBytes <= ENTRY_BYTES;
  return {
    begin(linear, isOfCode, long) {
      level = 0;
      const number = Math.floor(linear / REGION_BYTES);
      stretch = number < 0 ? number + REGIONS : number;
      flag = isOfCode ? PAGE_HAS_TABLE | PAGE_HAS_CODE_TABLE : PAGE_HAS_TABLE;
      isLong = long;
    },
    get isOfCode() {
      return (flag & PAGE_HAS_CODE_TABLE) !== 0;
    },
    note(host) {
      level += 1;
      const slot = pageFlagSlot(host);
      const own = isLong && level === LAST_LEVEL ? stretch + 1 : MANY;
      const region = regionSlot(slot - PAGE_FLAGS);
      const known = words[region] ?? 0;
      if (known === 0) words[region] = own;
      else if (known !== own) words[region] = MANY;
      const flags = bytes[slot] ?? 0;
      if ((flags & flag) === flag) return false;
      bytes[slot] = flags | flag;
      return true;
    },
    pageOf(host, lengthBytes) {
      const known = words[regionSlot(pageFlagSlot(host) - PAGE_FLAGS)] ?? 0;
      if (known <= 0 || !isWithinEntry(host, lengthBytes)) return MANY;
      return (known - 1) * ENTRIES + ((host & 0xfff) >>> 3);
    },
    isEmptyEntry: (host, lengthBytes) =>
      isLong &&
      isWithinEntry(host, lengthBytes) &&
      ((bytes[host - (host & (ENTRY_BYTES - 1))] ?? 0) & 1) === 0,
    forget() {
      words.fill(0, regionSlot(0), regionSlot(ramBytes / 4096));
      for (let at = PAGE_FLAGS; at < PAGE_FLAGS + ramBytes / 4096; at += 1) {
        bytes[at] = (bytes[at] ?? 0) & ~(PAGE_HAS_TABLE | PAGE_HAS_CODE_TABLE);
      }
    },
  };
};
