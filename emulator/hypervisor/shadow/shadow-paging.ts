/**
 * Shadow paging: tables that translate a guest's linear addresses to machine addresses in one step,
 * built on demand from the guest's own tables and the P2M. It knows pages, P2M and faults; whoever
 * runs the guest loads the root and hands the faults over.
 *
 *   A shadow page is found again by the guest's table and its role (roles.ts). It stays in step with
 *   the guest's table, which no shadow entry of the domain lets the guest write.
 *   An entry is there only as far as the guest's entry has its accessed and dirty bits set: what sets
 *   them is a fault.
 *   The pages come from a pool; when it is empty, the page that was longest not used by a fault goes.
 *
 * Guests on several vCPUs share the pages; each vCPU has a space, the root of its translations.
 */
import type { Gfn, Maddr, Mfn } from '../../memory/addresses.ts';
import { hostAddressOf, type MachineMemory } from '../../memory/machine-memory.ts';
import { EPT_EXECUTE, EPT_READ, EPT_WRITE, type P2m } from '../p2m.ts';
import { createEntryUsers } from './entry-users.ts';
import {
  ACCESSED,
  DIRTY,
  EXECUTE_DISABLE,
  entryBytesOf,
  type GuestPaging,
  indexOf,
  PRESENT,
  WRITABLE,
} from './guest-paging.ts';
import {
  formatOf,
  fromKey,
  guestEntryOf,
  keyOf,
  type Role,
  shadowIndexesOf,
  type Target,
  targetOf,
  topTargetOf,
} from './roles.ts';

export interface ShadowPage {
  /** In the pool; the tops of the spaces follow. */
  readonly number: number;
  readonly frame: Mfn;
  /** Of the guest's table; of a direct page the first that it maps. */
  readonly gfn: number;
  /** Where the guest's table is; undefined for direct pages, and where there is no memory. */
  readonly table: Mfn | undefined;
  readonly role: Role;
  /** When a fault used it last. */
  used: number;
  /** Writes of the guest since then. */
  writes: number;
  /** It must not go while this is above 0. */
  pins: number;
}

export interface ShadowStep {
  readonly level: number;
  readonly maddr: Maddr;
  readonly entry: bigint;
}

/** A shadow page has come or gone, or an entry of it follows the guest's. */
export interface ShadowUpdate {
  readonly action: 'shadow' | 'unshadow' | 'sync';
  readonly gfn: Gfn;
  readonly level: number;
  /** Of the guest's entry. */
  readonly index: number | undefined;
  readonly guestEntry: bigint | undefined;
  readonly shadowEntry: bigint | undefined;
}

/** A way through the shadow tables on which writes are let through. */
export interface Opening {
  /** Entries are again as they should be. */
  close(): void;
}

export interface ShadowSource {
  readonly memory: MachineMemory;
  readonly p2m: P2m;
  /** Frames for shadow pages, zeroed. */
  readonly pool: readonly Mfn[];
  /** A frame for the top of each space, zeroed. */
  readonly tops: readonly Mfn[];
  /** Shadow tables have been written: what the processor remembers of them is stale. */
  noteWrite(maddr: number, lengthBytes: number): void;
  /** Whether updates are to be told, and who is told. */
  wantsUpdates(): boolean;
  tellUpdate(update: ShadowUpdate): void;
}

