/**
 * What has become of each domain's pages, in numbers.
 */
import type { MemoryCounts } from '../../machine.ts';
import type { SavedPart } from '../hypervisor.ts';

export type Counts = { -readonly [Name in keyof MemoryCounts]: MemoryCounts[Name] };

export interface CountsByDomain extends SavedPart {
  of(domain: { readonly id: number }): Counts;
}

const none = (): Counts => ({
  shared: 0,
  paged: 0,
  onDemand: 0,
  shares: 0,
  unshares: 0,
  pageOuts: 0,
  pageIns: 0,
  populates: 0,
  dirtied: 0,
});

export const createCounts = (): CountsByDomain => {
  const all = new Map<number, Counts>();
  return {
    of({ id }) {
      let counts = all.get(id);
      if (counts === undefined) {
        counts = none();
        all.set(id, counts);
      }
      return counts;
    },
    save: () => [...all].map(([id, counts]) => [id, { ...counts }]),
    restore(saved) {
      all.clear();
      for (const [id, counts] of saved as [number, Counts][]) all.set(id, { ...counts });
    },
  };
};
