/**
 * Page sharing: a scan that belongs to Dom0 looks at the memory of domains on a timer. Pages of zeros
 * get one read-only frame; in the mode `identical` so do pages of any equal content. A guest's write
 * is an EPT violation that gets it a frame of its own. Frames that are shared have OWNER_SHARED.
 */
import type { SharingConfig } from '../../machine.ts';
import { type Gfn, type Mfn, maddrOf } from '../../memory/addresses.ts';
import { hostAddressOf } from '../../memory/machine-memory.ts';
import { hasPageStates, isRunning, type XenDomain } from '../domain.ts';
import { OWNER_SHARED } from '../frames.ts';
import type { Hypervisor, SavedPart } from '../hypervisor.ts';
import { EPT_EXECUTE, EPT_READ } from '../p2m.ts';
import { changeP2m, emitOf } from '../p2m-changes.ts';
import { timersOf } from '../timers.ts';
import type { CountsByDomain } from './counts.ts';
import type { LogDirty } from './log-dirty.ts';
import { hashOfPage, isSamePage, isZeroPage } from './page-content.ts';

export interface Sharing extends SavedPart {
  /** What the scan does; undefined: it is off. */
  readonly config: SharingConfig | undefined;
  /** Frames that are shared. */
  readonly frames: number;
  /** Uses of a shared frame; 0 for any other. */
  references(mfn: Mfn): number;
  /** Starts the scan, or ends it; what is shared stays so. */
  configure(config: SharingConfig | undefined): void;
  /** Looks at so many pages, where it left off; how many it has shared. */
  scan(pages: number, mode: SharingConfig['mode']): number;
  /** Gives a gfn a frame of its own. */
  unshare(domain: XenDomain, gfn: Gfn): 'ready' | 'no-frame';
  /** A gfn that had a shared frame has it no more. */
  forget(mfn: Mfn): void;
  /** The domain has ended; its P2M is still there. */
  drop(domain: XenDomain): void;
}

const TIMER = 'sharing';
const NS_PER_MS = 1_000_000;
const READ_ONLY = EPT_READ | EPT_EXECUTE;

interface Place {
  readonly domain: number;
  readonly gfn: number;
}

