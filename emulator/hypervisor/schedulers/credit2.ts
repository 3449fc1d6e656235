/**
 * Credit2 in its idea: credit is burned by running, faster the smaller the weight; the candidate
 * with most credit runs; when it has none left, all are reset. Source: Xen common/sched/credit2.c,
 * heading comment "Credit2 scheduling".
 */
import { keyOf, type Scheduler } from './scheduler.ts';

/** CSCHED2_CREDIT_INIT: 10 ms, in ns. */
const INITIAL_CREDIT = 10_000_000;
const DEFAULT_WEIGHT = 256;

export const createCredit2 = (): Scheduler => {
  const credits = new Map<string, number>();
  return {
    name: 'credit2',
    pick(candidates) {
      const [first, ...rest] = candidates;
      if (first === undefined) return undefined;
      const credit = (vcpu: typeof first): number => credits.get(keyOf(vcpu)) ?? INITIAL_CREDIT;
      const best = rest.reduce((a, b) => (credit(b) > credit(a) ? b : a), first);
      if (credit(best) <= 0) {
        for (const vcpu of candidates) {
          credits.set(keyOf(vcpu), Math.min(INITIAL_CREDIT, credit(vcpu) + INITIAL_CREDIT));
        }
      }
      return best;
    },
    charge(vcpu, usedNs) {
      const weight = vcpu.domain.config.weight ?? DEFAULT_WEIGHT;
      const credit = credits.get(keyOf(vcpu)) ?? INITIAL_CREDIT;
      credits.set(keyOf(vcpu), credit - Math.ceil((usedNs * DEFAULT_WEIGHT) / weight));
    },
    save: () => Object.fromEntries(credits),
    restore(accounts) {
      credits.clear();
      for (const [key, value] of Object.entries(accounts)) credits.set(key, value);
    },
  };
};
