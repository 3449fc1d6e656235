/**
 * The time that policies see: that of the last tick of a timer. So it does not depend on whether a
 * page is brought in while a guest runs, or after it has left.
 */
import type { Hypervisor, SavedPart } from '../hypervisor.ts';
import { timersOf } from '../timers.ts';

export interface MemoryClock extends SavedPart {
  readonly nowNs: number;
  /** Begins to tick, once somebody needs the time. */
  start(): void;
}

const TIMER = 'memory clock';
const TICK_NS = 100_000;

export const createMemoryClock = (hypervisor: Hypervisor): MemoryClock => {
  const timers = timersOf(hypervisor);
  let nowNs = 0;
  let ticks = false;
  timers.define(TIMER, (time) => {
    nowNs = time;
    timers.set(TIMER, time + TICK_NS);
  });
  return {
    get nowNs() {
      return nowNs;
    },
    start() {
      if (ticks) return;
      ticks = true;
      timers.set(TIMER, hypervisor.nowNs + TICK_NS);
    },
    save: () => [nowNs, ticks],
    restore(saved) {
      [nowNs, ticks] = saved as [number, boolean];
    },
  };
};
