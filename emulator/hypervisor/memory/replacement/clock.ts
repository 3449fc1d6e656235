/**
 * The working-set clock: a hand goes round the pages. A page that was accessed since it last came by
 * is of the working set, and so is one that was within the last WORKING_SET_NS; the first other one
 * goes. If there is none among the next LOOKED_AT, the one of them that has not been accessed for
 * longest does.
 * Source: Carr and Hennessy, "WSClock", SOSP 1981.
 */
import type { Gfn } from '../../../memory/addresses.ts';
import type { ReplacementPolicy } from './replacement.ts';

const WORKING_SET_NS = 1_000_000;
const LOOKED_AT = 128;

export const clock: ReplacementPolicy = {
  name: 'clock',
  title: 'the first page outside the working set, by a clock hand',
  create(pages) {
    let hand = 0;
    /** When a page was last seen to have been accessed. */
    const seenNs = new Map<number, number>();
    return {
      choose() {
        let oldest: number | undefined;
        let oldestNs = Number.POSITIVE_INFINITY;
        let chosen: number | undefined;
        let left = LOOKED_AT;
        for (let step = 0; step < pages.end && left > 0 && chosen === undefined; step += 1) {
          const gfn = hand;
          hand = (hand + 1) % pages.end;
          if (!pages.mayGo(gfn)) continue;
          left -= 1;
          if (pages.takeAccessed(gfn)) seenNs.set(gfn, pages.nowNs);
          const ns = seenNs.get(gfn) ?? Number.NEGATIVE_INFINITY;
          if (pages.nowNs - ns > WORKING_SET_NS) chosen = gfn;
          if (ns < oldestNs || oldest === undefined) {
            oldest = gfn;
            oldestNs = ns;
          }
        }
        pages.settle();
        chosen ??= oldest;
        if (chosen !== undefined) seenNs.delete(chosen);
        return chosen as Gfn | undefined;
      },
      save: () => ({ hand, seen: [...seenNs] }),
      restore(saved) {
        const state = saved as { hand: number; seen: [number, number][] };
        hand = state.hand;
        seenNs.clear();
        for (const [gfn, ns] of state.seen) seenNs.set(gfn, ns);
      },
    };
  },
};
