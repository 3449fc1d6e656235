/**
 * Who owns which machine frame, at which gfn, and how often it is in use beside. Frame 0 is never
 * given out. First fit from below, so that the same requests always get the same frames.
 */
import type { Mfn } from '../memory/addresses.ts';

export const OWNER_FREE = 0xffff;
export const OWNER_HYPERVISOR = 0x7ff1;
/** DOMID_COW of Xen public/xen.h: frames that several gfns share. */
export const OWNER_SHARED = 0x7ff3;

/** INVALID_M2P_ENTRY: no gfn has the frame, or several have. */
export const NO_GFN = 0xffff_ffff;

export const FRAMES_PER_LARGE_PAGE = 512;

export interface Frames {
  readonly owners: Uint16Array;
  /** The machine-to-physical map: gfn of a frame in its owner's P2M, or NO_GFN. P2Ms keep it. */
  readonly gfns: Uint32Array;
  /** Uses by machine address: entries of PV page tables, grants. Xen counts the owner's own, too. */
  readonly references: Uint32Array;
  readonly free: number;
  /** Goes up whenever a frame gets another owner. */
  readonly changes: number;
  /** `count` frames in a row, aligned to `count`; undefined if there is no room. */
  allocate(owner: number, count?: number): Mfn | undefined;
  /** A frame that is held is freed when it is let go, and its owner's until then. */
  release(mfn: Mfn, count?: number): void;
  /** All that have not been released yet. */
  releaseAll(owner: number): void;
  /** Whether a frame has been released, but is still held. */
  isLeaving(mfn: number): boolean;
  /** Another owner takes a frame over. */
  give(mfn: Mfn, owner: number): void;
  /** A use of a frame by its machine address: it can be neither moved nor freed meanwhile. */
  hold(mfn: number): void;
  letGo(mfn: number): void;
  isHeld(mfn: number): boolean;
  /** Uses by machine address: [frame, number of uses, 1 if it is leaving]. */
  held(): HeldFrame[];
  /** Told of every frame that becomes free, with its owner until then. */
  onFree(listener: (mfn: Mfn, owner: number) => void): void;
  /** Takes owners and uses over; P2Ms fill `gfns` afterwards. */
  restore(owners: Uint16Array, held: readonly HeldFrame[]): void;
}

export type HeldFrame = readonly [frame: number, uses: number, isLeaving: number];

export const createFrames = (ramBytes: number): Frames => {
  const owners = new Uint16Array(ramBytes / 4096).fill(OWNER_FREE);
  const gfns = new Uint32Array(owners.length).fill(NO_GFN);
  const references = new Uint32Array(owners.length);
  const leaving = new Set<number>();
  const listeners: ((mfn: Mfn, owner: number) => void)[] = [];
  let changes = 0;
  owners[0] = OWNER_HYPERVISOR;
  let free = owners.length - 1;
  // No frame below is free; single frames are looked for from here.
  let lowest = 1;
  // Frames of the hypervisor come from the top, so that large pages stay whole below.
  let highest = owners.length - 1;

  const isFree = (first: number, count: number): boolean => {
    for (let frame = first; frame < first + count; frame += 1) {
      if (owners[frame] !== OWNER_FREE) return false;
    }
    return true;
  };
  const find = (owner: number, count: number): number | undefined => {
    if (owner === OWNER_HYPERVISOR && count === 1) {
      while (highest > 0 && owners[highest] !== OWNER_FREE) highest -= 1;
      return highest > 0 ? highest : undefined;
    }
    if (owner === OWNER_HYPERVISOR) {
      let first = Math.floor((highest + 1) / count) * count - count;
      while (first > 0 && !isFree(first, count)) first -= count;
      return first > 0 ? first : undefined;
    }
    while (lowest < owners.length && owners[lowest] !== OWNER_FREE) lowest += 1;
    const start = Math.ceil(lowest / count) * count;
    for (let first = start; first + count <= owners.length; first += count) {
      if (isFree(first, count)) return first;
    }
    return undefined;
  };
  const setFree = (frame: number): void => {
    const owner = owners[frame] ?? OWNER_FREE;
    owners[frame] = OWNER_FREE;
    free += 1;
    changes += 1;
    lowest = Math.min(lowest, frame);
    highest = Math.max(highest, frame);
    for (const listener of listeners) listener(frame as Mfn, owner);
  };
  const release = (frame: number): void => {
    if (owners[frame] === OWNER_FREE) throw new Error(`Frame ${frame} is free already.`);
    gfns[frame] = NO_GFN;
    if (references[frame] === 0) {
      setFree(frame);
      return;
    }
    if (leaving.has(frame)) throw new Error(`Frame ${frame} has been released already.`);
    leaving.add(frame);
  };
  return {
    owners,
    gfns,
    references,
    get free() {
      return free;
    },
    get changes() {
      return changes;
    },
    allocate(owner, count = 1) {
      const first = free < count ? undefined : find(owner, count);
      if (first === undefined) return undefined;
      if (count === 1) owners[first] = owner;
      else owners.fill(owner, first, first + count);
      free -= count;
      changes += 1;
      return first as Mfn;
    },
    release(mfn, count = 1) {
      for (let frame: number = mfn; frame < mfn + count; frame += 1) release(frame);
    },
    releaseAll(owner) {
      for (let frame = 0; frame < owners.length; frame += 1) {
        if (owners[frame] === owner && !leaving.has(frame)) release(frame);
      }
    },
    isLeaving: (mfn) => leaving.has(mfn),
    give(mfn, owner) {
      owners[mfn] = owner;
      changes += 1;
    },
    hold(mfn) {
      references[mfn] = (references[mfn] ?? 0) + 1;
    },
    letGo(mfn) {
      const left = (references[mfn] ?? 0) - 1;
      if (left < 0) throw new Error(`Frame ${mfn} is not held.`);
      references[mfn] = left;
      if (left === 0 && leaving.delete(mfn)) setFree(mfn);
    },
    isHeld: (mfn) => references[mfn] !== 0,
    held() {
      const found: HeldFrame[] = [];
      references.forEach((uses, frame) => {
        if (uses > 0) found.push([frame, uses, leaving.has(frame) ? 1 : 0]);
      });
      return found;
    },
    onFree(listener) {
      listeners.push(listener);
    },
    restore(saved, held) {
      owners.set(saved);
      gfns.fill(NO_GFN);
      references.fill(0);
      leaving.clear();
      for (const [frame, uses, isLeaving] of held) {
        references[frame] = uses;
        if (isLeaving === 1) leaving.add(frame);
      }
      changes += 1;
      free = saved.reduce((sum, owner) => sum + (owner === OWNER_FREE ? 1 : 0), 0);
      lowest = 1;
      highest = owners.length - 1;
    },
  };
};