export interface ShadowPaging {
  /** How many pages there may be, and those that there are. */
  readonly capacity: number;
  readonly pages: readonly ShadowPage[];
  /** The guest's control registers have changed. */
  setPaging(space: number, paging: GuestPaging): void;
  pagingOf(space: number): GuestPaging;
  /** What the processor's CR3 has to be. */
  rootOf(space: number): Maddr;
  /** Makes the entries for a linear address as far as the guest's allow; whether any has changed. */
  fill(space: number, linear: number): boolean;
  /** The entries that the processor reads for a linear address, as they are now. */
  path(space: number, linear: number): ShadowStep[];
  /** Whether a guest frame is a table that is shadowed. */
  isTable(gfn: number): boolean;
  /** Lets writes to a linear address through, to `substitute` if there is no memory. */
  open(space: number, linear: number, substitute?: Mfn): Opening;
  /** Bytes of a guest's table have changed, within the frame. */
  tableWritten(gfn: number, first: number, last: number): void;
  /** Machine memory was written by the hypervisor. */
  written(maddr: number, lengthBytes: number): void;
  /** The P2M has another entry for these frames. */
  framesChanged(first: number, count: number): void;
  /** The guest has written the table once more; whether it is a table no longer. */
  countWrite(gfn: number): boolean;
  /** A frame is no table any more. */
  unshadow(gfn: number): void;
  /** The end of the domain: all pages go; the frames of the pool, which are free then. */
  end(): readonly Mfn[];
  /** For snapshots: the pages' keys, uses and counts; contents are in machine memory. */
  save(): SavedShadow;
  /** Pages and entries as they were; the spaces are as `pagings` says. */
  restore(saved: SavedShadow, pagings: readonly GuestPaging[]): void;
}

export interface SavedShadow {
  readonly tick: number;
  readonly pages: readonly (readonly [number: number, key: number, used: number, writes: number])[];
  readonly roots: readonly boolean[];
}

const ENTRIES = 512;
const FRAME_SHIFT = 12n;
const ADDRESS = 0x000f_ffff_ffff_f000n;
/** Set beforehand, so that the processor never writes shadow entries. */
const KNOWN = PRESENT | ACCESSED | DIRTY;
/** A table that is written so often without being used is probably none any more. */
const WRITES_OF_A_TABLE = 3;
/** More frames than these are looked for among those that are mapped. */
const MANY_FRAMES = 4096;
const TOP: Role = { level: 3, format: undefined, quadrant: 0 };

const tableKey = (page: number): number => -1 - page;

