/**
 * Puts the shared_info page at a gfn of the guest's choice. RAM that was there is freed.
 *
 * Errors: EINVAL for a space that is not there, EPERM for another domain, ESRCH for none.
 */
import type { Gfn } from '../../memory/addresses.ts';
import type { XenDomain } from '../domain.ts';
import { type Hypervisor, ownDomain } from '../hypervisor.ts';
import { MAXIMUM_GFN } from '../p2m.ts';
import { changeP2m } from '../p2m-changes.ts';
import { defineHypercall } from './hypercall.ts';

const XENMAPSPACE_shared_info = 0n;

/** Takes shared_info out of the P2M; the page stays the hypervisor's. */
export const removeSharedInfo = (hypervisor: Hypervisor, domain: XenDomain): void => {
  if (domain.sharedInfoGfn === undefined) return;
  changeP2m(hypervisor, domain, domain.sharedInfoGfn, 'hole', undefined);
  domain.labels.delete(domain.sharedInfoGfn);
  domain.sharedInfoGfn = undefined;
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
    if (space !== XENMAPSPACE_shared_info || idx !== 0n || gpfn >= MAXIMUM_GFN) return 'EINVAL';
    const gfn = Number(gpfn) as Gfn;
    const old = domain.p2m.lookup(gfn);
    if (old.type === 'special') return gfn === domain.sharedInfoGfn ? 0 : 'EINVAL';
    removeSharedInfo(hypervisor, domain);
    if (!changeP2m(hypervisor, domain, gfn, 'special', domain.sharedInfo)) return 'ENOMEM';
    if (old.mfn !== undefined) {
      hypervisor.frames.release(old.mfn);
      domain.pages -= 1;
    }
    domain.sharedInfoGfn = gfn;
    domain.labels.set(gfn, 'shared_info');
    return 0;
  },
});
