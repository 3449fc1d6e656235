/**
 * Overcommitted memory: who gives frames when they run short. By watermarks of free frames, on a
 * timer, the mildest means first: a lower target for the domains' balloons, then page sharing, then
 * swap; each later one only if the one before has not been enough when the timer fires next. Whoever
 * can not wait, since a page is touched for which no frame is left, gets frames by sharing and swap.
 */
import type { OvercommitConfig } from '../../machine.ts';
import { hasPageStates, isRunning, type XenDomain } from '../domain.ts';
import type { Hypervisor, SavedPart } from '../hypervisor.ts';
import { timersOf } from '../timers.ts';
import { setMemoryTarget } from '../toolstack/memory.ts';
import type { MemoryClock } from './clock.ts';
import type { CountsByDomain } from './counts.ts';
import type { Sharing } from './sharing.ts';
import type { Swap } from './swap.ts';

export interface Balance extends SavedPart {
  readonly config: OvercommitConfig | undefined;
  configure(config: OvercommitConfig | undefined): void;
  /** Frees frames at once for a domain that can not go on; false if none could be. */
  makeRoom(): boolean;
  /** Frames that guests do not get, so that tables can be made. */
  readonly reserve: number;
  /** A domain that is paused until frames are free. */
  wait(domain: XenDomain): void;
  readonly isWaitedFor: boolean;
}

const TIMER = 'overcommit';
const NS_PER_MS = 1_000_000;
/** Pages that are swapped out at once for one that is wanted. */
const BATCH = 32;
/** Frames kept for EPT tables: reclaiming splits large pages. */
const RESERVE = 64;
/** Under this a balloon is not asked to go: 1 MiB. */
const LEAST_PAGES = 256;
/** Pages that one look of the scan covers when frames are short. */
const SCAN_PAGES = 65_536;

export const createBalance = (
  hypervisor: Hypervisor,
  counts: CountsByDomain,
  sharing: Sharing,
  swap: Swap,
  clock: MemoryClock,
): Balance => {
  const { frames } = hypervisor;
  const timers = timersOf(hypervisor);
  let config: OvercommitConfig | undefined;
  /** How many means have been used since frames became short. */
  let pressed = 0;
  let scannedNs = -1;
  const waiting = new Set<number>();

  const percent = (share: number): number => Math.ceil((frames.owners.length * share) / 100);
  const guests = (): XenDomain[] =>
    [...hypervisor.domains.values()].filter(
      (domain) => domain.id > 0 && (isRunning(domain) || domain.state === 'paused'),
    );
  const resident = (domain: XenDomain): number => {
    const { shared, paged, onDemand } = counts.of(domain);
    return domain.pages - shared - paged - onDemand;
  };
  /** Asks each balloon for its share of what is missing. */
  const squeeze = (missing: number): void => {
    const domains = guests();
    const all = domains.reduce((sum, domain) => sum + domain.pages, 0);
    for (const domain of domains) {
      const share = Math.ceil((missing * domain.pages) / Math.max(all, 1));
      const target = Math.max(LEAST_PAGES, Math.min(domain.targetPages, domain.pages) - share);
      if (target < domain.targetPages) setMemoryTarget(hypervisor, domain, target);
    }
  };
  const scan = (): void => {
    sharing.scan(SCAN_PAGES, sharing.config?.mode ?? 'zero');
  };
  /** Swaps pages of the domain out that has most of them in memory, until enough frames are free. */
  const swapOut = (wanted: number): void => {
    while (frames.free < wanted) {
      const swappable = guests().filter(hasPageStates);
      const [largest] = swappable.sort((a, b) => resident(b) - resident(a) || a.id - b.id);
      if (largest === undefined || !swap.evict(largest)) return;
    }
  };
  const wake = (): void => {
    for (const id of waiting) {
      const domain = hypervisor.domains.get(id);
      if (domain?.state === 'paused' && frames.free <= RESERVE) continue;
      waiting.delete(id);
      if (domain?.state !== 'paused') continue;
      domain.state = 'running';
      domain.explanation = undefined;
    }
  };
  const MEANS = [squeeze, scan, (missing: number) => swapOut(frames.free + missing)];
  const check = ({ lowPercent, highPercent }: OvercommitConfig): void => {
    const low = percent(lowPercent);
    const high = percent(highPercent);
    if (frames.free >= high) pressed = 0;
    else if (frames.free < low || pressed > 0) {
      MEANS[Math.min(pressed, MEANS.length - 1)]?.(high - frames.free);
      pressed = Math.min(pressed + 1, MEANS.length);
    }
    wake();
  };
  timers.define(TIMER, (nowNs) => {
    if (config === undefined) return;
    check(config);
    timers.set(TIMER, nowNs + config.intervalMs * NS_PER_MS);
  });
  return {
    get config() {
      return config;
    },
    configure(next) {
      config = next;
      if (next !== undefined) clock.start();
      timers.set(TIMER, next && hypervisor.nowNs + next.intervalMs * NS_PER_MS);
    },
    get reserve() {
      return config === undefined ? 0 : RESERVE;
    },
    makeRoom() {
      if (config === undefined) return false;
      const before = frames.free;
      // A scan that finds nothing is not done again before time has passed.
      if (scannedNs !== clock.nowNs) {
        scannedNs = clock.nowNs;
        scan();
      }
      if (frames.free < before + BATCH) swapOut(before + BATCH);
      return frames.free > before;
    },
    wait(domain) {
      waiting.add(domain.id);
    },
    get isWaitedFor() {
      return config !== undefined && waiting.size > 0;
    },
    save: () => ({
      config: config === undefined ? null : { ...config },
      pressed,
      scannedNs,
      waiting: [...waiting],
    }),
    restore(saved) {
      const state = saved as unknown as SavedBalance;
      config = state.config ?? undefined;
      ({ pressed, scannedNs } = state);
      waiting.clear();
      for (const id of state.waiting) waiting.add(id);
    },
  };
};

interface SavedBalance {
  readonly config: OvercommitConfig | null;
  readonly pressed: number;
  readonly scannedNs: number;
  readonly waiting: readonly number[];
}