export const createSharing = (
  hypervisor: Hypervisor,
  counts: CountsByDomain,
  dirty: LogDirty,
  take: (domain: XenDomain) => Mfn | undefined,
): Sharing => {
  const { hardware, frames, events } = hypervisor;
  const { memory } = hardware;
  const timers = timersOf(hypervisor);
  let config: SharingConfig | undefined;
  const references = new Map<number, number>();
  let zeroFrame: number | undefined;
  /** Shared frames by the hash of their content. */
  const stable = new Map<number, number>();
  /** Pages that were looked at in this round, by hash; they may have changed since. */
  const seen = new Map<number, Place>();
  let cursor: Place = { domain: 0, gfn: 0 };

  const hostOf = (mfn: number): number => hostAddressOf(maddrOf(mfn as Mfn));
  const scanned = (): XenDomain[] =>
    [...hypervisor.domains.values()].filter(
      (domain) => domain.id > 0 && hasPageStates(domain) && mayScan(domain),
    );
  const ownFrame = (domain: XenDomain, gfn: Gfn): Mfn | undefined => {
    const type = domain.p2m.typeOf(gfn);
    if (type !== 'ram' && type !== 'logdirty') return undefined;
    const mfn = domain.p2m.mfnOf(gfn);
    const isOwn = mfn !== undefined && frames.owners[mfn] === domain.id && !frames.isHeld(mfn);
    return isOwn ? mfn : undefined;
  };
  const tell = (
    domain: XenDomain,
    kind: 'page-shared' | 'page-unshared',
    gfn: Gfn,
    from: number,
    to: number,
    shared: number,
  ): void => {
    if (!events.wants(kind)) return;
    const left = references.get(shared) ?? 0;
    emitOf(hypervisor, domain, {
      kind,
      gfn,
      oldMfn: from as Mfn,
      mfn: to as Mfn,
      references: left,
    });
  };
  /** Makes the gfn's own frame one that may be shared. */
  const found = (domain: XenDomain, gfn: Gfn, mfn: Mfn): boolean => {
    if (!changeP2m(hypervisor, domain, gfn, 'shared', mfn, READ_ONLY)) return false;
    frames.give(mfn, OWNER_SHARED);
    references.set(mfn, 1);
    count(domain);
    tell(domain, 'page-shared', gfn, mfn, mfn, mfn);
    return true;
  };
  const join = (domain: XenDomain, gfn: Gfn, mfn: Mfn, shared: number): boolean => {
    if (!changeP2m(hypervisor, domain, gfn, 'shared', shared as Mfn, READ_ONLY)) return false;
    frames.release(mfn);
    references.set(shared, (references.get(shared) ?? 0) + 1);
    count(domain);
    tell(domain, 'page-shared', gfn, mfn, shared, shared);
    return true;
  };
  const count = (domain: XenDomain): void => {
    const own = counts.of(domain);
    own.shared += 1;
    own.shares += 1;
  };
  const shareZero = (domain: XenDomain, gfn: Gfn, mfn: Mfn): boolean => {
    if (zeroFrame !== undefined) return join(domain, gfn, mfn, zeroFrame);
    if (!found(domain, gfn, mfn)) return false;
    zeroFrame = mfn;
    return true;
  };
  /** Shares a page with another of its content, if one is known; how many pages are shared by it. */
  const shareEqual = (domain: XenDomain, gfn: Gfn, mfn: Mfn): number => {
    const hash = hashOfPage(memory, hostOf(mfn));
    const known = stable.get(hash);
    if (known !== undefined) {
      const isEqual = isSamePage(memory, hostOf(known), hostOf(mfn));
      return isEqual && join(domain, gfn, mfn, known) ? 1 : 0;
    }
    const place = seen.get(hash);
    const other = place && hypervisor.domains.get(place.domain);
    const otherGfn = (place?.gfn ?? 0) as Gfn;
    const otherMfn = other && mayScan(other) ? ownFrame(other, otherGfn) : undefined;
    if (other === undefined || otherMfn === undefined || otherMfn === mfn) {
      seen.set(hash, { domain: domain.id, gfn });
      return 0;
    }
    if (!isSamePage(memory, hostOf(otherMfn), hostOf(mfn))) {
      seen.set(hash, { domain: domain.id, gfn });
      return 0;
    }
    if (!found(other, otherGfn, otherMfn)) return 0;
    stable.set(hash, otherMfn);
    seen.delete(hash);
    return join(domain, gfn, mfn, otherMfn) ? 2 : 1;
  };
  /** The domain that the scan goes on with, from which gfn; the next one after the last page. */
  const nextPlace = (domains: readonly XenDomain[]): XenDomain | undefined => {
    const next = domains.find(({ id }) => id >= cursor.domain);
    if (next !== undefined) {
      if (next.id !== cursor.domain) cursor = { domain: next.id, gfn: 0 };
      return next;
    }
    seen.clear();
    cursor = { domain: 0, gfn: 0 };
    return domains[0];
  };
  const sharing: Sharing = {
    get config() {
      return config;
    },
    get frames() {
      return references.size;
    },
    references: (mfn) => references.get(mfn) ?? 0,
    configure(next) {
      config = next;
      timers.set(TIMER, next && hypervisor.nowNs + next.intervalMs * NS_PER_MS);
    },
    scan(pages, mode) {
      const domains = scanned();
      let left = pages;
      let shared = 0;
      // Each domain is begun at most twice: from the cursor, and from its start.
      for (let begun = 0; begun <= domains.length && left > 0; begun += 1) {
        const domain = nextPlace(domains);
        if (domain === undefined) break;
        let { gfn } = cursor;
        for (; gfn < domain.maximumPages && left > 0; gfn += 1) {
          const mfn = ownFrame(domain, gfn as Gfn);
          if (mfn === undefined) continue;
          left -= 1;
          if (isZeroPage(memory, hostOf(mfn))) {
            if (shareZero(domain, gfn as Gfn, mfn)) shared += 1;
          } else if (mode === 'identical') shared += shareEqual(domain, gfn as Gfn, mfn);
        }
        const isThrough = gfn >= domain.maximumPages;
        cursor = isThrough ? { domain: domain.id + 1, gfn: 0 } : { domain: domain.id, gfn };
      }
      return shared;
    },
    unshare(domain, gfn) {
      const shared = domain.p2m.mfnOf(gfn);
      if (shared === undefined) throw new Error(`gfn ${gfn} has no frame to share.`);
      const isLast = references.get(shared) === 1;
      const mfn = isLast ? shared : take(domain);
      if (mfn === undefined) return 'no-frame';
      if (isLast) {
        remove(shared);
        frames.give(shared, domain.id);
      } else {
        const host = hostOf(mfn);
        if (shared === zeroFrame) memory.bytes.fill(0, host, host + 4096);
        else memory.bytes.copyWithin(host, hostOf(shared), hostOf(shared) + 4096);
        hardware.noteWrite(maddrOf(mfn), 4096);
        references.set(shared, (references.get(shared) ?? 0) - 1);
      }
      dirty.map(domain, gfn, mfn, true);
      const own = counts.of(domain);
      own.shared -= 1;
      own.unshares += 1;
      tell(domain, 'page-unshared', gfn, shared, mfn, shared);
      return 'ready';
    },
    forget(mfn) {
      const left = (references.get(mfn) ?? 1) - 1;
      if (left > 0) {
        references.set(mfn, left);
        return;
      }
      remove(mfn);
      frames.release(mfn);
    },
    drop(domain) {
      domain.p2m.eachRun((_gfn, pages, type, mfn, _access) => {
        if (type !== 'shared' || mfn === undefined) return;
        for (let page = 0; page < pages; page += 1) this.forget(mfn as Mfn);
      });
      counts.of(domain).shared = 0;
    },
    save: () => ({
      config: config === undefined ? null : { ...config },
      references: [...references],
      zeroFrame: zeroFrame ?? null,
      stable: [...stable],
      seen: [...seen].map(([hash, { domain, gfn }]) => [hash, domain, gfn]),
      cursor: { ...cursor },
    }),
    restore(saved) {
      const state = saved as unknown as SavedSharing;
      config = state.config ?? undefined;
      zeroFrame = state.zeroFrame ?? undefined;
      cursor = { ...state.cursor };
      for (const map of [references, stable, seen]) map.clear();
      for (const [mfn, uses] of state.references) references.set(mfn, uses);
      for (const [hash, mfn] of state.stable) stable.set(hash, mfn);
      for (const [hash, domain, gfn] of state.seen) seen.set(hash, { domain, gfn });
    },
  };
  /** A frame that is shared no more; its content is still what it was. */
  const remove = (mfn: Mfn): void => {
    references.delete(mfn);
    if (zeroFrame === mfn) {
      zeroFrame = undefined;
      return;
    }
    const hash = hashOfPage(memory, hostOf(mfn));
    if (stable.get(hash) === mfn) stable.delete(hash);
  };
  timers.define(TIMER, (nowNs) => {
    if (config === undefined) return;
    sharing.scan(config.pagesPerScan, config.mode);
    timers.set(TIMER, nowNs + config.intervalMs * NS_PER_MS);
  });
  return sharing;
};

const mayScan = (domain: XenDomain): boolean => isRunning(domain) || domain.state === 'paused';

interface SavedSharing {
  readonly config: SharingConfig | null;
  readonly references: readonly (readonly [number, number])[];
  readonly zeroFrame: number | null;
  readonly stable: readonly (readonly [number, number])[];
  readonly seen: readonly (readonly [number, number, number])[];
  readonly cursor: Place;
}
