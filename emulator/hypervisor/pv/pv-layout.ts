/**
 * Where a PV domain's first pieces lie, as libxenguest places them: kernel, initial RAM disk, P2M
 * list, start_info, the rings, page tables, boot stack, all of it mapped from the virtual base in
 * pages of 4 KiB. Pseudo-physical frames are numbered from 0 at the virtual base.
 * Source: Xen public/xen.h, "Start-of-day memory layout".
 */
import type { LoadedProgram, PvProgram } from '../../loader/index.ts';

export interface PvLayout {
  readonly virtualBase: bigint;
  readonly module: { readonly pfn: number; readonly isMapped: boolean } | undefined;
  readonly p2mPfn: number;
  readonly p2mPages: number;
  /** Linear address of the P2M list. */
  readonly p2mAddress: bigint;
  /** Frames of the tables that map the list at a place of its own; none if it is with the kernel. */
  readonly p2mTables: number;
  readonly startInfo: number;
  readonly xenstore: number;
  readonly console: number;
  /** First of the page tables, the L4, and their number. */
  readonly tables: number;
  readonly tableCount: number;
  readonly bootStack: number;
  /** What is mapped ends before this frame. */
  readonly mappedEnd: number;
  /** Frames from here on are free. */
  readonly end: number;
}

const MAPPED_ALIGNMENT = 4 << 20;
const SLACK = 512 << 10;
const LEVEL_SHIFTS = [39n, 30n, 21n] as const;

const pagesOf = (bytes: number): number => Math.ceil(bytes / 4096);

/** Tables of a level that cover a range: those of level 3 for shift 39, and so on. */
const tablesFor = (first: bigint, end: bigint, shift: bigint): number =>
  Number(((end - 1n) >> shift) - (first >> shift)) + 1;

/** Pseudo-physical address behind the last segment. */
export const programEnd = ({ segments }: LoadedProgram, { paddrOffset }: PvProgram): number =>
  Math.max(...segments.map(({ address, memoryBytes }) => address - paddrOffset + memoryBytes));

/** `pages` is the number of frames of the domain, `moduleBytes` 0 if there is no RAM disk. */
export const layOutPv = (
  program: LoadedProgram,
  pv: PvProgram,
  pages: number,
  moduleBytes: number,
): PvLayout => {
  const { virtualBase } = pv;
  let next = pagesOf(programEnd(program, pv));
  const take = (count: number): number => {
    const first = next;
    next += count;
    return first;
  };
  const hasModule = moduleBytes > 0;
  const isMapped = hasModule && !pv.hasUnmappedModule;
  const mappedModule = isMapped ? take(pagesOf(moduleBytes)) : 0;
  const p2mPages = pagesOf(pages * 8);
  const isWithKernel = pv.p2mBase === undefined;
  const p2mNear = isWithKernel ? take(p2mPages) : 0;
  const startInfo = take(1);
  const xenstore = take(1);
  const console = take(1);
  // The tables map themselves, so their number is looked for.
  let tableCount = 0;
  let mappedEnd = 0;
  for (let needed = 1; needed !== tableCount; ) {
    tableCount = needed;
    const used = (next + tableCount + 1) * 4096 + SLACK;
    mappedEnd = pagesOf(Math.ceil(used / MAPPED_ALIGNMENT) * MAPPED_ALIGNMENT);
    const end = virtualBase + BigInt(mappedEnd) * 4096n;
    needed = 1 + LEVEL_SHIFTS.reduce((sum, shift) => sum + tablesFor(virtualBase, end, shift), 0);
  }
  const tables = take(tableCount);
  const bootStack = take(1);
  next = mappedEnd;
  const module = !hasModule
    ? undefined
    : { pfn: isMapped ? mappedModule : take(pagesOf(moduleBytes)), isMapped };
  const p2mAddress = pv.p2mBase ?? virtualBase + BigInt(p2mNear) * 4096n;
  const p2mEnd = p2mAddress + BigInt(p2mPages) * 4096n;
  const p2mTables = isWithKernel
    ? 0
    : LEVEL_SHIFTS.reduce((sum, shift) => sum + tablesFor(p2mAddress, p2mEnd, shift), 0);
  const p2mPfn = isWithKernel ? p2mNear : take(p2mPages + p2mTables);
  return {
    virtualBase,
    module,
    p2mPfn,
    p2mPages,
    p2mAddress,
    p2mTables,
    startInfo,
    xenstore,
    console,
    tables,
    tableCount,
    bootStack,
    mappedEnd,
    end: next,
  };
};
