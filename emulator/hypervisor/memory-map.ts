/**
 * What every machine frame is used as, and who maps one: owners, P2Ms, shadow page tables, page
 * types and grants, read together. Looking changes nothing.
 */
import {
  FRAME_KINDS,
  type FrameKind,
  type MachineFrameView,
  type MachineMemoryMap,
  NO_DOMAIN,
} from '../machine.ts';
import { type Mfn, maddrOf } from '../memory/addresses.ts';
import type { XenDomain } from './domain.ts';
import { type Frames, OWNER_FREE, OWNER_HYPERVISOR, OWNER_SHARED } from './frames.ts';
import { GNTMAP } from './grants/map.ts';
import type { Hypervisor } from './hypervisor.ts';
import { permissionsOf } from './p2m.ts';
import {
  L1_TABLE,
  L4_TABLE,
  PAGE_TYPES,
  PINNED,
  SEG_DESC_PAGE,
  SHARED,
} from './pv/mmu/page-types.ts';

/** Of the places that lead to a frame, so many are told one by one. */
const MOST_GFNS = 16;

const NUMBERS = Object.fromEntries(FRAME_KINDS.map((kind, number) => [kind, number])) as Readonly<
  Record<FrameKind, number>
>;

/** Later uses of a frame say more than earlier ones, and take their place. */
export const mapMemory = (hypervisor: Hypervisor): MachineMemoryMap => {
  const { frames, domains, emptied } = hypervisor;
  const kinds = new Uint8Array(frames.owners.length);
  const whose = new Uint16Array(frames.owners.length).fill(NO_DOMAIN);
  const mark = (mfn: number, kind: FrameKind, domain: number): void => {
    kinds[mfn] = NUMBERS[kind];
    whose[mfn] = domain;
  };
  markOwners(frames, kinds, whose);
  emptied.each((mfn, { reason, domain }) => mark(mfn, reason, domain));
  for (const domain of domains.values()) markDomain(domain, mark);
  markPvFrames(hypervisor, kinds);
  for (const { mfn } of eachGrant(hypervisor)) {
    if (kinds[mfn] === NUMBERS.ram) kinds[mfn] = NUMBERS.granted;
  }
  return { kinds, domains: whose };
};

/** There may be a million frames: nothing is looked up here. */
const markOwners = ({ owners }: Frames, kinds: Uint8Array, whose: Uint16Array): void => {
  const { ram, hypervisor, shared } = NUMBERS;
  for (let mfn = 0; mfn < owners.length; mfn += 1) {
    const owner = owners[mfn] as number;
    if (owner === OWNER_FREE) continue;
    if (owner === OWNER_HYPERVISOR) kinds[mfn] = hypervisor;
    else if (owner === OWNER_SHARED) kinds[mfn] = shared;
    else {
      kinds[mfn] = ram;
      whose[mfn] = owner;
    }
  }
};

const markDomain = (
  { id, p2m, shadow }: XenDomain,
  mark: (mfn: number, kind: FrameKind, domain: number) => void,
): void => {
  for (const mfn of p2m.tables()) mark(mfn, 'p2m-table', id);
  p2m.eachRun((_gfn, pages, type, first) => {
    if (first === undefined || (type !== 'special' && type !== 'logdirty')) return;
    const kind = type === 'special' ? 'special' : 'log-dirty';
    for (let mfn = first; mfn < first + pages; mfn += 1) mark(mfn, kind, id);
  });
  for (const { frame, table } of shadow?.pages ?? []) {
    mark(frame, 'shadow-table', id);
    if (table !== undefined) mark(table, 'page-table', id);
  }
};

/** What the owner of a frame is stays: only domains' frames and the M2P are of these kinds. */
const markPvFrames = ({ directPaging, frames }: Hypervisor, kinds: Uint8Array): void => {
  if (directPaging === undefined) return;
  const { m2p, pages } = directPaging.mmu;
  kinds.fill(NUMBERS.m2p, m2p.first, m2p.first + m2p.pages);
  for (let mfn = 0; mfn < frames.owners.length; mfn += 1) {
    if (((pages.flags[mfn] ?? 0) & SHARED) !== 0) kinds[mfn] = NUMBERS.special;
    if (pages.counts[mfn] === 0) continue;
    const type = pages.types[mfn] ?? 0;
    if (type >= L1_TABLE && type <= L4_TABLE) kinds[mfn] = NUMBERS['page-table'];
    if (type === SEG_DESC_PAGE) kinds[mfn] = NUMBERS.descriptors;
  }
};

