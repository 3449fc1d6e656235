/**
 * Gives frames to the domain at the gfns it names: a balloon deflates. Returns the number of
 * extents done; it stops at the domain's maximum, when no frame is free, or at a gfn that is used. A
 * domain that is not there and a bad pointer are no errors: no extent is done.
 */
import type { Gfn } from '../../memory/addresses.ts';
import { ownDomain } from '../hypervisor.ts';
import { unitsOf } from '../memory/units.ts';
import { MAXIMUM_GFN } from '../p2m.ts';
import { defineHypercall } from './hypercall.ts';
import {
  eachExtent,
  MAXIMUM_ORDER,
  noteBalloon,
  RESERVATION,
  startOf,
} from './memory-reservation.ts';

export const memoryPopulatePhysmap = defineHypercall({
  name: 'XENMEM_populate_physmap',
  number: 12,
  command: 6,
  title: 'Allocate frames and put them into the P2M',
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
      if (first + pages > MAXIMUM_GFN) return false;
      if (domain.pages + pages > domain.maximumPages) return false;
      if (!unitsOf(hypervisor).hasRoom(pages)) return false;
      for (let gfn: number = first; gfn < first + pages; gfn += 1) {
        const type = domain.p2m.typeOf(gfn as Gfn);
        if (type !== 'hole' && type !== 'ballooned') return false;
      }
      for (let gfn: number = first; gfn < first + pages; gfn += 1) {
        const mfn = unitsOf(hypervisor).populate(domain, gfn as Gfn);
        if (mfn === undefined) return false;
        domain.pages += 1;
        noteBalloon(hypervisor, vcpu, 'populate', gfn as Gfn, mfn);
      }
      return true;
    });
  },
});
