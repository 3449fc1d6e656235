/**
 * The P2M of a PV domain. The guest keeps its own; the hypervisor knows only what the M2P says of
 * the domain's frames, and this is the M2P read backwards. Of two frames that the guest gives one
 * number, the lower one is found. What the hypervisor does with the gfns of other domains, it
 * cannot do here: nothing stands between a PV guest and its frames.
 */
import type { Mfn } from '../../../memory/addresses.ts';
import { FRAMES_PER_LARGE_PAGE, type Frames } from '../../frames.ts';
import { EPT_ALL, type P2m, type P2mEntry } from '../../p2m.ts';
import type { M2p } from './m2p.ts';
import { type PageTypes, SHARED } from './page-types.ts';

export const createDirectP2m = (
  domain: number,
  frames: Frames,
  m2p: M2p,
  pages: PageTypes,
): P2m => {
  let known = new Map<number, Mfn>();
  let seen = { m2p: -1, frames: -1 };
  const reverse = (): ReadonlyMap<number, Mfn> => {
    if (seen.m2p === m2p.changes && seen.frames === frames.changes) return known;
    known = new Map();
    seen = { m2p: m2p.changes, frames: frames.changes };
    for (let mfn = 0; mfn < frames.owners.length; mfn += 1) {
      if (frames.owners[mfn] !== domain) continue;
      const gfn = m2p.gfn(mfn);
      if (gfn !== undefined && !known.has(gfn)) known.set(gfn, mfn as Mfn);
    }
    return known;
  };
  const typeOf = (mfn: Mfn): 'ram' | 'special' =>
    ((pages.flags[mfn] ?? 0) & SHARED) === 0 ? 'ram' : 'special';
  const set = (gfn: number, mfn: Mfn | undefined): void => {
    if (mfn !== undefined) {
      m2p.set(mfn, gfn);
      return;
    }
    const old = reverse().get(gfn);
    if (old !== undefined) m2p.clear(old);
  };
  const refuse = (what: string): never => {
    throw new Error(`The hypervisor does not ${what} the memory of a PV domain.`);
  };
  return {
    root: 0 as Mfn,
    eptPointer: 0n,
    merges: false,
    absentPage: () => undefined,
    mfnOf: (gfn) => reverse().get(gfn),
    lookup(gfn): P2mEntry {
      const mfn = reverse().get(gfn);
      if (mfn === undefined) return { type: 'hole', mfn, access: 0, pageBytes: 4096, entry: 0n };
      return { type: typeOf(mfn), mfn, access: EPT_ALL, pageBytes: 4096, entry: m2p.entry(mfn) };
    },
    typeOf(gfn) {
      const mfn = reverse().get(gfn);
      return mfn === undefined ? 'hole' : typeOf(mfn);
    },
    slotOf: () => refuse('swap'),
    path: () => [],
    set(gfn, _type, mfn) {
      set(gfn, mfn);
      return true;
    },
    setPaged: () => refuse('swap'),
    setLarge(gfn, mfn, count = FRAMES_PER_LARGE_PAGE) {
      for (let page = 0; page < count; page += 1) set(gfn + page, (mfn + page) as Mfn);
      return true;
    },
    setAbsent(gfn, count) {
      for (let page = 0; page < count; page += 1) set(gfn + page, undefined);
      return true;
    },
    changeLeaf: () => refuse('map'),
    takeFlags: () => refuse('map'),
    splitAll: () => true,
    mergeAll: () => undefined,
    eachRun(visit, first = 0, end = Number.POSITIVE_INFINITY) {
      const all = [...reverse()].filter(([gfn]) => gfn >= first && gfn < end);
      all.sort(([a], [b]) => a - b);
      for (let at = 0; at < all.length; ) {
        const [gfn, mfn] = all[at] as readonly [number, Mfn];
        const type = typeOf(mfn);
        const follows = ([nextGfn, nextMfn]: readonly [number, Mfn], step: number): boolean =>
          nextGfn === gfn + step && nextMfn === mfn + step && typeOf(nextMfn) === type;
        let count = 1;
        for (let next = all[at + 1]; next !== undefined && follows(next, count); ) {
          count += 1;
          next = all[at + count];
        }
        visit(gfn, count, type, mfn, EPT_ALL, 1);
        at += count;
      }
    },
    tables: () => [],
    // The M2P is in machine memory, which is restored as it was.
    noteFrames() {
      for (let mfn = 0; mfn < frames.owners.length; mfn += 1) {
        if (frames.owners[mfn] === domain) m2p.note(mfn);
      }
    },
    clear() {
      for (const mfn of reverse().values()) m2p.clear(mfn);
    },
  };
};
