/** Shadow tables over a small machine, with tables of a guest made by hand. */
import { beforeEach, describe, expect, test } from 'vitest';
import type { Gfn, Maddr, Mfn } from '../../memory/addresses.ts';
import { createMachineMemory, hostAddressOf } from '../../memory/machine-memory.ts';
import { createFrames, OWNER_HYPERVISOR } from '../frames.ts';
import { createP2m, type P2m } from '../p2m.ts';
import { type GuestPaging, guestPagingOf } from './guest-paging.ts';
import { createShadowPaging, type ShadowPaging, type ShadowUpdate } from './shadow-paging.ts';

const RAM = 4 << 20;
const GUEST_PAGES = 512;
const DOMAIN = 1;
const LONG = { cr0: 0x8001_0011n, cr4: 0x20n, efer: 0xd00n };
/** Present, writable, user; accessed; dirty. */
const TABLE = 0x27n;
const PAGE = 0x67n;
const WRITABLE = 2n;

let memory: ReturnType<typeof createMachineMemory>;
let frames: ReturnType<typeof createFrames>;
let p2m: P2m;
let shadow: ShadowPaging;
let updates: ShadowUpdate[];
let written: number[];

const take = (): Mfn => frames.allocate(OWNER_HYPERVISOR) ?? (0 as Mfn);
const build = (pages: number): ShadowPaging =>
  createShadowPaging({
    memory,
    p2m,
    pool: Array.from({ length: pages }, take),
    tops: [take()],
    noteWrite: (maddr) => written.push(maddr),
    wantsUpdates: () => true,
    tellUpdate: (update) => updates.push(update),
  });

beforeEach(() => {
  memory = createMachineMemory(RAM);
  frames = createFrames(RAM);
  p2m = createP2m(memory, frames);
  for (let gfn = 0; gfn < GUEST_PAGES; gfn += 1) {
    p2m.set(gfn as Gfn, 'ram', frames.allocate(DOMAIN) ?? (0 as Mfn));
  }
  updates = [];
  written = [];
  shadow = build(64);
  p2m.observer = (gfn, count) => shadow.framesChanged(gfn, count);
});

const mfnOf = (gfn: number): number => p2m.lookup(gfn as Gfn).mfn ?? 0;
const quadAt = (gfn: number, index: number): number =>
  (hostAddressOf((mfnOf(gfn) * 4096) as Maddr) >>> 3) + index;
const put = (table: number, index: number, gfn: number, flags: bigint): void => {
  memory.quads[quadAt(table, index)] = (BigInt(gfn) << 12n) | flags;
};
const paging = (cr3: number, state: Partial<typeof LONG> = {}): GuestPaging =>
  guestPagingOf({ ...LONG, ...state, cr3: BigInt(cr3) << 12n, pointers: [] }, []);

/** Tables at gfns 10 to 13 that map linear address 0 to gfn 20. */
const mapOne = (flags = PAGE): void => {
  put(10, 0, 11, TABLE);
  put(11, 0, 12, TABLE);
  put(12, 0, 13, TABLE);
  put(13, 0, 20, flags);
};
/** The entry that maps an address; 0 if the way to it is not there. */
const leafOf = (linear: number): bigint => {
  const last = shadow.path(0, linear).at(-1);
  return last?.level === 1 ? last.entry : 0n;
};
const frameIn = (entry: bigint): number => Number((entry & 0xf_ffff_f000n) >> 12n);

