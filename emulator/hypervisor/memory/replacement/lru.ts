/**
 * Least recently used, by aging: at each sample the accessed bit of a page is shifted into its age
 * from above. Pages of the least age are next, unless they have been accessed since the sample.
 */

import { fromBase64, toBase64 } from '../../../base64.ts';
import type { Gfn } from '../../../memory/addresses.ts';
import { firstFrom, type ReplacementPolicy } from './replacement.ts';

const NEWEST = 0x80;
/** Pages in the queue that one sample makes: at least so many, and this share of all. */
const QUEUE = 64;
const QUEUE_SHARE = 16;
/** A sample is taken again after this time, 1 ms. */
const SAMPLE_NS = 1_000_000;

export const lru: ReplacementPolicy = {
  name: 'lru',
  title: 'the least recently used page, by accessed bits',
  create(pages) {
    let ages = new Uint8Array(pages.end);
    const most = Math.max(QUEUE, Math.ceil(pages.end / QUEUE_SHARE));
    let queue: number[] = [];
    let sampledNs = Number.NEGATIVE_INFINITY;

    const sample = (): void => {
      const byAge: number[][] = [];
      for (let gfn = 0; gfn < pages.end; gfn += 1) {
        if (!pages.mayGo(gfn)) continue;
        const age = ((ages[gfn] ?? 0) >>> 1) | (pages.takeAccessed(gfn) ? NEWEST : 0);
        ages[gfn] = age;
        const same = byAge[age] ?? [];
        byAge[age] = same;
        if (same.length < most) same.push(gfn);
      }
      pages.settle();
      queue = byAge.flat().slice(0, most);
      sampledNs = pages.nowNs;
    };
    const next = (): number | undefined => {
      for (;;) {
        const gfn = queue.shift();
        if (gfn === undefined || (pages.mayGo(gfn) && !pages.isAccessed(gfn))) return gfn;
      }
    };
    return {
      choose() {
        if (pages.nowNs - sampledNs >= SAMPLE_NS) sample();
        const known = next();
        if (known !== undefined) return known as Gfn;
        sample();
        return (next() as Gfn | undefined) ?? firstFrom(pages, 0);
      },
      save: () => ({
        ages: toBase64(ages),
        queue,
        sampledNs: sampledNs === Number.NEGATIVE_INFINITY ? null : sampledNs,
      }),
      restore(saved) {
        const state = saved as { ages: string; queue: number[]; sampledNs: number | null };
        ages = Uint8Array.from(fromBase64(state.ages));
        queue = [...state.queue];
        sampledNs = state.sampledNs ?? Number.NEGATIVE_INFINITY;
      },
    };
  },
};
