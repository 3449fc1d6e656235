/**
 * Round robin: the candidate that has waited longest, lowest domain and vCPU first among equals.
 */
import { keyOf, type Scheduler, type SchedulerAccounts } from './scheduler.ts';

export const createRoundRobin = (): Scheduler => {
  let turn = 0;
  const lastTurns = new Map<string, number>();
  return {
    name: 'round-robin',
    pick(candidates) {
      const [first, ...rest] = candidates;
      if (first === undefined) return undefined;
      const last = (vcpu: typeof first): number => lastTurns.get(keyOf(vcpu)) ?? 0;
      return rest.reduce((best, vcpu) => (last(vcpu) < last(best) ? vcpu : best), first);
    },
    charge(vcpu) {
      turn += 1;
      lastTurns.set(keyOf(vcpu), turn);
    },
    save: (): SchedulerAccounts => ({ ...Object.fromEntries(lastTurns), turn }),
    restore(accounts) {
      lastTurns.clear();
      for (const [key, value] of Object.entries(accounts)) {
        if (key === 'turn') turn = value;
        else lastTurns.set(key, value);
      }
    },
  };
};
