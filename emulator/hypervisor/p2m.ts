/**
 * The P2M of a domain, kept as EPT in machine memory: 4 levels, leaves of 4 KiB, 2 MiB and 1 GiB.
 * The type of a gfn is in bits 55:52 of its leaf entry, which the processor ignores, and is there
 * when the entry is not present too: so a ballooned page differs from a hole. An entry that is not
 * present may be of any size, and has the swap slot of a paged gfn where a frame would be.
 *
 * A large leaf is split when one of its frames changes, and made again when all are RAM in a row
 * (Xen's p2m recalculation). Source: SDM Vol. 3C 28.3.2 "EPT Translation Mechanism", Tables 28-1
 * to 28-7.
 */
import type { Gfn, Maddr, Mfn } from '../memory/addresses.ts';
import { hostAddressOf, type MachineMemory } from '../memory/machine-memory.ts';
import { type Frames, NO_GFN, OWNER_HYPERVISOR } from './frames.ts';

/** The order is the number in the entry; 0 is what an empty table says. */
export const P2M_TYPES = [
  'hole',
  'ram',
  'ballooned',
  'mmio',
  'special',
  /** RAM whose frame other gfns have too: read-only, a write gets a frame of its own. */
  'shared',
  /** RAM whose contents are in a swap slot. */
  'paged',
  /** RAM that is read-only until the first write has been noted. */
  'logdirty',
  /** A frame of another domain, mapped by its grant. */
  'grant',
  /** RAM that reads as zeros and has no frame before it is touched (populate on demand). */
  'on-demand',
] as const;
export type P2mType = (typeof P2M_TYPES)[number];

export const EPT_READ = 1;
export const EPT_WRITE = 2;
export const EPT_EXECUTE = 4;
export const EPT_ALL = 7;
export const EPT_ACCESSED = 0x100;
export const EPT_DIRTY = 0x200;
const EPT_MEMORY_TYPE_WB = 6 << 3;
const EPT_LARGE = 1 << 7;
/** In the upper half of an entry. */
const TYPE_SHIFT = 20;
const WITHOUT_FLAGS = ~(EPT_ACCESSED | EPT_DIRTY);
const FRAME_HIGH = 0x000f_ffff;
const TWO_20 = 2 ** 20;
/** Accessed and dirty flags in bit 6, walk length 4 (minus 1) in 5:3, write-back in 2:0; SDM Vol. 3C 24.6.11. */
const EPTP_ATTRIBUTES = (1n << 6n) | (3n << 3n) | 6n;
/** Frames from here on are always holes: what frames know of their gfns has 32 bits. */
export const MAXIMUM_GFN = NO_GFN;

const NUMBERS = Object.fromEntries(P2M_TYPES.map((type, number) => [type, number])) as Readonly<
  Record<P2mType, number>
>;
/** Types whose frame is the domain's alone, or the hypervisor's: the frame knows its gfn. */
const IS_OWN: readonly boolean[] = P2M_TYPES.map((type) =>
  ['ram', 'logdirty', 'special'].includes(type),
);

export interface P2mEntry {
  readonly type: P2mType;
  readonly mfn: Mfn | undefined;
  /** Bits of EPT_READ, EPT_WRITE, EPT_EXECUTE. */
  readonly access: number;
  readonly pageBytes: number;
  readonly entry: bigint;
}

export interface P2mStep {
  readonly table: 'EPT PML4E' | 'EPT PDPTE' | 'EPT PDE' | 'EPT PTE';
  readonly maddr: Maddr;
  readonly entry: bigint;
}

const STEP_NAMES: readonly P2mStep['table'][] = ['EPT PTE', 'EPT PDE', 'EPT PDPTE', 'EPT PML4E'];

/**
 * Entries of one kind in a row, which are not holes: `pages` gfns from `gfn` on, of one type and
 * access, by leaves of `leafPages`. Frames follow in step from `mfn`, which is undefined without;
 * only those of type `shared` have all the same.
 */
