/**
 * Gives frames back to the hypervisor: a balloon inflates. Returns the number of extents done;
 * it stops at the first that is not the domain's own RAM. A domain that is not there and a bad
 * pointer are no errors: no extent is done.
 */
import type { Gfn } from '../../memory/addresses.ts';
import { ownDomain } from '../hypervisor.ts';
import { changeP2m } from '../p2m-changes.ts';
import { defineHypercall } from './hypercall.ts';
import { removeSharedInfo } from './memory-add-to-physmap.ts';
import {
  eachExtent,
  MAXIMUM_ORDER,
  noteBalloon,
  RESERVATION,
  startOf,
} from './memory-reservation.ts';

export const memoryDecreaseReservation = defineHypercall({
  name: 'XENMEM_decrease_reservation',
  number: 12,
  command: 1,
  title: 'Take frames out of the P2M and free them',
  source: 'Xen public/memory.h',
  argument: RESERVATION,
  onFault: startOf,

  handle(context, fields) {
    const { hypervisor, vcpu } = context;
    const domain = ownDomain(hypervisor, vcpu, fields.domid);
    if (domain === 'EPERM') return domain;
    if (domain === 'ESRCH' || fields.extent_order > MAXIMUM_ORDER) return startOf(context);
    const pages = 2 ** Number(fields.extent_order);
    return eachExtent(context, fields, (first) => {
      for (let gfn: number = first; gfn < first + pages; gfn += 1) {
        const { type, mfn } = domain.p2m.lookup(gfn as Gfn);
        if (gfn === domain.sharedInfoGfn) {
          removeSharedInfo(hypervisor, domain);
          continue;
        }
        if (type !== 'ram' || mfn === undefined) return false;
        if (!changeP2m(hypervisor, domain, gfn as Gfn, 'ballooned', undefined)) return false;
        hypervisor.frames.release(mfn);
        domain.pages -= 1;
        noteBalloon(hypervisor, vcpu, 'decrease', gfn as Gfn, mfn);
      }
      return true;
    });
  },
});
