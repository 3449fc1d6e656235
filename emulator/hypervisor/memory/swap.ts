/**
 * Memory swap: pages of a domain go to slots of a swap device, and come back into fresh frames when
 * they are touched. A domain has a target, the number of its pages that are away; when one comes
 * back another goes, so that it stays. The order of steps makes that no page is lost: it is stored
 * before the P2M says so, and its slot is freed after the P2M has its new frame.
 */
import type { ReplacementName } from '../../machine.ts';
import { type Gfn, type Mfn, maddrOf } from '../../memory/addresses.ts';
import { hostAddressOf } from '../../memory/machine-memory.ts';
import { hasPageStates, type XenDomain } from '../domain.ts';
import type { Hypervisor, SavedPart, SavedValue } from '../hypervisor.ts';
import { EPT_ACCESSED } from '../p2m.ts';
import { changeToPaged, emitOf } from '../p2m-changes.ts';
import type { MemoryClock } from './clock.ts';
import type { CountsByDomain } from './counts.ts';
import type { LogDirty } from './log-dirty.ts';
import { REPLACEMENTS } from './replacement/catalog.ts';
import type { Candidates, Replacement } from './replacement/replacement.ts';
import type { SwapSlots } from './swap-slots.ts';

export interface Swap extends SavedPart {
  readonly slots: SwapSlots;
  /** How many pages of a domain should be away, and who chooses them. */
  setTarget(domain: XenDomain, pages: number, policy: ReplacementName): void;
  targetOf(domain: XenDomain): number;
  policyOf(domain: XenDomain): ReplacementName;
  /** Sends pages away or brings them back until the target is met; false if that is not possible. */
  settle(domain: XenDomain): boolean;
  /** Sends one page away, by the domain's policy; false if none can go. */
  evict(domain: XenDomain): boolean;
  /** Sends this page away; false if it is no page that may go, or can not be stored. */
  pageOut(domain: XenDomain, gfn: Gfn): boolean;
  /** Brings a page back into a frame. `lost`: the device has not what was stored. */
  pageIn(domain: XenDomain, gfn: Gfn, isWritten: boolean): 'ready' | 'no-frame' | 'lost';
  /** What a page that is away holds. */
  peek(domain: XenDomain, gfn: Gfn): Uint8Array | undefined;
  /** A page that is away is not wanted any more; its P2M entry has been changed. */
  forget(slot: number): void;
  /** The domain has ended. */
  drop(domain: XenDomain): void;
}

/** So many translations are forgotten one by one; more are forgotten with all others. */
const MOST_SINGLE = 16;
/** Pages that came back last stay: an instruction may need many at once. */
const RECENT = 64;

interface Swapped {
  target: number;
  policy: ReplacementName;
  /** In order, each once. */
  readonly recent: Set<number>;
  readonly replacement: Replacement;
}

