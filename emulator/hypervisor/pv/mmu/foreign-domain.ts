/**
 * The domain that an MMU hypercall is about: FD, "foreign domain", of Xen public/xen.h.
 */
import type { XenDomain } from '../../domain.ts';
import type { Hypervisor } from '../../hypervisor.ts';

const DOMID_SELF = 0x7ff0;
/** Owners that are no domains: of devices' memory, and the hypervisor itself. */
const DOMID_IO = 0x7ff1;
const DOMID_XEN = 0x7ff2;

/** A domain, or one of the owners that are none. */
export type FrameOwner = XenDomain | 'io' | 'xen';

/** rcu_lock_domain_by_id: a domain by its own number. */
export const domainOf = ({ domains }: Hypervisor, id: number): XenDomain | undefined => {
  const domain = domains.get(id);
  return domain?.state === 'destroyed' ? undefined : domain;
};

/** get_pg_owner: ESRCH if there is no such domain; a domain is not to name itself by number. */
export const frameOwnerOf = (
  hypervisor: Hypervisor,
  caller: XenDomain,
  domid: number,
): FrameOwner | undefined => {
  if (domid === DOMID_SELF) return caller;
  if (domid === DOMID_IO) return 'io';
  if (domid === DOMID_XEN) return 'xen';
  return domid === caller.id ? undefined : domainOf(hypervisor, domid);
};

/** XSM_TARGET of Xen's default policy: only domain 0 acts on others. */
export const mayTarget = (caller: XenDomain, target: FrameOwner): boolean =>
  target === caller || caller.id === 0;
