/**
 * Who points to what: for each guest frame, the shadow entries that map it; for each shadow page, the
 * entries above it. Entries are numbered through all shadow pages, 512 each. Lists are doubly linked
 * in arrays, so that an entry is put in and taken out in constant time.
 */
export interface EntryUsers {
  /** What an entry points to; undefined: nothing. */
  keyOf(entry: number): number | undefined;
  /** The entry points to `key` from now on, undefined: to nothing. */
  set(entry: number, key: number | undefined): void;
  /** The entries that point to a key, in a list of its own. */
  of(key: number): readonly number[];
  has(key: number): boolean;
  /** Everything that an entry points to. */
  keys(): readonly number[];
  clear(): void;
}

const NONE = -1;

export const createEntryUsers = (entries: number): EntryUsers => {
  const keys = new Float64Array(entries).fill(Number.NaN);
  const next = new Int32Array(entries).fill(NONE);
  const previous = new Int32Array(entries).fill(NONE);
  const heads = new Map<number, number>();
  const at = (list: Int32Array, entry: number): number => list[entry] ?? NONE;

  const remove = (entry: number, key: number): void => {
    const before = at(previous, entry);
    const after = at(next, entry);
    if (after !== NONE) previous[after] = before;
    if (before !== NONE) next[before] = after;
    else if (after !== NONE) heads.set(key, after);
    else heads.delete(key);
  };
  const insert = (entry: number, key: number): void => {
    const after = heads.get(key) ?? NONE;
    next[entry] = after;
    previous[entry] = NONE;
    if (after !== NONE) previous[after] = entry;
    heads.set(key, entry);
  };
  const keyOf = (entry: number): number | undefined => {
    const key = keys[entry] ?? Number.NaN;
    return Number.isNaN(key) ? undefined : key;
  };
  return {
    keyOf,
    set(entry, key) {
      const old = keyOf(entry);
      if (old === key) return;
      if (old !== undefined) remove(entry, old);
      keys[entry] = key ?? Number.NaN;
      if (key !== undefined) insert(entry, key);
    },
    of(key) {
      const found: number[] = [];
      for (let entry = heads.get(key) ?? NONE; entry !== NONE; entry = at(next, entry)) {
        found.push(entry);
      }
      return found;
    },
    has: (key) => heads.has(key),
    keys: () => [...heads.keys()],
    clear() {
      keys.fill(Number.NaN);
      heads.clear();
    },
  };
};