export const createShadowPaging = (source: ShadowSource): ShadowPaging => {
  const { memory, p2m, pool, tops } = source;
  const { quads } = memory;
  const users = createEntryUsers((pool.length + tops.length) * ENTRIES);
  const slots: (ShadowPage | undefined)[] = pool.map(() => undefined);
  const byKey = new Map<number, ShadowPage>();
  /** The shadow pages of each guest frame that is a table. */
  const tables = new Map<number, ShadowPage[]>();
  const tableOfFrame = new Map<number, number>();
  const spaces = tops.map((frame, index) => ({
    paging: UNPAGED,
    root: undefined as ShadowPage | undefined,
    top: pageOf(pool.length + index, frame, 0, undefined, TOP),
  }));
  let tick = 0;
  /** No page below is free. */
  let lowest = 0;
  let changes = 0;

  const spaceOf = (space: number) => {
    const found = spaces[space];
    if (found === undefined) throw new Error(`There is no shadow space ${space}.`);
    return found;
  };
  const isTop = ({ number }: ShadowPage): boolean => number >= pool.length;
  const pageAt = (number: number): ShadowPage | undefined =>
    slots[number] ?? spaces[number - pool.length]?.top;
  const slotOf = ({ frame }: ShadowPage, index: number): number =>
    (hostAddressOf((frame * 4096) as Maddr) >>> 3) + index;
  const entryAt = (page: ShadowPage, index: number): bigint => quads[slotOf(page, index)] as bigint;

  const put = (page: ShadowPage, index: number, value: bigint): void => {
    const slot = slotOf(page, index);
    const old = quads[slot] as bigint;
    if (old === value) return;
    quads[slot] = value;
    changes += 1;
    if ((old & PRESENT) !== 0n) source.noteWrite(page.frame * 4096 + index * 8, 8);
  };
  const setEntry = (page: ShadowPage, index: number, value: bigint, key?: number): void => {
    users.set(page.number * ENTRIES + index, key);
    put(page, index, value);
  };
  const eachUser = (key: number, use: (page: ShadowPage, index: number) => void): void => {
    for (const entry of users.of(key)) {
      const page = pageAt(Math.floor(entry / ENTRIES));
      if (page !== undefined) use(page, entry % ENTRIES);
    }
  };

  const tell = (action: ShadowUpdate['action'], page: ShadowPage, index?: number): void => {
    if (page.role.format === undefined || !source.wantsUpdates()) return;
    const isEntry = index !== undefined;
    source.tellUpdate({
      action,
      gfn: page.gfn as Gfn,
      level: page.role.level,
      index,
      guestEntry: isEntry ? guestEntryOf(memory, page.role, page.table, index) : undefined,
      shadowEntry: isEntry ? entryAt(page, index) : undefined,
    });
  };

  const drop = (page: ShadowPage): void => {
    tell('unshadow', page);
    eachUser(tableKey(page.number), (above, index) => setEntry(above, index, 0n));
    for (let index = 0; index < ENTRIES; index += 1) {
      users.set(page.number * ENTRIES + index, undefined);
    }
    const at = slotOf(page, 0);
    quads.fill(0n, at, at + ENTRIES);
    source.noteWrite(page.frame * 4096, 4096);
    for (const space of spaces) if (space.root === page) space.root = undefined;
    slots[page.number] = undefined;
    lowest = Math.min(lowest, page.number);
    byKey.delete(keyOf(page.gfn, page.role));
    if (page.role.format === undefined) return;
    const rest = (tables.get(page.gfn) ?? []).filter((other) => other !== page);
    if (rest.length > 0) {
      tables.set(page.gfn, rest);
      return;
    }
    tables.delete(page.gfn);
    if (page.table !== undefined) tableOfFrame.delete(page.table);
  };

  /** The number of a free page, after one has gone if need be. */
  const takeNumber = (): number => {
    while (lowest < slots.length && slots[lowest] !== undefined) lowest += 1;
    if (lowest < slots.length) return lowest;
    let oldest: ShadowPage | undefined;
    for (const page of slots) {
      if (page === undefined || page.pins > 0) continue;
      if (oldest === undefined || page.used < oldest.used) oldest = page;
    }
    if (oldest === undefined) throw new Error('All shadow pages are in use at once.');
    drop(oldest);
    return oldest.number;
  };

  const enter = (page: ShadowPage): void => {
    slots[page.number] = page;
    byKey.set(keyOf(page.gfn, page.role), page);
    if (page.role.format === undefined) return;
    const others = tables.get(page.gfn) ?? [];
    tables.set(page.gfn, [...others, page]);
    if (page.table !== undefined) tableOfFrame.set(page.table, page.gfn);
  };

  const tableFrame = (gfn: number, { format }: Role): Mfn | undefined =>
    format === undefined ? undefined : p2m.lookup(gfn as Gfn).mfn;

  /** The shadow page of a frame in a role, made if it is not there. */
  const obtain = (gfn: number, role: Role): ShadowPage => {
    const known = byKey.get(keyOf(gfn, role));
    if (known !== undefined) return known;
    const number = takeNumber();
    const page = pageOf(number, pool[number] as Mfn, gfn, tableFrame(gfn, role), role);
    page.used = tick;
    const isNew = role.format !== undefined && !tables.has(gfn);
    enter(page);
    // From now on the guest must not write it unseen.
    if (isNew) eachUser(gfn, (user, index) => put(user, index, entryAt(user, index) & ~WRITABLE));
    tell('shadow', page);
    return page;
  };

  const leafValue = (gfn: number, rights: bigint): bigint => {
    const { mfn, access } = p2m.lookup(gfn as Gfn);
    if (mfn === undefined || (access & EPT_READ) === 0) return 0n;
    const mayWrite = (access & EPT_WRITE) !== 0 && !tables.has(gfn);
    const value = (BigInt(mfn) << FRAME_SHIFT) | KNOWN | (mayWrite ? rights : rights & ~WRITABLE);
    return (access & EPT_EXECUTE) !== 0 ? value : value | EXECUTE_DISABLE;
  };

  const targetAt = (page: ShadowPage, index: number): Target | undefined =>
    isTop(page)
      ? topTargetOf(spaceOf(page.number - pool.length).paging, index)
      : targetOf(memory, page.gfn, page.role, page.table, index);

  /** Makes an entry anew; gives the page below. If `creates` is false that must be there. */
  const link = (page: ShadowPage, index: number, creates: boolean): ShadowPage | undefined => {
    const target = targetAt(page, index);
    if (target === undefined) {
      setEntry(page, index, 0n);
      return undefined;
    }
    const { gfn, role, rights } = target;
    if (role === undefined) {
      const value = leafValue(gfn, rights);
      setEntry(page, index, value, value === 0n ? undefined : gfn);
      return undefined;
    }
    const below = creates ? obtain(gfn, role) : byKey.get(keyOf(gfn, role));
    if (below === undefined) {
      setEntry(page, index, 0n);
      return undefined;
    }
    const address = BigInt(below.frame) << FRAME_SHIFT;
    // The pointers of PAE paging have no rights, and reserved bits in their place.
    const value = isTop(page) ? address | PRESENT : address | KNOWN | rights;
    setEntry(page, index, value, tableKey(below.number));
    return below;
  };

  const topOf = (index: number): ShadowPage => {
    const space = spaceOf(index);
    const { paging } = space;
    if (paging.mode !== '4-level') return space.top;
    space.root ??= obtain(paging.top / 4096, { level: 4, format: formatOf(paging), quadrant: 0 });
    return space.root;
  };
  const indexIn = ({ role }: ShadowPage, linear: number): number =>
    indexOf('pae', role.level, linear);

  /** The pages on the way to a linear address that are there; all are made if `creates`. */
  const walk = (space: number, linear: number, creates: boolean): ShadowPage[] => {
    const pages: ShadowPage[] = [];
    let page: ShadowPage | undefined = creates
      ? topOf(space)
      : spaceOf(space).paging.mode === '4-level'
        ? spaceOf(space).root
        : spaceOf(space).top;
    while (page !== undefined) {
      pages.push(page);
      if (creates) {
        page.used = tick;
        page.writes = 0;
        page.pins += 1;
        page = link(page, indexIn(page, linear), true);
      } else {
        const key = users.keyOf(page.number * ENTRIES + indexIn(page, linear));
        page = key === undefined || key >= 0 ? undefined : pageAt(-1 - key);
      }
    }
    if (creates) for (const pinned of pages) pinned.pins -= 1;
    return pages;
  };

  const tableWritten = (gfn: number, first: number, last: number): void => {
    for (const page of tables.get(gfn) ?? []) {
      const bytes = entryBytesOf(page.role.format?.mode ?? 'pae');
      for (let at = Math.floor(first / bytes); at <= Math.floor(last / bytes); at += 1) {
        for (const index of shadowIndexesOf(page.role, at)) {
          link(page, index, false);
          tell('sync', page, index);
        }
      }
    }
  };
  const unshadow = (gfn: number): void => {
    for (const page of tables.get(gfn) ?? []) drop(page);
  };

  return {
    pagingOf: (space) => spaceOf(space).paging,
    capacity: pool.length,
    get pages() {
      return slots.filter((page) => page !== undefined);
    },
    setPaging(index, paging) {
      const space = spaceOf(index);
      space.paging = paging;
      space.root = undefined;
      const isTopUsed = paging.mode !== '4-level';
      for (let at = 0; at < 4; at += 1) {
        if (isTopUsed) link(space.top, at, false);
        else setEntry(space.top, at, 0n);
      }
    },
    rootOf: (space) => (topOf(space).frame * 4096) as Maddr,
    fill(space, linear) {
      const before = changes;
      tick += 1;
      walk(space, linear, true);
      return changes !== before;
    },
    path: (space, linear) =>
      walk(space, linear, false).map((page) => {
        const index = indexIn(page, linear);
        const maddr = (page.frame * 4096 + index * 8) as Maddr;
        return { level: page.role.level, maddr, entry: entryAt(page, index) };
      }),
    isTable: (gfn) => tables.has(gfn),
    open(space, linear, substitute) {
      const pages = walk(space, linear, true);
      const opened: ShadowPage[] = [];
      for (const page of pages) {
        page.pins += 1;
        if (isTop(page)) continue;
        const index = indexIn(page, linear);
        const old = entryAt(page, index);
        if (page.role.level === 1 && substitute !== undefined) {
          const rights = targetAt(page, index)?.rights ?? 0n;
          const value = (BigInt(substitute) << FRAME_SHIFT) | KNOWN | rights | WRITABLE;
          put(page, index, value | EXECUTE_DISABLE);
        } else if ((old & PRESENT) !== 0n) {
          put(page, index, old | WRITABLE);
        }
        if (entryAt(page, index) !== old) opened.push(page);
      }
      return {
        close() {
          for (const page of opened) link(page, indexIn(page, linear), false);
          for (const page of pages) page.pins -= 1;
        },
      };
    },
    tableWritten,
    written(maddr, lengthBytes) {
      if (tableOfFrame.size === 0) return;
      const end = maddr + lengthBytes;
      for (let at = maddr; at < end; at = (Math.floor(at / 4096) + 1) * 4096) {
        const frame = Math.floor(at / 4096);
        const gfn = tableOfFrame.get(frame);
        if (gfn === undefined) continue;
        tableWritten(gfn, at - frame * 4096, Math.min(end - frame * 4096, 4096) - 1);
      }
    },
    framesChanged(first, count) {
      const change = (gfn: number): void => {
        if (tables.has(gfn)) unshadow(gfn);
        if (users.has(gfn)) eachUser(gfn, (page, index) => setEntry(page, index, 0n));
      };
      if (count <= MANY_FRAMES) {
        for (let gfn = first; gfn < first + count; gfn += 1) change(gfn);
        return;
      }
      for (const gfn of [...tables.keys(), ...users.keys()]) {
        if (gfn >= first && gfn < first + count) change(gfn);
      }
    },
    countWrite(gfn) {
      let most = 0;
      for (const page of tables.get(gfn) ?? []) {
        page.writes += 1;
        most = Math.max(most, page.writes);
      }
      if (most < WRITES_OF_A_TABLE) return false;
      unshadow(gfn);
      return true;
    },
    unshadow,
    end() {
      for (const page of [...byKey.values()]) drop(page);
      for (const { top } of spaces) for (let at = 0; at < 4; at += 1) setEntry(top, at, 0n);
      return pool;
    },
    save: () => ({
      tick,
      pages: [...byKey].map(([key, { number, used, writes }]) => [number, key, used, writes]),
      roots: spaces.map(({ root }) => root !== undefined),
    }),
    restore(saved, pagings) {
      tick = saved.tick;
      lowest = 0;
      users.clear();
      byKey.clear();
      tables.clear();
      tableOfFrame.clear();
      slots.fill(undefined);
      for (const [number, key, used, writes] of saved.pages) {
        const { gfn, role } = fromKey(key);
        const page = pageOf(number, pool[number] as Mfn, gfn, tableFrame(gfn, role), role);
        enter(Object.assign(page, { used, writes }));
      }
      const byFrame = new Map(pool.map((frame, number) => [frame as number, number]));
      const relate = (page: ShadowPage): void => {
        for (let index = 0; index < ENTRIES; index += 1) {
          const entry = entryAt(page, index);
          if (entry === 0n) continue;
          const isLeaf = page.role.level === 1;
          const below = byFrame.get(Number((entry & ADDRESS) >> FRAME_SHIFT)) ?? 0;
          const key = isLeaf ? targetAt(page, index)?.gfn : tableKey(below);
          users.set(page.number * ENTRIES + index, key);
        }
      };
      for (const page of byKey.values()) relate(page);
      for (const { top } of spaces) relate(top);
      for (const [index, space] of spaces.entries()) {
        space.paging = pagings[index] ?? UNPAGED;
        space.root = undefined;
        if (saved.roots[index] === true) topOf(index);
      }
    },
  };
};

const UNPAGED: GuestPaging = {
  mode: 'unpaged',
  top: 0,
  pointers: [],
  writeProtect: false,
  smep: false,
  smap: false,
  executeDisable: false,
  largePages: false,
};

const pageOf = (
  number: number,
  frame: Mfn,
  gfn: number,
  table: Mfn | undefined,
  role: Role,
): ShadowPage => ({ number, frame, gfn, table, role, used: 0, writes: 0, pins: 0 });