export const createSwap = (
  hypervisor: Hypervisor,
  slots: SwapSlots,
  counts: CountsByDomain,
  dirty: LogDirty,
  clock: MemoryClock,
  take: (domain: XenDomain) => Mfn | undefined,
  defaultPolicy: ReplacementName,
): Swap => {
  const { hardware, frames, events } = hypervisor;
  const { bytes } = hardware.memory;
  const domains = new Map<number, Swapped>();

  const pageOf = (mfn: Mfn): Uint8Array => {
    const at = hostAddressOf(maddrOf(mfn));
    return bytes.subarray(at, at + 4096);
  };
  const isSwappable = (domain: XenDomain, gfn: number): boolean => {
    if (!hasPageStates(domain)) return false;
    const type = domain.p2m.typeOf(gfn as Gfn);
    if (type !== 'ram' && type !== 'logdirty') return false;
    const mfn = domain.p2m.mfnOf(gfn as Gfn);
    return mfn !== undefined && frames.owners[mfn] === domain.id && !frames.isHeld(mfn);
  };
  const candidatesOf = (domain: XenDomain, recent: ReadonlySet<number>): Candidates => {
    const taken: Gfn[] = [];
    return {
      end: domain.maximumPages,
      get nowNs() {
        return clock.nowNs;
      },
      mayGo: (gfn) => isSwappable(domain, gfn) && !recent.has(gfn),
      isAccessed: (gfn) => (domain.p2m.takeFlags(gfn as Gfn, 0) & EPT_ACCESSED) !== 0,
      takeAccessed(gfn) {
        const isSet = (domain.p2m.takeFlags(gfn as Gfn, EPT_ACCESSED) & EPT_ACCESSED) !== 0;
        if (isSet) taken.push(gfn as Gfn);
        return isSet;
      },
      settle() {
        if (taken.length > MOST_SINGLE) hardware.invalidateTranslations();
        else {
          for (const gfn of taken) {
            const mfn = domain.p2m.mfnOf(gfn);
            if (mfn !== undefined) hardware.forgetFrame?.(gfn, mfn);
          }
        }
        taken.length = 0;
      },
    };
  };
  const begin = (domain: XenDomain, policy: ReplacementName): Swapped => {
    clock.start();
    const recent = new Set<number>();
    const pages = candidatesOf(domain, recent);
    return {
      target: 0,
      policy,
      recent,
      replacement: REPLACEMENTS[policy].create(pages, domain.id),
    };
  };
  const swappedOf = (domain: XenDomain): Swapped => {
    const known = domains.get(domain.id);
    if (known !== undefined) return known;
    const made = begin(domain, defaultPolicy);
    domains.set(domain.id, made);
    return made;
  };
  const tell = (
    domain: XenDomain,
    direction: 'out' | 'in',
    gfn: Gfn,
    mfn: Mfn,
    slot: number,
  ): void => {
    if (!events.wants('page-swapped')) return;
    const { policy } = swappedOf(domain);
    emitOf(hypervisor, domain, { kind: 'page-swapped', direction, gfn, mfn, slot, policy });
  };
  const pageOut: Swap['pageOut'] = (domain, gfn) => {
    const mfn = domain.p2m.mfnOf(gfn);
    if (mfn === undefined || !isSwappable(domain, gfn)) return false;
    const slot = slots.store({ domain: domain.id, gfn }, pageOf(mfn));
    if (slot === undefined) return false;
    if (!changeToPaged(hypervisor, domain, gfn, slot)) {
      slots.free(slot);
      return false;
    }
    frames.release(mfn);
    hypervisor.emptied.note(mfn, 'swapped', domain.id, gfn);
    const own = counts.of(domain);
    own.paged += 1;
    own.pageOuts += 1;
    tell(domain, 'out', gfn, mfn, slot);
    return true;
  };
  const evict: Swap['evict'] = (domain) => {
    const gfn = swappedOf(domain).replacement.choose();
    return gfn !== undefined && pageOut(domain, gfn);
  };
  const bringIn = (
    domain: XenDomain,
    gfn: Gfn,
    isWritten: boolean,
  ): 'ready' | 'no-frame' | 'lost' => {
    const slot = domain.p2m.slotOf(gfn);
    const page = slots.load(slot, { domain: domain.id, gfn });
    if (page === undefined) return 'lost';
    const mfn = take(domain);
    if (mfn === undefined) return 'no-frame';
    pageOf(mfn).set(page);
    hardware.noteWrite(maddrOf(mfn), 4096);
    if (!dirty.map(domain, gfn, mfn, isWritten)) {
      frames.release(mfn);
      return 'no-frame';
    }
    slots.free(slot);
    const own = counts.of(domain);
    own.paged -= 1;
    own.pageIns += 1;
    tell(domain, 'in', gfn, mfn, slot);
    return 'ready';
  };
  const note = ({ recent }: Swapped, end: number, gfn: Gfn): void => {
    recent.delete(gfn);
    recent.add(gfn);
    const [first] = recent;
    if (first !== undefined && recent.size > Math.min(RECENT, end >>> 2)) recent.delete(first);
  };
  return {
    slots,
    setTarget(domain, pages, policy) {
      const known = domains.get(domain.id);
      const swapped = known?.policy === policy ? known : begin(domain, policy);
      swapped.target = pages;
      domains.set(domain.id, swapped);
      domain.p2m.merges = pages === 0;
      // Each page has an accessed bit of its own; where frames lack a large page is taken whole.
      if (pages > 0) domain.p2m.splitAll();
    },
    targetOf: ({ id }) => domains.get(id)?.target ?? 0,
    policyOf: (domain) => swappedOf(domain).policy,
    settle(domain) {
      const { target } = swappedOf(domain);
      const own = counts.of(domain);
      while (own.paged < target) if (!evict(domain)) return false;
      if (own.paged === target) return true;
      const away: Gfn[] = [];
      domain.p2m.eachRun((gfn, pages, type) => {
        for (let one = gfn; type === 'paged' && one < gfn + pages; one += 1) away.push(one as Gfn);
      });
      return away
        .slice(0, own.paged - target)
        .every((gfn) => bringIn(domain, gfn, false) === 'ready');
    },
    evict,
    pageOut,
    pageIn(domain, gfn, isWritten) {
      const swapped = swappedOf(domain);
      note(swapped, domain.maximumPages, gfn);
      // With a frame at hand the page comes first: then nothing is away that need not be.
      if (frames.free > 0) {
        const result = bringIn(domain, gfn, isWritten);
        if (result === 'ready' && counts.of(domain).paged < swapped.target) evict(domain);
        return result;
      }
      if (swapped.target > 0) evict(domain);
      return bringIn(domain, gfn, isWritten);
    },
    peek: (domain, gfn) => slots.load(domain.p2m.slotOf(gfn), { domain: domain.id, gfn }),
    forget: (slot) => slots.free(slot),
    drop(domain) {
      domain.p2m.eachRun((gfn, pages, type) => {
        if (type !== 'paged') return;
        for (let one = gfn; one < gfn + pages; one += 1) slots.free(domain.p2m.slotOf(one as Gfn));
      });
      counts.of(domain).paged = 0;
      domains.delete(domain.id);
    },
    save: () => ({
      domains: [...domains].map(([id, { target, policy, recent, replacement }]) => [
        id,
        { target, policy, recent: [...recent], replacement: replacement.save() },
      ]),
      device: slots.save(),
    }),
    restore(saved) {
      const { domains: list, device } = saved as unknown as SavedSwap;
      slots.restore(device);
      domains.clear();
      for (const [id, { target, policy, recent, replacement }] of list) {
        const domain = hypervisor.domains.get(id);
        if (domain === undefined) continue;
        const swapped = begin(domain, policy);
        swapped.target = target;
        for (const gfn of recent) swapped.recent.add(gfn);
        swapped.replacement.restore(replacement);
        domains.set(id, swapped);
        domain.p2m.merges = target === 0;
      }
    },
  };
};

interface SavedSwap {
  readonly domains: readonly [
    number,
    {
      readonly target: number;
      readonly policy: ReplacementName;
      readonly recent: readonly number[];
      readonly replacement: SavedValue;
    },
  ][];
  readonly device: SavedValue;
}
