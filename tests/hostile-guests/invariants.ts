/**
 * What must hold on a machine whatever its guests have done: owners, P2Ms, the M2P, references, page
 * types and shadow page tables, counted again from the state itself. Nothing is found if all is well.
 */
import type { XenDomain } from '../../emulator/hypervisor/domain.ts';
import { NO_GFN, OWNER_FREE, OWNER_HYPERVISOR } from '../../emulator/hypervisor/frames.ts';
import { GNTMAP } from '../../emulator/hypervisor/grants/map.ts';
import type { Hypervisor } from '../../emulator/hypervisor/hypervisor.ts';
import { ldtPageOf } from '../../emulator/hypervisor/pv/layout.ts';
import { directPagingOf } from '../../emulator/hypervisor/pv/mmu/direct-paging.ts';
import {
  ENTRIES,
  frameOf,
  isGuestSlot,
  PRESENT,
  WRITABLE,
} from '../../emulator/hypervisor/pv/mmu/entries.ts';
import { wordOf } from '../../emulator/hypervisor/pv/mmu/mmu.ts';
import {
  L4_TABLE,
  PINNED,
  SHARED,
  WRITABLE_PAGE,
} from '../../emulator/hypervisor/pv/mmu/page-types.ts';
import { pageOf } from '../../emulator/hypervisor/pv/per-domain.ts';
import { type Gfn, mfnOf } from '../../emulator/memory/addresses.ts';

const LDT_PAGES = 16;
/** So many are told at once. */
const MOST = 20;

const isAlive = ({ state }: XenDomain): boolean => state !== 'destroyed';

/** What is wrong, in words. */
export const contradictions = (hypervisor: Hypervisor): string[] =>
  [
    ...ownerProblems(hypervisor),
    ...countProblems(hypervisor),
    ...[...hypervisor.domains.values()].flatMap((domain) => p2mProblems(hypervisor, domain)),
    ...[...hypervisor.domains.values()].flatMap(shadowProblems),
  ].slice(0, MOST);

/** Frames that the hypervisor has for itself, beside P2Ms and grant tables: these never change. */
export const fixedFrames = (hypervisor: Hypervisor): number => {
  const { frames, domains } = hypervisor;
  const { flags } = directPagingOf(hypervisor).mmu.pages;
  let fixed = 0;
  frames.owners.forEach((owner, mfn) => {
    if (owner === OWNER_HYPERVISOR || ((flags[mfn] ?? 0) & SHARED) !== 0) fixed += 1;
  });
  for (const { p2m, grants } of domains.values()) {
    fixed -= p2m.tables().length + grants.shared.length + grants.status.length;
  }
  return fixed;
};

const ownerProblems = (hypervisor: Hypervisor): string[] => {
  const { frames, domains } = hypervisor;
  const { flags } = directPagingOf(hypervisor).mmu.pages;
  const found: string[] = [];
  const owned = new Map<number, number>();
  let free = 0;
  frames.owners.forEach((owner, mfn) => {
    if (owner === OWNER_FREE) free += 1;
    const isLeaving = frames.isLeaving(mfn);
    if (isLeaving && frames.references[mfn] === 0) found.push(`frame ${mfn} leaves, and is unused`);
    if (owner >= OWNER_HYPERVISOR) return;
    const domain = domains.get(owner);
    if (domain === undefined) found.push(`frame ${mfn} is of domain ${owner}, which is not there`);
    else if (!isAlive(domain) && !isLeaving) found.push(`frame ${mfn} is of dead domain ${owner}`);
    const isShared = ((flags[mfn] ?? 0) & SHARED) !== 0;
    const isCounted = domain?.pv === undefined ? !isLeaving : !isShared;
    if (isCounted) owned.set(owner, (owned.get(owner) ?? 0) + 1);
  });
  if (free !== frames.free) found.push(`${free} frames are free, not ${frames.free}`);
  for (const { id, pages } of domains.values()) {
    const own = owned.get(id) ?? 0;
    if (own !== pages) found.push(`domain ${id} has ${own} frames, not ${pages}`);
  }
  return found;
};