describe('4-level paging', () => {
  beforeEach(() => {
    mapOne();
    shadow.setPaging(0, paging(10));
  });

  test('a fill makes each level, and maps the machine frame', () => {
    expect(shadow.fill(0, 0x123)).toBe(true);
    expect(shadow.path(0, 0x123).map(({ level }) => level)).toEqual([4, 3, 2, 1]);
    expect(frameIn(leafOf(0))).toBe(mfnOf(20));
    expect(leafOf(0) & WRITABLE).toBe(WRITABLE);
    expect(shadow.fill(0, 0x123)).toBe(false);
    expect(written).toEqual([]);
  });

  test.each([
    ['not accessed', 0x47n, 0n],
    ['not dirty', 0x27n, 0x65n],
    ['read-only', 0x65n, 0x65n],
    ['supervisor', 0x63n, 0x63n],
    ['not present', 0x66n, 0n],
    ['execute-disable', PAGE | (1n << 63n), PAGE | (1n << 63n)],
    ['reserved', PAGE | (1n << 51n), 0n],
  ])('an entry that is %s', (_words, flags, expected) => {
    mapOne(flags);
    shadow.fill(0, 0);

    expect(leafOf(0) & ~0xf_ffff_f000n).toBe(expected);
  });

  test('execute-disable is reserved without EFER.NXE, and has a page of its own', () => {
    mapOne(PAGE | (1n << 63n));
    shadow.fill(0, 0);
    shadow.setPaging(0, paging(10, { efer: 0x500n }));
    shadow.fill(0, 0);

    expect(leafOf(0)).toBe(0n);
    shadow.setPaging(0, paging(10));
    expect(leafOf(0)).toBe(0n);
    shadow.fill(0, 0);
    expect(leafOf(0)).not.toBe(0n);
  });

  test('a table is not writable by any address, whether it was mapped before or after', () => {
    put(13, 1, 13, PAGE);
    put(13, 2, 30, PAGE);
    shadow.fill(0, 0x2000);
    expect(leafOf(0x2000) & WRITABLE).toBe(WRITABLE);
    // gfn 30 becomes a table, after it was mapped as a page.
    put(12, 1, 30, TABLE);
    shadow.fill(0, 0x20_0000);
    shadow.fill(0, 0x1000);

    expect(shadow.isTable(30)).toBe(true);
    expect(leafOf(0x2000) & WRITABLE).toBe(0n);
    expect(leafOf(0x1000) & WRITABLE).toBe(0n);
    expect(written).toHaveLength(1);
  });

  test('a table that maps itself is a table of each level', () => {
    put(10, 511, 10, TABLE | 0x40n);
    const self = -1 * 2 ** 12;
    shadow.fill(0, self);

    expect(frameIn(leafOf(self))).toBe(mfnOf(10));
    expect(leafOf(self) & WRITABLE).toBe(0n);
    expect(shadow.pages.filter(({ gfn }) => gfn === 10).map(({ role }) => role.level)).toEqual([
      4, 3, 2, 1,
    ]);
    put(10, 511, 10, 0n);
    shadow.tableWritten(10, 511 * 8, 511 * 8 + 7);
    expect(shadow.path(0, self)).toHaveLength(1);
  });

  test('entries follow what is written to a table, and the write that did not change is no update', () => {
    shadow.fill(0, 0);
    put(13, 0, 21, PAGE);
    shadow.tableWritten(13, 0, 7);
    expect(frameIn(leafOf(0))).toBe(mfnOf(21));
    expect(updates.at(-1)).toMatchObject({ action: 'sync', gfn: 13, level: 1, index: 0 });
    put(12, 0, 14, TABLE);
    shadow.tableWritten(12, 0, 7);
    expect(leafOf(0)).toBe(0n);
  });

  test('writes of the hypervisor are followed by their machine address', () => {
    shadow.fill(0, 0);
    put(13, 0, 22, PAGE);
    shadow.written(mfnOf(13) * 4096 - 8, 16);

    expect(frameIn(leafOf(0))).toBe(mfnOf(22));
  });

  test('a page opened for a write is closed again, whatever it holds then', () => {
    put(13, 1, 13, PAGE);
    shadow.fill(0, 0x1000);
    const opening = shadow.open(0, 0x1000);
    expect(leafOf(0x1000) & WRITABLE).toBe(WRITABLE);
    put(13, 1, 23, PAGE);
    opening.close();

    expect(frameIn(leafOf(0x1000))).toBe(mfnOf(23));
  });

  test('a change of the P2M takes entries and tables away', () => {
    shadow.fill(0, 0);
    p2m.set(20 as Gfn, 'ballooned', undefined);
    expect(leafOf(0)).toBe(0n);
    p2m.set(13 as Gfn, 'ram', take());
    expect(shadow.isTable(13)).toBe(false);
    expect(shadow.path(0, 0).map(({ level }) => level)).toEqual([4, 3, 2]);
  });

  test('a table is given up after some writes without a use', () => {
    shadow.fill(0, 0);
    expect([1, 2].map(() => shadow.countWrite(13))).toEqual([false, false]);
    shadow.fill(0, 0);
    expect([1, 2, 3].map(() => shadow.countWrite(13))).toEqual([false, false, true]);
    expect(shadow.isTable(13)).toBe(false);
  });

  test('large pages are mapped by single frames of a direct page, of 1 GiB by two levels', () => {
    put(12, 1, 0, PAGE | 0x80n);
    put(11, 1, 0, TABLE | 0x80n);
    shadow.fill(0, 0x20_5000);
    shadow.fill(0, 0x4000_6000);

    expect(frameIn(leafOf(0x20_5000))).toBe(mfnOf(5));
    expect(frameIn(leafOf(0x4000_6000))).toBe(mfnOf(6));
    // The dirty bit of the page of 1 GiB is clear: its own entry forbids writes, not the frame's.
    expect(shadow.path(0, 0x4000_6000).map(({ entry }) => entry & WRITABLE)).toEqual([
      2n,
      0n,
      2n,
      2n,
    ]);
    // Both are of gfn 0, so that they share the page.
    expect(shadow.pages.filter(({ role }) => role.format === undefined)).toHaveLength(2);
  });

  test('two address spaces keep their pages, and share those of tables they share', () => {
    put(40, 0, 11, TABLE);
    put(40, 1, 41, TABLE);
    shadow.fill(0, 0);
    const first = shadow.rootOf(0);
    shadow.setPaging(0, paging(40));
    expect(shadow.rootOf(0)).not.toBe(first);
    shadow.fill(0, 0);
    shadow.setPaging(0, paging(10));

    expect(shadow.rootOf(0)).toBe(first);
    expect(frameIn(leafOf(0))).toBe(mfnOf(20));
    expect(shadow.pages).toHaveLength(5);
  });
});

