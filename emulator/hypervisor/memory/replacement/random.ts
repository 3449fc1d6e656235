/**
 * Any page, by a generator of its own (xorshift32): the measure for the others.
 */
import { firstFrom, type ReplacementPolicy } from './replacement.ts';

/** Draws before the next page in order is taken. */
const DRAWS = 16;

export const random: ReplacementPolicy = {
  name: 'random',
  title: 'any page, by a seeded generator',
  create(pages, seed) {
    let state = (0x9e37_79b9 ^ seed) | 0;
    const draw = (): number => {
      state ^= state << 13;
      state ^= state >>> 17;
      state ^= state << 5;
      return (state >>> 0) % pages.end;
    };
    return {
      choose() {
        for (let count = 0; count < DRAWS; count += 1) {
          const gfn = draw();
          if (pages.mayGo(gfn)) return firstFrom(pages, gfn);
        }
        return firstFrom(pages, draw());
      },
      save: () => state,
      restore(saved) {
        state = saved as number;
      },
    };
  },
};
