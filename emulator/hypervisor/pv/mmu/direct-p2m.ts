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

/** The M2P read backwards, as often as it has changed. */
interface Reverse {
  get(gfn: number): Mfn | undefined;
  /** In order of the numbers. */
  each(visit: (gfn: number, mfn: Mfn) => void): void;
}

const createReverse = (domain: number, frames: Frames, m2p: M2p): Reverse => {
  const { owners } = frames;
  /** By gfn, as far as there are frames; numbers beyond, which a guest may give too, are few. */
  const near = new Uint32Array(owners.length);
  let far = new Map<number, Mfn>();
  let seenM2p = -1;
  let seenFrames = -1;
  const refresh = (): void => {
    if (seenM2p === m2p.changes && seenFrames === frames.changes) return;
    seenM2p = m2p.changes;
    seenFrames = frames.changes;
    near.fill(0);
    far = new Map();
    // Frame 0 is nobody's, so that 0 is none. From above, so that the lower of two is found.
    for (let mfn = owners.length - 1; mfn > 0; mfn -= 1) {
      if (owners[mfn] !== domain) continue;
      const gfn = m2p.gfn(mfn);
      if (gfn === undefined) continue;
      if (gfn < near.length) near[gfn] = mfn;
      else far.set(gfn, mfn as Mfn);
    }
  };
  return {
    get(gfn) {
      refresh();
      const mfn = gfn < near.length ? near[gfn] : far.get(gfn);
      return mfn === undefined || mfn === 0 ? undefined : (mfn as Mfn);
    },
    each(visit) {
      refresh();
      for (let gfn = 0; gfn < near.length; gfn += 1) {
        const mfn = near[gfn] ?? 0;
        if (mfn !== 0) visit(gfn, mfn as Mfn);
      }
      for (const [gfn, mfn] of [...far].sort(([a], [b]) => a - b)) visit(gfn, mfn);
    },
  };
};

export const createDirectP2m = (
  domain: number,
  frames: Frames,
  m2p: M2p,
  pages: PageTypes,
): P2m => {
  const reverse = createReverse(domain, frames, m2p);
  const typeOf = (mfn: Mfn): 'ram' | 'special' =>
    ((pages.flags[mfn] ?? 0) & SHARED) === 0 ? 'ram' : 'special';
  const set = (gfn: number, mfn: Mfn | undefined): void => {
    if (mfn !== undefined) {
      m2p.set(mfn, gfn);
      return;
    }
    const old = reverse.get(gfn);
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
    mfnOf: (gfn) => reverse.get(gfn),
    lookup(gfn): P2mEntry {
      const mfn = reverse.get(gfn);
      if (mfn === undefined) return { type: 'hole', mfn, access: 0, pageBytes: 4096, entry: 0n };
      return { type: typeOf(mfn), mfn, access: EPT_ALL, pageBytes: 4096, entry: m2p.entry(mfn) };
    },
    typeOf(gfn) {
      const mfn = reverse.get(gfn);
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
      let run: { gfn: number; mfn: Mfn; count: number } | undefined;
      const finish = (): void => {
        if (run !== undefined) visit(run.gfn, run.count, typeOf(run.mfn), run.mfn, EPT_ALL, 1);
      };
      reverse.each((gfn, mfn) => {
        if (gfn < first || gfn >= end) return;
        const follows =
          run !== undefined &&
          gfn === run.gfn + run.count &&
          mfn === run.mfn + run.count &&
          typeOf(mfn) === typeOf(run.mfn);
        if (follows && run !== undefined) {
          run.count += 1;
          return;
        }
        finish();
        run = { gfn, mfn, count: 1 };
      });
      finish();
    },
    tables: () => [],
    // The M2P is in machine memory, which is restored as it was.
    noteFrames() {
      for (let mfn = 0; mfn < frames.owners.length; mfn += 1) {
        if (frames.owners[mfn] === domain) m2p.note(mfn);
      }
    },
    clear() {
      const all: Mfn[] = [];
      reverse.each((_, mfn) => all.push(mfn));
      for (const mfn of all) m2p.clear(mfn);
    },
  };
};