/** Frames that a domain maps by grants of others, and whether for writing. */
const grantedTo = ({ domains }: Hypervisor, user: XenDomain): Map<number, boolean> => {
  const found = new Map<number, boolean>();
  for (const { domain, reference, flags } of user.grants.mappings.values()) {
    const mfn = domains.get(domain)?.grants.active.get(reference)?.mfn;
    if (mfn === undefined) continue;
    found.set(mfn, found.get(mfn) === true || (flags & GNTMAP.readOnly) === 0);
  }
  return found;
};

/** P2M and M2P are inverse, and lead to nothing that is not the domain's. */
const p2mProblems = (hypervisor: Hypervisor, domain: XenDomain): string[] => {
  const { frames } = hypervisor;
  const { id, p2m, grants, sharedInfo } = domain;
  const found: string[] = [];
  if (domain.pv !== undefined) return pvP2mProblems(hypervisor, domain);
  const granted = grantedTo(hypervisor, domain);
  const special = new Set<number>([sharedInfo, ...grants.shared, ...grants.status]);
  for (const { mfn } of grants.active.values()) special.add(mfn);
  p2m.eachRun((first, pages, type, start, access) => {
    if (start === undefined) return;
    for (let page = 0; page < pages; page += 1) {
      const [gfn, mfn] = [first + page, start + page];
      const where = `gfn ${gfn} of domain ${id} (${type}, frame ${mfn} of ${frames.owners[mfn]})`;
      if (type === 'grant') {
        const isAllowed = granted.has(mfn) && ((access & 2) === 0 || granted.get(mfn) === true);
        if (!isAllowed) found.push(`${where} is not granted`);
        continue;
      }
      const owner = type === 'special' ? OWNER_HYPERVISOR : id;
      if (frames.owners[mfn] !== owner) found.push(`${where} is not of ${owner}`);
      if (frames.isLeaving(mfn)) found.push(`${where} has been given back`);
      if (frames.gfns[mfn] !== gfn) found.push(`${where} goes by ${frames.gfns[mfn]}`);
    }
  });
  frames.owners.forEach((owner, mfn) => {
    const gfn = frames.gfns[mfn] ?? NO_GFN;
    if (owner === id && gfn !== NO_GFN && p2m.mfnOf(gfn as Gfn) !== mfn) {
      found.push(`frame ${mfn} goes by gfn ${gfn} of domain ${id}, which has another`);
    }
  });
  return found;
};

const pvP2mProblems = (hypervisor: Hypervisor, { id, p2m }: XenDomain): string[] => {
  const { frames } = hypervisor;
  const { m2p } = directPagingOf(hypervisor).mmu;
  const found: string[] = [];
  p2m.eachRun((first, pages, _type, start = 0) => {
    for (let page = 0; page < pages; page += 1) {
      const mfn = start + page;
      if (frames.owners[mfn] !== id) found.push(`frame ${mfn} is not of domain ${id}`);
      if (m2p.gfn(mfn) !== first + page) found.push(`frame ${mfn} is not at gfn ${first + page}`);
    }
  });
  return found;
};

