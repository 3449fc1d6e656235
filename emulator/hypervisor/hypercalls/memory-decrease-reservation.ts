/**
 * Gives frames back to the hypervisor: a balloon inflates. Returns the number of extents done;
 * it stops at the first that is not the domain's own RAM.
 */
import type { Gfn } from '../../memory/addresses.ts';
import { selfOf } from '../hypervisor.ts';
import { changeP2m } from '../p2m-changes.ts';
import { defineHypercall } from './hypercall.ts';
import { eachExtent, MAXIMUM_ORDER, noteBalloon, RESERVATION } from './memory-reservation.ts';

export const memoryDecreaseReservation = defineHypercall({
  name: 'XENMEM_decrease_reservation',
  number: 12,
  command: 1,
  title: 'Take frames out of the P2M and free them',
  source: 'Xen public/memory.h',
  argument: RESERVATION,

  handle(context, fields) {
    const { hypervisor, vcpu } = context;
    const domain = selfOf(vcpu, Number(fields.domid));
    if (domain === undefined) return 'EPERM';
    if (fields.extent_order > MAXIMUM_ORDER) return 0;
    const pages = 2 ** Number(fields.extent_order);
    return eachExtent(context, fields, (first) => {
      for (let gfn: number = first; gfn < first + pages; gfn += 1) {
        const { type, mfn } = domain.p2m.lookup(gfn as Gfn);
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