export type RunVisitor = (
  gfn: number,
  pages: number,
  type: P2mType,
  mfn: number | undefined,
  access: number,
  leafPages: number,
) => void;

export interface P2m {
  readonly root: Mfn;
  /** The EPT pointer for the VMCS. */
  readonly eptPointer: bigint;
  /** Whether large leaves are made again; not while single accessed bits are wanted. */
  merges: boolean;
  /** Told of each change, after it: gfns in a row that have another frame, type or access. */
  observer?: ((gfn: number, pages: number) => void) | undefined;
  /** What RAM without a frame holds: swapped out, or not touched yet. Set by whoever knows. */
  absentPage: (gfn: Gfn) => Uint8Array | undefined;
  lookup(gfn: Gfn): P2mEntry;
  typeOf(gfn: Gfn): P2mType;
  mfnOf(gfn: Gfn): Mfn | undefined;
  /** The swap slot of a paged gfn. */
  slotOf(gfn: Gfn): number;
  /** The entries that a lookup reads, from the PML4 down, with their machine addresses. */
  path(gfn: Gfn): P2mStep[];
  /**
   * Maps one 4 KiB page, or marks it not present if mfn is undefined; large leaves are split. False
   * if there is no such gfn, or no frame for the table that this takes: nothing has changed then.
   */
  set(gfn: Gfn, type: P2mType, mfn: Mfn | undefined, access?: number): boolean;
  /** Marks a gfn as paged out to a swap slot. */
  setPaged(gfn: Gfn, slot: number): boolean;
  /** Maps 512 frames, or 512 * 512, by one leaf; both frames are multiples of their number. */
  setLarge(gfn: Gfn, mfn: Mfn, pages?: number): boolean;
  /** Gives gfns that have no frame another type; by large entries where they fit. */
  setAbsent(gfn: Gfn, pages: number, type: P2mType): boolean;
  /** Gives the leaf that maps a gfn another type and access, whole. */
  changeLeaf(gfn: Gfn, type: P2mType, access: number): void;
  /** Accessed and dirty bits of a gfn's leaf, which are then cleared as `clears` says. */
  takeFlags(gfn: Gfn, clears: number): number;
  /** Splits every large leaf; false if there are not enough frames. */
  splitAll(): boolean;
  /** Makes large leaves wherever that is possible. */
  mergeAll(): void;
  /** All that is not a hole from a gfn up to another, in order; it must not change meanwhile. */
  eachRun(visit: RunVisitor, first?: number, end?: number): void;
  /** The frames of its tables, the root first. */
  tables(): Mfn[];
  /** Tells the frames their gfns, when a saved machine has been restored. */
  noteFrames(): void;
  /** Makes all a hole, and gives the tables back but for the root. */
  clear(): void;
}