/** References and page types, as tables, roots, pins, grants and vcpu_info make them. */
const countProblems = (hypervisor: Hypervisor): string[] => {
  const { frames, domains } = hypervisor;
  const paging = directPagingOf(hypervisor);
  const { pages, memory } = paging.mmu;
  const { owners } = frames;
  const found: string[] = [];
  const references = new Uint32Array(owners.length);
  const types = new Uint32Array(owners.length);
  const isPv = (owner: number): boolean => (domains.get(owner)?.type ?? 'pv') === 'pv';
  const use = (mfn: number, asType: boolean): void => {
    references[mfn] = (references[mfn] ?? 0) + 1;
    if (asType) types[mfn] = (types[mfn] ?? 0) + 1;
  };
  const granted = new Map([...domains].map(([id, one]) => [id, grantedTo(hypervisor, one)]));
  const ownShared = (id: number): readonly number[] => {
    const domain = domains.get(id);
    if (domain === undefined) return [];
    return [domain.sharedInfo, ...domain.grants.shared, ...domain.grants.status];
  };
  const follow = (table: number, level: number, slot: number): void => {
    const at = wordOf(table, slot);
    const low = memory.words[at] ?? 0;
    if ((low & PRESENT) === 0) return;
    const mfn = frameOf(low, memory.words[at + 1] ?? 0);
    if (level > 1 && mfn === table) return;
    const where = `slot ${slot} of L${level} table ${table} of domain ${owners[table]}`;
    const isWritable = (low & WRITABLE) !== 0;
    const owner = owners[mfn];
    if (owner === undefined) {
      found.push(`${where} leads to frame ${mfn}, beyond memory`);
      return;
    }
    if (owner !== owners[table]) {
      const rights = level === 1 ? granted.get(owners[table] ?? 0)?.get(mfn) : undefined;
      const isAllowed = rights !== undefined && (rights || !isWritable);
      // It had been shared with the domain, which has given it back and maps it still.
      const wasShared = level === 1 && ownShared(owners[table] ?? 0).includes(mfn);
      if (!isAllowed && !wasShared) found.push(`${where} leads to frame ${mfn} of ${owner}`);
      use(mfn, isWritable && isPv(owner));
      return;
    }
    if (level === 1 && isWritable && pages.types[mfn] !== WRITABLE_PAGE) {
      found.push(`${where} maps frame ${mfn} writable, of type ${pages.types[mfn]}`);
    }
    const type = pages.types[mfn];
    const isTable = type === level - 1 || (type === level && !isWritable);
    if (level > 1 && !isTable) found.push(`${where} leads to type ${type}`);
    use(mfn, level > 1 || isWritable);
  };
  for (let mfn = 0; mfn < owners.length; mfn += 1) {
    const level = pages.types[mfn] ?? 0;
    const flags = pages.flags[mfn] ?? 0;
    if ((flags & PINNED) !== 0) use(mfn, true);
    if ((flags & SHARED) !== 0) types[mfn] = (types[mfn] ?? 0) + 1;
    if (level === 0 || level > L4_TABLE || pages.counts[mfn] === 0) continue;
    for (let slot = 0; slot < ENTRIES; slot += 1) {
      if (isGuestSlot(level, slot)) follow(mfn, level, slot);
    }
  }
  for (const domain of domains.values()) {
    for (const vcpu of domain.vcpus) {
      if (vcpu.infoMaddr !== undefined) use(mfnOf(vcpu.infoMaddr), domain.type === 'pv');
      if (domain.pv === undefined) continue;
      const { kernel, user } = paging.roots(vcpu);
      for (const root of [kernel, user]) if (root !== 0) use(root, true);
      for (const mfn of vcpu.pv?.gdtFrames ?? []) use(mfn, true);
      for (let page = 0; page < LDT_PAGES; page += 1) {
        const mfn = pageOf(memory, domain.pv.area, ldtPageOf(vcpu.id) + page);
        if (mfn !== undefined) use(mfn, true);
      }
    }
    for (const { domain: of, reference, flags } of domain.grants.mappings.values()) {
      const mfn = domains.get(of)?.grants.active.get(reference)?.mfn;
      if (mfn === undefined) found.push(`domain ${domain.id} maps grant ${reference} of ${of}`);
      else use(mfn, isPv(of) && (flags & GNTMAP.readOnly) === 0);
    }
  }
  for (let mfn = 0; mfn < owners.length; mfn += 1) {
    const what = `frame ${mfn} of ${owners[mfn]}`;
    if (frames.references[mfn] !== references[mfn]) {
      found.push(`${what} has ${references[mfn]} references, not ${frames.references[mfn]}`);
    }
    if (pages.counts[mfn] !== types[mfn]) {
      found.push(`${what} (type ${pages.types[mfn]}): ${types[mfn]}, not ${pages.counts[mfn]}`);
    }
  }
  return found;
};

/** Shadow tables of a vCPU without paging lead where the P2M does. */
const shadowProblems = ({ id, shadow, p2m, maximumPages }: XenDomain): string[] => {
  const found: string[] = [];
  if (shadow === undefined) return found;
  for (let gfn = 0; gfn < maximumPages; gfn += 1) {
    const leaf = shadow.path(0, gfn * 4096).find(({ level }) => level === 1);
    if (leaf === undefined || (leaf.entry & 1n) === 0n) continue;
    const mfn = Number((leaf.entry >> 12n) & 0xff_ffff_ffffn);
    const own = p2m.lookup(gfn as Gfn);
    const isStale = own.mfn !== mfn || ((leaf.entry & 2n) !== 0n && (own.access & 2) === 0);
    if (isStale) found.push(`shadow of gfn ${gfn} of domain ${id}: frame ${mfn}, not ${own.mfn}`);
  }
  return found;
};
