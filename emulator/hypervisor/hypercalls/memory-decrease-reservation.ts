/**
 * Gives frames back to the hypervisor: a balloon inflates. Returns the number of extents done;
 * it stops at the first that is not the domain's own RAM. A domain that is not there and a bad
 * pointer are no errors: no extent is done.
 */
import type { Gfn } from '../../memory/addresses.ts';
import { ownDomain } from '../hypervisor.ts';
import { unitsOf } from '../memory/units.ts';
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
        if (gfn === domain.sharedInfoGfn) {
          removeSharedInfo(hypervisor, domain);
          continue;
        }
        const freed = unitsOf(hypervisor).remove(domain, gfn as Gfn, 'ballooned');
        if (freed === 'missing' || freed === 'no-frame') return false;
        const mfn = freed === 'no-own' ? undefined : freed;
        noteBalloon(hypervisor, vcpu, 'decrease', gfn as Gfn, mfn);
      }
      return true;
    });
  },
});
