/**
 * Log-dirty mode: RAM is read-only until it is written; the first write of a page is noted in a
 * bitmap and makes it writable again. Source: Xen xen/arch/x86/mm/paging.c, paging_log_dirty_enable.
 */

import { fromBase64, toBase64 } from '../../base64.ts';
import type { Gfn, Mfn } from '../../memory/addresses.ts';
import type { XenDomain } from '../domain.ts';
import type { Hypervisor, SavedPart } from '../hypervisor.ts';
import { EPT_ALL, EPT_EXECUTE, EPT_READ } from '../p2m.ts';
import { changeP2m, emitOf } from '../p2m-changes.ts';
import type { CountsByDomain } from './counts.ts';

const READ_ONLY = EPT_READ | EPT_EXECUTE;

export interface LogDirty extends SavedPart {
  isOn(domain: XenDomain): boolean;
  /** Makes all RAM clean. */
  start(domain: XenDomain): void;
  stop(domain: XenDomain): void;
  /** What was written since the start or the last `clean`: gfns in order. */
  dirty(domain: XenDomain): Gfn[];
  /** Gives the dirty gfns and makes them clean. */
  clean(domain: XenDomain): Gfn[];
  /** The first write to a clean page. */
  note(domain: XenDomain, gfn: Gfn): void;
  /** Maps a frame that has come for a page of RAM; false without a frame for an EPT table. */
  map(domain: XenDomain, gfn: Gfn, mfn: Mfn, isWritten: boolean): boolean;
}

export const createLogDirty = (hypervisor: Hypervisor, counts: CountsByDomain): LogDirty => {
  /** One bit for each gfn, as long as the highest that is dirty. */
  const bitmaps = new Map<number, Uint8Array>();

  const mark = (domain: XenDomain, gfn: number): boolean => {
    let bits = bitmaps.get(domain.id) ?? new Uint8Array();
    if (gfn >= bits.length * 8) {
      const longer = new Uint8Array(Math.max(bits.length * 2, (gfn >>> 3) + 1));
      longer.set(bits);
      bits = longer;
      bitmaps.set(domain.id, bits);
    }
    const before = bits[gfn >>> 3] ?? 0;
    bits[gfn >>> 3] = before | (1 << (gfn & 7));
    return (before & (1 << (gfn & 7))) === 0;
  };
  const list = (domain: XenDomain): Gfn[] => {
    const found: Gfn[] = [];
    for (const [index, byte] of (bitmaps.get(domain.id) ?? []).entries()) {
      for (let bit = 0; byte >> bit !== 0; bit += 1) {
        if ((byte >> bit) & 1) found.push((index * 8 + bit) as Gfn);
      }
    }
    return found;
  };
  const changeAll = (
    { p2m }: XenDomain,
    from: 'ram' | 'logdirty',
    to: 'ram' | 'logdirty',
    access: number,
  ): void => {
    const leaves: Gfn[] = [];
    p2m.eachRun((gfn, pages, type, _mfn, _access, leafPages) => {
      if (type !== from) return;
      for (let one = gfn; one < gfn + pages; one += leafPages) leaves.push(one as Gfn);
    });
    for (const gfn of leaves) p2m.changeLeaf(gfn, to, access);
    hypervisor.hardware.invalidateTranslations();
  };
  const tell = (domain: XenDomain, gfn: Gfn, mfn: Mfn): void => {
    counts.of(domain).dirtied += 1;
    if (hypervisor.events.wants('log-dirty')) {
      emitOf(hypervisor, domain, { kind: 'log-dirty', gfn, mfn });
    }
  };
  return {
    isOn: ({ id }) => bitmaps.has(id),
    start(domain) {
      bitmaps.set(domain.id, new Uint8Array());
      changeAll(domain, 'ram', 'logdirty', READ_ONLY);
    },
    stop(domain) {
      bitmaps.delete(domain.id);
      changeAll(domain, 'logdirty', 'ram', EPT_ALL);
      domain.p2m.mergeAll();
    },
    dirty: list,
    clean(domain) {
      const found = list(domain);
      this.start(domain);
      return found;
    },
    note(domain, gfn) {
      const { mfn, pageBytes } = domain.p2m.lookup(gfn);
      if (mfn === undefined) return;
      if (changeP2m(hypervisor, domain, gfn, 'ram', mfn)) {
        mark(domain, gfn);
      } else {
        // No frame is left to split the large page: all of it counts as written.
        const pages = pageBytes / 4096;
        const first = gfn - (gfn % pages);
        domain.p2m.changeLeaf(gfn, 'ram', EPT_ALL);
        hypervisor.hardware.invalidateTranslations();
        for (let one = first; one < first + pages; one += 1) mark(domain, one);
      }
      tell(domain, gfn, mfn);
    },
    map(domain, gfn, mfn, isWritten) {
      const isClean = bitmaps.has(domain.id) && !isWritten;
      const done = isClean
        ? changeP2m(hypervisor, domain, gfn, 'logdirty', mfn, READ_ONLY)
        : changeP2m(hypervisor, domain, gfn, 'ram', mfn);
      if (done && bitmaps.has(domain.id) && isWritten && mark(domain, gfn)) tell(domain, gfn, mfn);
      return done;
    },
    save: () => [...bitmaps].map(([id, bits]) => [id, toBase64(bits)]),
    restore(saved) {
      bitmaps.clear();
      for (const [id, text] of saved as [number, string][]) bitmaps.set(id, fromBase64(text));
    },
  };
};
