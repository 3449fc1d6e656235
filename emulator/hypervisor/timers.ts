/**
 * Timers of the hypervisor's own units, in simulated time: a scan that comes every so often. A timer
 * fires once a pCPU's clock has reached it; those of one time fire in the order of their names.
 */
import type { Hypervisor, SavedPart } from './hypervisor.ts';

export interface Timers extends SavedPart {
  /** Names what a timer does. */
  define(name: string, fire: (nowNs: number) => void): void;
  /** Sets a timer to an absolute time, or takes it off. */
  set(name: string, dueNs: number | undefined): void;
  readonly nextNs: number | undefined;
  fire(nowNs: number): void;
}

/** The timers of a hypervisor; they are a part of it from the first call on. */
export const timersOf = (hypervisor: Hypervisor): Timers => {
  const known = hypervisor.timers;
  if (known !== undefined) return known;
  const timers = createTimers();
  hypervisor.timers = timers;
  hypervisor.parts.set('timers', timers);
  return timers;
};

const createTimers = (): Timers => {
  const actions = new Map<string, (nowNs: number) => void>();
  const due = new Map<string, number>();
  let nextNs: number | undefined;
  const update = (): void => {
    nextNs = due.size === 0 ? undefined : Math.min(...due.values());
  };
  return {
    define(name, fire) {
      actions.set(name, fire);
    },
    set(name, dueNs) {
      if (dueNs === undefined) due.delete(name);
      else due.set(name, dueNs);
      update();
    },
    get nextNs() {
      return nextNs;
    },
    fire(nowNs) {
      if (nextNs === undefined || nextNs > nowNs) return;
      const ready = [...due].filter(([, at]) => at <= nowNs);
      ready.sort(([a, first], [b, second]) => first - second || (a < b ? -1 : 1));
      for (const [name] of ready) due.delete(name);
      update();
      for (const [name] of ready) actions.get(name)?.(nowNs);
    },
    save: () => [...due],
    restore(saved) {
      due.clear();
      for (const [name, at] of saved as [string, number][]) due.set(name, at);
      update();
    },
  };
};
