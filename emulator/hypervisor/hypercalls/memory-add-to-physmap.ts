/**
 * Puts a page that the hypervisor shares with the domain at a gfn of its choice: shared_info, or a
 * frame of the grant table, which grows for that. RAM that was there is freed.
 *
 * Errors: EINVAL for a space or page that is not there, EPERM for another domain.
 */
import type { Gfn, Mfn } from '../../memory/addresses.ts';
import type { XenDomain } from '../domain.ts';
import { NO_GFN } from '../frames.ts';
import { growTable } from '../grants/grant-table.ts';
import { type Hypervisor, ownDomain } from '../hypervisor.ts';
import { unitsOf } from '../memory/units.ts';
import { MAXIMUM_GFN } from '../p2m.ts';
import { changeP2m } from '../p2m-changes.ts';
import { defineHypercall } from './hypercall.ts';

const SPACE_SHARED_INFO = 0n;
const SPACE_GRANT_TABLE = 1n;
/** XENMAPIDX_grant_table_status: the index is that of a status frame. */
const STATUS_INDEX = 1n << 31n;

/** Takes shared_info out of the P2M; the page stays the hypervisor's. */
export const removeSharedInfo = (hypervisor: Hypervisor, domain: XenDomain): void => {
  removePage(hypervisor, domain, domain.sharedInfo);
  domain.sharedInfoGfn = undefined;
};

const removePage = (hypervisor: Hypervisor, domain: XenDomain, mfn: Mfn): void => {
  const gfn = (hypervisor.frames.gfns[mfn] ?? NO_GFN) as Gfn;
  if (gfn === NO_GFN) return;
  changeP2m(hypervisor, domain, gfn, 'hole', undefined);
  domain.labels.delete(gfn);
};

export const memoryAddToPhysmap = defineHypercall({
  name: 'XENMEM_add_to_physmap',
  number: 12,
  command: 7,
  title: "Put a page of the hypervisor's into the P2M",
  source: 'Xen public/memory.h',
  argument: { domid: 'u16', size: 'u16', space: 'u32', idx: 'ulong', gpfn: 'ulong' },

  handle({ hypervisor, vcpu }, { domid, space, idx, gpfn }) {
    const domain = ownDomain(hypervisor, vcpu, domid);
    if (typeof domain === 'string') return domain;
    if (gpfn >= MAXIMUM_GFN) return 'EINVAL';
    const page = pageOf(hypervisor, domain, space, idx);
    if (page === undefined) return 'EINVAL';
    const gfn = Number(gpfn) as Gfn;
    const old = domain.p2m.lookup(gfn);
    if (old.type === 'special') return old.mfn === page.mfn ? 0 : 'EINVAL';
    if (unitsOf(hypervisor).remove(domain, gfn, 'hole') === 'no-frame') return 'ENOMEM';
    removePage(hypervisor, domain, page.mfn);
    if (!changeP2m(hypervisor, domain, gfn, 'special', page.mfn)) return 'ENOMEM';
    if (space === SPACE_SHARED_INFO) domain.sharedInfoGfn = gfn;
    domain.labels.set(gfn, page.label);
    return 0;
  },
});

const pageOf = (
  hypervisor: Hypervisor,
  domain: XenDomain,
  space: bigint,
  index: bigint,
): { readonly mfn: Mfn; readonly label: string } | undefined => {
  const { sharedInfo, grants } = domain;
  if (space === SPACE_SHARED_INFO && index === 0n) return { mfn: sharedInfo, label: 'shared_info' };
  if (space !== SPACE_GRANT_TABLE) return undefined;
  const isStatus = grants.version === 2 && (index & STATUS_INDEX) !== 0n;
  const number = Number(isStatus ? index & ~STATUS_INDEX : index);
  const list = isStatus ? grants.status : grants.shared;
  // Eight grant frames of version 2 share a status frame.
  const needed = isStatus ? number * 8 + 1 : number + 1;
  if (number >= list.length && !growTable(hypervisor, domain, needed)) return undefined;
  const mfn = list[number];
  return mfn && { mfn, label: isStatus ? `grant status ${number}` : `grant table ${number}` };
};
