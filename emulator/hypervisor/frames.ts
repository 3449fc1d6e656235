/**
 * Who owns which machine frame. Frame 0 is never given out. First fit from below, so that the
 * same requests always get the same frames.
 */
import type { Mfn } from '../memory/addresses.ts';

export const OWNER_FREE = 0xffff;
export const OWNER_HYPERVISOR = 0x7ff1;

export const FRAMES_PER_LARGE_PAGE = 512;

export interface Frames {
  readonly owners: Uint16Array;
  readonly free: number;
  /** `count` frames in a row, aligned to `count`; undefined if there is no room. */
  allocate(owner: number, count?: number): Mfn | undefined;
  release(mfn: Mfn, count?: number): void;
  releaseAll(owner: number): void;
  restore(owners: Uint16Array): void;
}

export const createFrames = (ramBytes: number): Frames => {
  const owners = new Uint16Array(ramBytes / 4096).fill(OWNER_FREE);
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
    get free() {
      return free;
    },
    allocate(owner, count = 1) {
      const first = find(owner, count);
      if (first === undefined) return undefined;
      owners.fill(owner, first, first + count);
      free -= count;
      return first as Mfn;
    },
    release(mfn, count = 1) {
      for (let frame: number = mfn; frame < mfn + count; frame += 1) {
        if (owners[frame] === OWNER_FREE) throw new Error(`Frame ${frame} is free already.`);
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
    restore(saved) {
      owners.set(saved);
      free = saved.reduce((sum, owner) => sum + (owner === OWNER_FREE ? 1 : 0), 0);
      lowest = 1;
      highest = owners.length - 1;
    },
  };
};
