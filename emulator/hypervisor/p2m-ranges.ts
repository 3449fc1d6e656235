/**
 * A P2M as people read it: gfns of one kind, whose frames follow in step, are one range.
 */
import type { P2mRange } from '../machine.ts';
import type { Gfn } from '../memory/addresses.ts';
import { MAXIMUM_GFN, type P2m, permissionsOf } from './p2m.ts';

/**
 * All that is not a hole from `first` to `end`, merged, in order; the rest is hole. `labels` names
 * special gfns.
 */
export const p2mRanges = (
  p2m: P2m,
  labels: ReadonlyMap<number, string>,
  first = 0,
  end = MAXIMUM_GFN,
): P2mRange[] => {
  const found: P2mRange[] = [];
  p2m.eachRun(
    (gfn, pages, type, mfn, access, leafPages) => {
      // Special gfns have names of their own.
      const size = type === 'special' ? 1 : pages;
      for (let done = 0; done < pages; done += size) {
        found.push({
          first: (gfn + done) as Gfn,
          count: size,
          type,
          mfn: mfn === undefined ? undefined : mfn + done,
          permissions: permissionsOf(access),
          pageBytes: mfn === undefined ? undefined : leafPages * 4096,
          label: type === 'special' ? labels.get(gfn + done) : undefined,
        });
      }
    },
    first,
    end,
  );
  return found;
};
