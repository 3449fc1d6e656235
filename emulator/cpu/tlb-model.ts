/**
 * A model of the second-level TLB, for counting: 1,536 translations of 4 KiB in 12 ways (Intel 64 and
 * IA-32 Architectures Optimization Reference Manual, "Skylake Client Microarchitecture", cache
 * hierarchy). It decides nothing: engines have their own ways to remember translations. Entries are
 * tagged with CR3 and the vCPU, as with VPIDs; within a set the least recently used goes.
 */
const WAYS = 12;
const SETS = 128;

export interface TlbModel {
  /** An access: counts a miss unless the page's translation is there. */
  access(linear: number, root: number): void;
  /** INVLPG, in all address spaces. */
  drop(linear: number): void;
  /** The vCPU whose accesses follow. */
  select(tag: number): void;
  /** Misses of a vCPU so far. */
  missesOf(tag: number): number;
}

export const createTlbModel = (): TlbModel => {
  /** By set, the most recently used first. */
  const pages = new Float64Array(SETS * WAYS).fill(Number.NaN);
  const spaces = new Float64Array(SETS * WAYS);
  const misses = new Map<number, number>();
  let current = 0;
  const place = (first: number, way: number, page: number, space: number): void => {
    pages.copyWithin(first + 1, first, first + way);
    spaces.copyWithin(first + 1, first, first + way);
    pages[first] = page;
    spaces[first] = space;
  };
  return {
    access(linear, root) {
      const page = Math.floor(linear / 4096);
      const space = root * 4096 + current;
      const first = (page % SETS) * WAYS;
      for (let way = 0; way < WAYS; way += 1) {
        if (pages[first + way] !== page || spaces[first + way] !== space) continue;
        if (way > 0) place(first, way, page, space);
        return;
      }
      misses.set(current, (misses.get(current) ?? 0) + 1);
      place(first, WAYS - 1, page, space);
    },
    drop(linear) {
      const page = Math.floor(linear / 4096);
      const first = (page % SETS) * WAYS;
      for (let way = 0; way < WAYS; way += 1) {
        if (pages[first + way] === page) pages[first + way] = Number.NaN;
      }
    },
    select(tag) {
      current = tag;
    },
    missesOf: (tag) => misses.get(tag) ?? 0,
  };
};
