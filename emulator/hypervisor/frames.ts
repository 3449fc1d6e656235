/**
 * Who owns which machine frame, and at which gfn. Frame 0 is never given out. First fit from below,
 * so that the same requests always get the same frames.
 */
import type { Mfn } from '../memory/addresses.ts';

export const OWNER_FREE = 0xffff;
export const OWNER_HYPERVISOR = 0x7ff1;
/** DOMID_COW of Xen public/xen.h: frames that several gfns share. */
export const OWNER_SHARED = 0x7ff3;

/** Of a frame that is still held after its owner has released it: DOMID_INVALID. */
export const OWNER_RELEASED = 0x7ff4;

/** INVALID_M2P_ENTRY: no gfn has the frame, or several have. */
export const NO_GFN = 0xffff_ffff;

export const FRAMES_PER_LARGE_PAGE = 512;

export interface Frames {
  readonly owners: Uint16Array;
  /** The machine-to-physical map: gfn of a frame in its owner's P2M, or NO_GFN. P2Ms keep it. */
  readonly gfns: Uint32Array;
  readonly free: number;
  /** `count` frames in a row, aligned to `count`; undefined if there is no room. */
  allocate(owner: number, count?: number): Mfn | undefined;
  /** A frame that is held is freed when it is let go. */
  release(mfn: Mfn, count?: number): void;
  releaseAll(owner: number): void;
  /** Another owner takes a frame over. */
  give(mfn: Mfn, owner: number): void;
  /** A use of a frame by its machine address: it can be neither moved nor freed meanwhile. */
  hold(mfn: Mfn): void;
  letGo(mfn: Mfn): void;
  isHeld(mfn: Mfn): boolean;
  /** Uses by machine address, [frame, number of uses]. */
  held(): [number, number][];
  /** Takes owners and uses over; P2Ms fill `gfns` afterwards. */
  restore(owners: Uint16Array, held: readonly (readonly [number, number])[]): void;
}

export const createFrames = (ramBytes: number): Frames => {
  const owners = new Uint16Array(ramBytes / 4096).fill(OWNER_FREE);
  const gfns = new Uint32Array(owners.length).fill(NO_GFN);
  const uses = new Map<number, number>();
  owners[0] = OWNER_HYPERVISOR;
  let free = owners.length - 1;
  // No frame below is free; single frames are looked for from here.
  let lowest = 1;
  // Single frames of the hypervisor come from the top, so that large pages stay whole below.
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
    while (lowest < owners.length && owners[lowest] !== OWNER_FREE) lowest += 1;
    const start = Math.ceil(lowest / count) * count;
    for (let first = start; first + count <= owners.length; first += count) {
      if (isFree(first, count)) return first;
    }
    return undefined;
  };
  return {
    owners,
    gfns,
    get free() {
      return free;
    },
    allocate(owner, count = 1) {
      const first = free < count ? undefined : find(owner, count);
      if (first === undefined) return undefined;
      owners.fill(owner, first, first + count);
      free -= count;
      return first as Mfn;
    },
    release(mfn, count = 1) {
      for (let frame: number = mfn; frame < mfn + count; frame += 1) {
        if (owners[frame] === OWNER_FREE) throw new Error(`Frame ${frame} is free already.`);
        gfns[frame] = NO_GFN;
        if (uses.has(frame)) {
          owners[frame] = OWNER_RELEASED;
          continue;
        }
        owners[frame] = OWNER_FREE;
        free += 1;
      }
      lowest = Math.min(lowest, mfn);
      highest = Math.max(highest, mfn + count - 1);
    },
    releaseAll(owner) {
      for (let frame = 0; frame < owners.length; frame += 1) {
        if (owners[frame] === owner) this.release(frame as Mfn);
      }
    },
    give(mfn, owner) {
      owners[mfn] = owner;
    },
    hold(mfn) {
      uses.set(mfn, (uses.get(mfn) ?? 0) + 1);
    },
    letGo(mfn) {
      const left = (uses.get(mfn) ?? 1) - 1;
      if (left > 0) uses.set(mfn, left);
      else uses.delete(mfn);
      if (left === 0 && owners[mfn] === OWNER_RELEASED) this.release(mfn);
    },
    isHeld: (mfn) => uses.has(mfn),
    held: () => [...uses],
    restore(saved, held) {
      owners.set(saved);
      gfns.fill(NO_GFN);
      uses.clear();
      for (const [frame, count] of held) uses.set(frame, count);
      free = saved.reduce((sum, owner) => sum + (owner === OWNER_FREE ? 1 : 0), 0);
      lowest = 1;
      highest = owners.length - 1;
    },
  };
};
