/**
 * The P2M of a domain, kept as EPT in machine memory: 4 levels, leaves of 4 KiB and 2 MiB.
 * The type of a gfn is in bits 55:52 of its leaf entry, which the processor ignores, and is there
 * when the entry is not present too: so a ballooned page differs from a hole.
 * Source: SDM Vol. 3C 28.3.2 "EPT Translation Mechanism", Tables 28-1 to 28-7.
 */
import type { P2mRange } from '../machine.ts';
import type { Gfn, Maddr, Mfn } from '../memory/addresses.ts';
import { hostAddressOf, type MachineMemory } from '../memory/machine-memory.ts';
import { FRAMES_PER_LARGE_PAGE, type Frames, OWNER_HYPERVISOR } from './frames.ts';

/** The order is the number in the entry; 0 is what an empty table says. */
export const P2M_TYPES = ['hole', 'ram', 'ballooned', 'mmio', 'special'] as const;
export type P2mType = (typeof P2M_TYPES)[number];

export const EPT_READ = 1n;
export const EPT_WRITE = 2n;
export const EPT_EXECUTE = 4n;
export const EPT_ALL = 7n;
const EPT_MEMORY_TYPE_WB = 6n << 3n;
const EPT_LARGE = 1n << 7n;
const ADDRESS_MASK = 0x000f_ffff_ffff_f000n;
const TYPE_SHIFT = 52n;
/** Walk length 4 (minus 1) in bits 5:3, write-back in 2:0; SDM Vol. 3C 24.6.11. */
const EPTP_ATTRIBUTES = (3n << 3n) | 6n;
/** Frames above the 4-level range. */
export const MAXIMUM_GFN = 2 ** 36;

export interface P2mEntry {
  readonly type: P2mType;
  readonly mfn: Mfn | undefined;
  /** Bits of EPT_READ, EPT_WRITE, EPT_EXECUTE. */
  readonly access: bigint;
  readonly pageBytes: number;
  readonly entry: bigint;
}

export interface P2mStep {
  readonly table: 'EPT PML4E' | 'EPT PDPTE' | 'EPT PDE' | 'EPT PTE';
  readonly maddr: Maddr;
  readonly entry: bigint;
}

const STEP_NAMES: readonly P2mStep['table'][] = ['EPT PTE', 'EPT PDE', 'EPT PDPTE', 'EPT PML4E'];

export interface P2m {
  readonly root: Mfn;
  /** The EPT pointer for the VMCS. */
  readonly eptPointer: bigint;
  lookup(gfn: Gfn): P2mEntry;
  /** The entries that a lookup reads, from the PML4 down, with their machine addresses. */
  path(gfn: Gfn): P2mStep[];
  /** Maps one 4 KiB page, or marks it not present if mfn is undefined; large leaves are split. */
  set(gfn: Gfn, type: P2mType, mfn: Mfn | undefined, access?: bigint): void;
  /** Maps 512 frames by one leaf; both frames are multiples of 512. */
  setLarge(gfn: Gfn, mfn: Mfn): void;
  /** All that is not a hole, merged, in order; then nothing: the rest is hole. */
  ranges(labels: ReadonlyMap<number, string>): P2mRange[];
}