/** `root` is the PML4 of an existing P2M, when a saved machine is restored. */
export const createP2m = (memory: MachineMemory, frames: Frames, root?: Mfn): P2m => {
  const { words, quads, bytes } = memory;
  const table = (): Mfn | undefined => {
    const mfn = frames.allocate(OWNER_HYPERVISOR);
    if (mfn === undefined) return undefined;
    const at = hostAddressOf((mfn * 4096) as Maddr);
    bytes.fill(0, at, at + 4096);
    return mfn;
  };
  const first = root ?? table();
  if (first === undefined) throw new Error('The machine has no frame left for an EPT table.');
  const top: Mfn = first;
  let merges = true;
  let observer: ((gfn: number, pages: number) => void) | undefined;
  /** Level of the entry that `locate` found. */
  let foundLevel = 0;

  /** Index, in words, of the entry of `gfn` in a table of `level`. */
  const entryIn = (mfn: number, gfn: number, level: number): number => {
    const index = level === 3 ? Math.floor(gfn / 2 ** 27) : ((gfn % 2 ** 27) >>> (9 * level)) & 511;
    return (hostAddressOf((mfn * 4096) as Maddr) >>> 2) + index * 2;
  };
  const frameAt = (at: number): number =>
    ((words[at + 1] ?? 0) & FRAME_HIGH) * TWO_20 + ((words[at] ?? 0) >>> 12);
  const typeAt = (at: number): number => ((words[at + 1] ?? 0) >>> TYPE_SHIFT) & 15;
  const isTableAt = (at: number): boolean => {
    const low = words[at] ?? 0;
    return (low & EPT_ALL) !== 0 && (low & EPT_LARGE) === 0;
  };
  const write = (at: number, type: number, frame: number, bits: number): void => {
    words[at] = (frame << 12) | bits;
    words[at + 1] = (type << TYPE_SHIFT) | Math.floor(frame / TWO_20);
  };
  /** Index of the entry that decides about a gfn. */
  const locate = (gfn: number): number => {
    let mfn: number = top;
    for (let level = 3; ; level -= 1) {
      const at = entryIn(mfn, gfn, level);
      if (level === 0 || !isTableAt(at)) {
        foundLevel = level;
        return at;
      }
      mfn = frameAt(at);
    }
  };
  /** A table that says what one entry above it said; undefined if no frame is left for it. */
  const split = (at: number, level: number): Mfn | undefined => {
    const mfn = table();
    if (mfn === undefined) return undefined;
    const low = words[at] ?? 0;
    const isPresent = (low & EPT_ALL) !== 0;
    const frame = frameAt(at);
    const type = typeAt(at);
    const bits = level === 1 ? low & 0xfff & ~EPT_LARGE : low & 0xfff;
    const pages = isPresent ? 512 ** (level - 1) : 0;
    const child = hostAddressOf((mfn * 4096) as Maddr) >>> 2;
    if (low !== 0 || type !== 0) {
      for (let index = 0; index < 512; index += 1) {
        write(child + index * 2, type, frame + index * pages, bits);
      }
    }
    // An engine may remember what it has reached through the leaf, and so not set this bit again.
    write(at, 0, mfn, EPT_ALL | (isPresent ? low & EPT_ACCESSED : 0));
    return mfn;
  };
  /** Index of the entry of `gfn` at `level`, with the tables above made; -1 without frames for them. */
  const entryFor = (gfn: number, level: number): number => {
    let mfn: number = top;
    for (let above = 3; above > level; above -= 1) {
      const at = entryIn(mfn, gfn, above);
      const next = isTableAt(at) ? frameAt(at) : split(at, above);
      if (next === undefined) return -1;
      mfn = next;
    }
    return entryIn(mfn, gfn, level);
  };
  /** The frames of an entry know no gfn any more. */
  const forgetGfns = (at: number, gfn: number, pages: number): void => {
    if (((words[at] ?? 0) & EPT_ALL) === 0 || IS_OWN[typeAt(at)] !== true) return;
    const frame = frameAt(at);
    for (let index = 0; index < pages; index += 1) {
      if (frames.gfns[frame + index] === gfn + index) frames.gfns[frame + index] = NO_GFN;
    }
  };
  const noteGfns = (frame: number, gfn: number, pages: number): void => {
    for (let index = 0; index < pages; index += 1) frames.gfns[frame + index] = gfn + index;
  };
  /** Gives back a table and those below it. */
  const release = (mfn: number, level: number): void => {
    for (let index = 0; level > 0 && index < 512; index += 1) {
      const at = (hostAddressOf((mfn * 4096) as Maddr) >>> 2) + index * 2;
      if (isTableAt(at)) release(frameAt(at), level - 1);
    }
    frames.release(mfn as Mfn);
  };
  /** Makes one leaf at `level` of 512 below, if they are RAM in a row that starts at a multiple. */
  const merge = (gfn: number, level: number): boolean => {
    let mfn: number = top;
    for (let above = 3; above > level; above -= 1) mfn = frameAt(entryIn(mfn, gfn, above));
    const parent = entryIn(mfn, gfn, level);
    const child = frameAt(parent);
    const at = hostAddressOf((child * 4096) as Maddr) >>> 2;
    const step = 512 ** (level - 1);
    const frame = frameAt(at);
    if (frame % (step * 512) !== 0) return false;
    const wanted = EPT_ALL | EPT_MEMORY_TYPE_WB | (level > 1 ? EPT_LARGE : 0);
    let flags = 0;
    // From the end: a row that is being filled lacks its last entries.
    for (let index = 511; index >= 0; index -= 1) {
      const low = words[at + index * 2] ?? 0;
      if ((low & 0xfff & WITHOUT_FLAGS) !== wanted) return false;
      if (typeAt(at + index * 2) !== NUMBERS.ram) return false;
      if (frameAt(at + index * 2) !== frame + index * step) return false;
      flags |= low & (EPT_ACCESSED | EPT_DIRTY);
    }
    write(parent, NUMBERS.ram, frame, EPT_ALL | EPT_MEMORY_TYPE_WB | EPT_LARGE | flags);
    frames.release(child as Mfn);
    return true;
  };
  const set: P2m['set'] = (gfn, type, mfn, access = EPT_ALL) => {
    if (gfn >= MAXIMUM_GFN) return false;
    const at = entryFor(gfn, 0);
    if (at < 0) return false;
    forgetGfns(at, gfn, 1);
    if (mfn === undefined) {
      write(at, NUMBERS[type], 0, 0);
      observer?.(gfn, 1);
      return true;
    }
    write(at, NUMBERS[type], mfn, EPT_MEMORY_TYPE_WB | access);
    if (IS_OWN[NUMBERS[type]] === true) frames.gfns[mfn] = gfn;
    observer?.(gfn, 1);
    const mayMerge = merges && type === 'ram' && access === EPT_ALL && mfn % 512 === gfn % 512;
    if (mayMerge && merge(gfn, 1)) merge(gfn, 2);
    return true;
  };
  const lookup: P2m['lookup'] = (gfn) => {
    if (gfn >= MAXIMUM_GFN) {
      return { type: 'hole', mfn: undefined, access: 0, pageBytes: 4096, entry: 0n };
    }
    const at = locate(gfn);
    const access = (words[at] ?? 0) & EPT_ALL;
    const pages = 512 ** foundLevel;
    return {
      type: P2M_TYPES[typeAt(at)] ?? 'hole',
      access,
      pageBytes: 4096 * pages,
      entry: quads[at >>> 1] as bigint,
      mfn: access === 0 ? undefined : ((frameAt(at) + (gfn % pages)) as Mfn),
    };
  };
  return {
    root: top,
    eptPointer: (BigInt(top) << 12n) | EPTP_ATTRIBUTES,
    get merges() {
      return merges;
    },
    set merges(value) {
      merges = value;
    },
    get observer() {
      return observer;
    },
    set observer(value) {
      observer = value;
    },
    absentPage: () => undefined,
    lookup,
    typeOf: (gfn) => (gfn >= MAXIMUM_GFN ? 'hole' : (P2M_TYPES[typeAt(locate(gfn))] ?? 'hole')),
    mfnOf(gfn) {
      if (gfn >= MAXIMUM_GFN) return undefined;
      const at = locate(gfn);
      if (((words[at] ?? 0) & EPT_ALL) === 0) return undefined;
      return (frameAt(at) + (gfn % 512 ** foundLevel)) as Mfn;
    },
    slotOf: (gfn) => frameAt(locate(gfn)),
    path(gfn) {
      const steps: P2mStep[] = [];
      let mfn: number = top;
      for (const level of [3, 2, 1, 0]) {
        const at = entryIn(mfn, gfn, level);
        const maddr = (mfn * 4096 + ((at * 4) % 4096)) as Maddr;
        steps.push({
          table: STEP_NAMES[level] ?? 'EPT PTE',
          maddr,
          entry: quads[at >>> 1] as bigint,
        });
        if (!isTableAt(at)) break;
        mfn = frameAt(at);
      }
      return steps;
    },
    set,
    setPaged(gfn, slot) {
      const at = entryFor(gfn, 0);
      if (at < 0) return false;
      forgetGfns(at, gfn, 1);
      write(at, NUMBERS.paged, slot, 0);
      observer?.(gfn, 1);
      return true;
    },
    setLarge(gfn, mfn, pages = 512) {
      if (gfn % pages !== 0 || mfn % pages !== 0) {
        throw new Error(`A large page needs aligned frames: gfn ${gfn}, mfn ${mfn}.`);
      }
      const level = pages === 512 ? 1 : 2;
      const at = entryFor(gfn, level);
      if (at < 0) return false;
      if (isTableAt(at)) throw new Error(`gfn ${gfn} has single pages already.`);
      forgetGfns(at, gfn, pages);
      write(at, NUMBERS.ram, mfn, EPT_ALL | EPT_MEMORY_TYPE_WB | EPT_LARGE);
      noteGfns(mfn, gfn, pages);
      observer?.(gfn, pages);
      return true;
    },
    setAbsent(start, pages, type) {
      for (let gfn: number = start; gfn < start + pages; ) {
        const fits = (size: number): boolean => gfn % size === 0 && gfn + size <= start + pages;
        const level = [2, 1, 0].find((one) => fits(512 ** one) && isLeafAt(gfn, one)) ?? 0;
        const at = entryFor(gfn, level);
        if (at < 0) return false;
        write(at, NUMBERS[type], 0, 0);
        gfn += 512 ** level;
      }
      observer?.(start, pages);
      return true;
    },
    changeLeaf(gfn, type, access) {
      const at = locate(gfn);
      const pages = 512 ** foundLevel;
      write(at, NUMBERS[type], frameAt(at), ((words[at] ?? 0) & 0xfff & ~EPT_ALL) | access);
      observer?.(gfn - (gfn % pages), pages);
    },
    takeFlags(gfn, clears) {
      const at = locate(gfn);
      const low = words[at] ?? 0;
      words[at] = low & ~(clears & (EPT_ACCESSED | EPT_DIRTY));
      return low & (EPT_ACCESSED | EPT_DIRTY);
    },
    splitAll() {
      const large: number[] = [];
      eachRun((gfn, pages, _type, mfn, _access, leafPages) => {
        if (mfn === undefined || leafPages === 1) return;
        for (let one = gfn; one < gfn + pages; one += 512) large.push(one);
      });
      return large.every((gfn) => entryFor(gfn, 0) >= 0);
    },
    mergeAll() {
      const whole: number[] = [];
      eachRun((gfn, pages, type, _mfn, access, leafPages) => {
        if (type !== 'ram' || access !== EPT_ALL || leafPages !== 1) return;
        for (let one = Math.ceil(gfn / 512) * 512; one + 512 <= gfn + pages; one += 512) {
          whole.push(one);
        }
      });
      for (const gfn of whole) if (merges && merge(gfn, 1)) merge(gfn, 2);
    },
    eachRun,
    tables() {
      const found: Mfn[] = [];
      const visit = (mfn: number, level: number): void => {
        found.push(mfn as Mfn);
        for (let index = 0; level > 0 && index < 512; index += 1) {
          const at = (hostAddressOf((mfn * 4096) as Maddr) >>> 2) + index * 2;
          if (isTableAt(at)) visit(frameAt(at), level - 1);
        }
      };
      visit(top, 3);
      return found;
    },
    noteFrames() {
      eachRun((gfn, pages, type, mfn) => {
        if (mfn !== undefined && IS_OWN[NUMBERS[type]] === true) noteGfns(mfn, gfn, pages);
      });
    },
    clear() {
      eachRun((gfn, pages) => forgetGfns(locate(gfn), gfn, pages));
      for (let index = 0; index < 512; index += 1) {
        const at = (hostAddressOf((top * 4096) as Maddr) >>> 2) + index * 2;
        if (isTableAt(at)) release(frameAt(at), 2);
        write(at, 0, 0, 0);
      }
      observer?.(0, MAXIMUM_GFN);
    },
  };

  /** Whether no table is below the entry of `gfn` at `level`. */
  function isLeafAt(gfn: number, level: number): boolean {
    locate(gfn);
    return foundLevel >= level;
  }

  function eachRun(visit: RunVisitor, from = 0, end = MAXIMUM_GFN): void {
    let start = 0;
    let next = -1;
    let leafPages = 0;
    /** The first entry of the run, and what one that goes on with it has in its lower half. */
    let low = 0;
    let high = 0;
    let goesOn = 0;
    const finish = (): void => {
      if (next < 0) return;
      const gfn = Math.max(start, from);
      const type = P2M_TYPES[(high >>> TYPE_SHIFT) & 15] ?? 'hole';
      const skipped = type === 'shared' ? 0 : gfn - start;
      const mfn =
        (low & EPT_ALL) === 0 ? undefined : (high & FRAME_HIGH) * TWO_20 + (low >>> 12) + skipped;
      visit(gfn, Math.min(next, end) - gfn, type, mfn, low & EPT_ALL, leafPages);
    };
    const inTable = (mfn: number, level: number, base: number): void => {
      const pages = 512 ** level;
      const first = hostAddressOf((mfn * 4096) as Maddr) >>> 2;
      const endIndex = Math.min(512, Math.ceil((end - base) / pages));
      for (let index = Math.max(0, Math.floor((from - base) / pages)); index < endIndex; ) {
        const at = first + index * 2;
        const entryLow = (words[at] ?? 0) & WITHOUT_FLAGS;
        const entryHigh = words[at + 1] ?? 0;
        const gfn = base + index * pages;
        index += 1;
        if (entryLow === 0 && entryHigh === 0) continue;
        const isAbsent = (entryLow & EPT_ALL) === 0;
        if (level > 0 && !isAbsent && (entryLow & EPT_LARGE) === 0) {
          inTable(frameAt(at), level - 1, gfn);
          continue;
        }
        const type = entryHigh >>> TYPE_SHIFT;
        // Neighbors that share share one frame.
        const stepBytes = type === NUMBERS.shared ? 0 : pages * 4096;
        let wanted = (entryLow + stepBytes) | 0;
        // Entries that go on in this table are counted here, where nothing is kept of them.
        for (; index < endIndex; index += 1) {
          const nextLow = (words[first + index * 2] ?? 0) & WITHOUT_FLAGS;
          const nextHigh = words[first + index * 2 + 1] ?? 0;
          const isNext = isAbsent
            ? (nextLow & EPT_ALL) === 0 && nextHigh >>> TYPE_SHIFT === type
            : nextLow === wanted && nextHigh === entryHigh;
          if (!isNext) break;
          wanted = (wanted + stepBytes) | 0;
        }
        const joins =
          gfn === next &&
          (isAbsent
            ? (low & EPT_ALL) === 0 && type === high >>> TYPE_SHIFT
            : entryLow === goesOn && entryHigh === high && pages === leafPages);
        if (!joins) {
          finish();
          start = gfn;
          low = entryLow;
          high = entryHigh;
        }
        leafPages = pages;
        next = base + index * pages;
        goesOn = wanted;
      }
    };
    inTable(top, 3, 0);
    finish();
  }
};

export const permissionsOf = (access: number): string =>
  `${access & EPT_READ ? 'r' : '-'}${access & EPT_WRITE ? 'w' : '-'}${access & EPT_EXECUTE ? 'x' : '-'}`;