test('with few pages the one that was longest not used goes, and all works on', () => {
  shadow = build(6);
  mapOne();
  for (let index = 1; index < 40; index += 1) {
    put(12, index, 100 + index, TABLE);
    put(100 + index, 0, 200 + index, PAGE);
  }
  shadow.setPaging(0, paging(10));
  for (let index = 1; index < 40; index += 1) {
    shadow.fill(0, index << 21);
    expect(frameIn(leafOf(index << 21))).toBe(mfnOf(200 + index));
    expect(shadow.pages.length).toBeLessThanOrEqual(6);
  }
  expect(leafOf(39 << 21)).not.toBe(0n);
  expect(leafOf(1 << 21)).toBe(0n);
});

test('an unpaged guest sees its memory one to one, in four GiB', () => {
  shadow.setPaging(0, paging(0, { cr0: 0x11n, efer: 0n }));
  shadow.fill(0, 0x3_5123);
  shadow.fill(0, 0xc000_0000);

  expect(frameIn(leafOf(0x3_5123))).toBe(mfnOf(0x35));
  expect(shadow.path(0, 0x3_5123).map(({ level }) => level)).toEqual([3, 2, 1]);
  expect(leafOf(0xc000_0000)).toBe(0n);
});

test('a table of 32-bit paging takes four shadow pages, and each of its entries two', () => {
  const words = (gfn: number) => hostAddressOf((mfnOf(gfn) * 4096) as Maddr) >>> 2;
  memory.words[words(10) + 0x301] = (11 << 12) | 0x27;
  memory.words[words(11) + 5] = (20 << 12) | 0x67;
  memory.words[words(11) + 512] = (21 << 12) | 0x67;
  shadow.setPaging(0, paging(10, { cr4: 0x10n, efer: 0n }));
  const base = 0x301 * 2 ** 22;
  shadow.fill(0, base + 0x5000);
  shadow.fill(0, base + 0x20_0000);

  expect(frameIn(leafOf(base + 0x5000))).toBe(mfnOf(20));
  expect(frameIn(leafOf(base + 0x20_0000))).toBe(mfnOf(21));
  expect(shadow.pages.map(({ gfn, role }) => [gfn, role.level, role.quadrant])).toEqual([
    [10, 2, 3],
    [11, 1, 0],
    [11, 1, 1],
  ]);
  memory.words[words(10) + 0x301] = 0;
  shadow.tableWritten(10, 0x301 * 4, 0x301 * 4 + 3);
  expect([base, base + 0x20_0000].map(leafOf)).toEqual([0n, 0n]);
});

test('what is saved comes back: pages, uses, and who points to what', () => {
  mapOne();
  put(13, 1, 13, PAGE);
  shadow.setPaging(0, paging(10));
  for (const linear of [0, 0x1000, 0x40_0000]) shadow.fill(0, linear);
  const saved = JSON.parse(JSON.stringify(shadow.save()));
  shadow.restore(saved, [paging(10)]);

  expect(shadow.save()).toEqual(saved);
  expect(frameIn(leafOf(0))).toBe(mfnOf(20));
  p2m.set(20 as Gfn, 'ballooned', undefined);
  expect(leafOf(0)).toBe(0n);
  expect(leafOf(0x1000) & WRITABLE).toBe(0n);
  p2m.set(10 as Gfn, 'ballooned', undefined);
  expect(shadow.path(0, 0)).toEqual([]);
});