interface GrantUse {
  readonly by: number;
  readonly mfn: number;
  readonly reference: number;
  readonly isReadOnly: boolean;
}

/** The grants that are mapped, by all who map them. */
const eachGrant = ({ domains }: Hypervisor): GrantUse[] =>
  [...domains.values()].flatMap(({ id: by, grants }) =>
    [...grants.mappings.values()].flatMap(({ domain, reference, flags }): GrantUse[] => {
      const mfn = domains.get(domain)?.grants.active.get(reference)?.mfn;
      if (mfn === undefined) return [];
      return [{ by, mfn, reference, isReadOnly: (flags & GNTMAP.readOnly) !== 0 }];
    }),
  );

export const viewFrame = (hypervisor: Hypervisor, mfn: number): MachineFrameView | undefined => {
  const { frames, domains, emptied, directPaging } = hypervisor;
  const owner = frames.owners[mfn];
  if (owner === undefined) return undefined;
  const map = mapMemory(hypervisor);
  const domain = map.domains[mfn] ?? NO_DOMAIN;
  const all = [...domains.values()];
  const gfns = all.flatMap((one) => placesOf(one, mfn));
  const pages = directPaging?.mmu.pages;
  const page = all.flatMap(({ shadow }) => shadow?.pages ?? []).find(({ frame }) => frame === mfn);
  const former = emptied.of(mfn);
  return {
    kind: FRAME_KINDS[map.kinds[mfn] ?? 0] ?? 'free',
    owner:
      owner === OWNER_FREE
        ? 'free'
        : owner === OWNER_HYPERVISOR
          ? 'hypervisor'
          : owner === OWNER_SHARED
            ? 'shared'
            : owner,
    domain: domain === NO_DOMAIN ? undefined : domain,
    label: labelOf(hypervisor, mfn, gfns),
    gfns: gfns.slice(0, MOST_GFNS),
    gfnCount: gfns.length,
    grants: eachGrant(hypervisor)
      .filter((grant) => grant.mfn === mfn)
      .map(({ by, reference, isReadOnly }) => ({ by, reference, isReadOnly })),
    pageType:
      pages === undefined || pages.counts[mfn] === 0
        ? undefined
        : {
            type: PAGE_TYPES[pages.types[mfn] ?? 0] ?? 'none',
            uses: pages.counts[mfn] ?? 0,
            isPinned: ((pages.flags[mfn] ?? 0) & PINNED) !== 0,
          },
    references: frames.references[mfn] ?? 0,
    shadows: page && { gfn: page.gfn, level: page.role.level },
    former: former && { domain: former.domain, gfn: former.gfn },
    isLeaving: frames.isLeaving(mfn),
  };
};

type Place = MachineFrameView['gfns'][number];

/** Where a domain's P2M leads to a frame. */
const placesOf = ({ id, p2m }: XenDomain, mfn: number): Place[] => {
  const places: Place[] = [];
  p2m.eachRun((gfn, pages, type, first, access) => {
    if (first === undefined) return;
    const permissions = permissionsOf(access);
    if (type === 'shared') {
      if (first !== mfn) return;
      for (let page = 0; page < pages; page += 1) {
        places.push({ domain: id, gfn: gfn + page, type, permissions });
      }
    } else if (mfn >= first && mfn < first + pages) {
      places.push({ domain: id, gfn: gfn + (mfn - first), type, permissions });
    }
  });
  return places;
};

const labelOf = (
  { domains, directPaging }: Hypervisor,
  mfn: number,
  places: readonly Place[],
): string | undefined => {
  for (const { domain, gfn } of places) {
    const label = domains.get(domain)?.labels.get(gfn);
    if (label !== undefined) return label;
  }
  if (mfn === directPaging?.scratch) return 'scratch page of direct paging';
  for (const { id, vcpus, sharedInfo, grants } of domains.values()) {
    const vcpu = vcpus.find(({ vmcs }) => vmcs === maddrOf(mfn as Mfn));
    if (vcpu !== undefined) return `VMCS of d${id}.v${vcpu.id}`;
    if (mfn === sharedInfo) return `shared_info of domain ${id}`;
    const index = grants.shared.indexOf(mfn as Mfn);
    if (index >= 0) return `grant table of domain ${id}, frame ${index}`;
    if (grants.status.includes(mfn as Mfn)) return `grant status of domain ${id}`;
  }
  return undefined;
};