/** `root` is the PML4 of an existing P2M, when a saved machine is restored. */
export const createP2m = (memory: MachineMemory, frames: Frames, root?: Mfn): P2m => {
  const table = (): Mfn => {
    const mfn = frames.allocate(OWNER_HYPERVISOR);
    if (mfn === undefined) throw new Error('The machine has no frame left for an EPT table.');
    const at = hostAddressOf((mfn * 4096) as Maddr);
    memory.bytes.fill(0, at, at + 4096);
    return mfn;
  };
  const top = root ?? table();
  const slot = (mfn: Mfn | number, index: number): number =>
    (hostAddressOf((mfn * 4096) as Maddr) >>> 3) + index;
  const frameOf = (entry: bigint): Mfn => Number((entry & ADDRESS_MASK) >> 12n) as Mfn;
  const indexAt = (gfn: number, level: number): number => Math.floor(gfn / 512 ** level) % 512;
  const leaf = (mfn: Mfn, type: P2mType, access: bigint, large: boolean): bigint =>
    (BigInt(mfn) << 12n) |
    (BigInt(P2M_TYPES.indexOf(type)) << TYPE_SHIFT) |
    EPT_MEMORY_TYPE_WB |
    (large ? EPT_LARGE : 0n) |
    access;

  /** Slot of the entry of `gfn` at `level`, with the tables above made. */
  const slotAt = (gfn: number, level: number): number => {
    let mfn: Mfn = top;
    for (let above = 3; above > level; above -= 1) {
      const at = slot(mfn, indexAt(gfn, above));
      const entry = memory.quads[at] ?? 0n;
      if ((entry & EPT_ALL) === 0n) {
        mfn = table();
        memory.quads[at] = (BigInt(mfn) << 12n) | EPT_ALL;
      } else if (above === 1 && (entry & EPT_LARGE) !== 0n) {
        mfn = split(at, entry);
      } else {
        mfn = frameOf(entry);
      }
    }
    return slot(mfn, indexAt(gfn, level));
  };
  const split = (at: number, entry: bigint): Mfn => {
    const mfn = table();
    const small = entry & ~EPT_LARGE;
    for (let index = 0; index < 512; index += 1) {
      memory.quads[slot(mfn, index)] = small + (BigInt(index) << 12n);
    }
    memory.quads[at] = (BigInt(mfn) << 12n) | EPT_ALL;
    return mfn;
  };
  const describe = (entry: bigint, gfn: number, pageBytes: number): P2mEntry => {
    const type = P2M_TYPES[Number((entry >> TYPE_SHIFT) & 15n)] ?? 'hole';
    const access = entry & EPT_ALL;
    const within = pageBytes === 4096 ? 0 : gfn % (pageBytes / 4096);
    return {
      type,
      access,
      pageBytes,
      entry,
      mfn: access === 0n ? undefined : ((frameOf(entry) + within) as Mfn),
    };
  };
  const lookup = (gfn: Gfn): P2mEntry => {
    if (gfn >= MAXIMUM_GFN) return describe(0n, gfn, 4096);
    let mfn: Mfn = top;
    for (let level = 3; level >= 0; level -= 1) {
      const entry = memory.quads[slot(mfn, indexAt(gfn, level))] ?? 0n;
      if (level === 0) return describe(entry, gfn, 4096);
      if ((entry & EPT_ALL) === 0n) return describe(0n, gfn, 4096 * 512 ** level);
      if ((entry & EPT_LARGE) !== 0n) return describe(entry, gfn, 4096 * 512 ** level);
      mfn = frameOf(entry);
    }
    return describe(0n, gfn, 4096);
  };
  return {
    root: top,
    eptPointer: (BigInt(top) << 12n) | EPTP_ATTRIBUTES,
    lookup,
    path(gfn) {
      const steps: P2mStep[] = [];
      let mfn: Mfn = top;
      for (const level of [3, 2, 1, 0]) {
        const index = indexAt(gfn, level);
        const entry = memory.quads[slot(mfn, index)] ?? 0n;
        const maddr = (mfn * 4096 + index * 8) as Maddr;
        steps.push({ table: STEP_NAMES[level] ?? 'EPT PTE', maddr, entry });
        const isTable = (entry & EPT_ALL) !== 0n && (entry & EPT_LARGE) === 0n;
        if (!isTable) break;
        mfn = frameOf(entry);
      }
      return steps;
    },
    set(gfn, type, mfn, access = EPT_ALL) {
      memory.quads[slotAt(gfn, 0)] =
        mfn === undefined
          ? BigInt(P2M_TYPES.indexOf(type)) << TYPE_SHIFT
          : leaf(mfn, type, access, false);
    },
    setLarge(gfn, mfn) {
      if (gfn % FRAMES_PER_LARGE_PAGE !== 0 || mfn % FRAMES_PER_LARGE_PAGE !== 0) {
        throw new Error(`A large page needs aligned frames: gfn ${gfn}, mfn ${mfn}.`);
      }
      memory.quads[slotAt(gfn, 1)] = leaf(mfn, 'ram', EPT_ALL, true);
    },
    ranges(labels) {
      const found: P2mRange[] = [];
      const visit = (mfn: Mfn, level: number, base: number): void => {
        for (let index = 0; index < 512; index += 1) {
          const entry = memory.quads[slot(mfn, index)] ?? 0n;
          if (entry === 0n) continue;
          const first = base + index * 512 ** level;
          const isTable = level > 0 && (entry & EPT_LARGE) === 0n;
          if (isTable) visit(frameOf(entry), level - 1, first);
          else append(found, describe(entry, first, 4096 * 512 ** level), first, labels);
        }
      };
      visit(top, 3, 0);
      return found;
    },
  };
};

export const permissionsOf = (access: bigint): string =>
  `${access & EPT_READ ? 'r' : '-'}${access & EPT_WRITE ? 'w' : '-'}${access & EPT_EXECUTE ? 'x' : '-'}`;

const append = (
  ranges: P2mRange[],
  { type, mfn, access, pageBytes }: P2mEntry,
  first: number,
  labels: ReadonlyMap<number, string>,
): void => {
  const range: P2mRange = {
    first: first as Gfn,
    count: pageBytes / 4096,
    type,
    mfn,
    permissions: permissionsOf(access),
    pageBytes: mfn === undefined ? undefined : pageBytes,
    label: labels.get(first),
  };
  const last = ranges.at(-1);
  const joins =
    last !== undefined &&
    last.first + last.count === first &&
    last.type === range.type &&
    last.permissions === range.permissions &&
    last.pageBytes === range.pageBytes &&
    last.label === range.label &&
    (last.mfn === undefined ? mfn === undefined : last.mfn + last.count === mfn);
  if (joins) ranges[ranges.length - 1] = { ...last, count: last.count + range.count };
  else ranges.push(range);
};
