/**
 * Frames of PV domains that come and go. The guest names machine frames and is told them: what it
 * thinks of as its physical memory is its own affair, but for the M2P.
 * All return the number of extents done; a domain that is not there and a bad pointer are no errors.
 */
import type { Gfn } from '../../memory/addresses.ts';
import type { XenDomain } from '../domain.ts';
import { copyToGuest, type Hypervisor, ownDomain } from '../hypervisor.ts';
import { directPagingOf } from '../pv/mmu/direct-paging.ts';
import { allocateExtent, frameLimitOf, removeFrame } from '../pv/mmu/extents.ts';
import { defineHypercall, type HypercallContext, writeNumber } from './hypercall.ts';
import {
  eachExtent,
  MAXIMUM_ORDER,
  noteBalloon,
  RESERVATION,
  type Reservation,
  startOf,
} from './memory-reservation.ts';

const common = {
  number: 12,
  only: 'pv',
  source: 'Xen public/memory.h',
  argument: RESERVATION,
  onFault: startOf,
} as const;

/** The domain, and what its frames may be; undefined: no extent is done. */
const reservationOf = (
  { hypervisor, vcpu }: HypercallContext,
  fields: Reservation,
): { readonly domain: XenDomain; readonly pages: number; readonly limit: number } | undefined => {
  const domain = ownDomain(hypervisor, vcpu, fields.domid);
  const limit = frameLimitOf(fields.mem_flags);
  if (typeof domain === 'string' || limit === undefined) return undefined;
  if (fields.extent_order > MAXIMUM_ORDER) return undefined;
  return { domain, pages: 2 ** Number(fields.extent_order), limit };
};

const writeMfn = ({ hypervisor, vcpu }: HypercallContext, at: bigint, mfn: number): boolean => {
  const bytes = new Uint8Array(8);
  writeNumber(bytes, 0, 8, BigInt(mfn));
  return copyToGuest(hypervisor, vcpu, at, bytes);
};

export const pvDecreaseReservation = defineHypercall({
  ...common,
  name: 'XENMEM_decrease_reservation',
  command: 1,
  title: 'Give machine frames back',
  handle(context, fields) {
    const { hypervisor, vcpu } = context;
    const reservation = reservationOf(context, fields);
    if (reservation === undefined) return startOf(context);
    const { domain, pages } = reservation;
    return eachExtent(context, fields, (first) => {
      for (let mfn: number = first; mfn < first + pages; mfn += 1) {
        const gfn = gfnOf(hypervisor, mfn);
        if (!removeFrame(hypervisor, domain, mfn)) return false;
        noteBalloon(hypervisor, vcpu, 'decrease', gfn, mfn as never);
      }
      return true;
    });
  },
});

/** What a frame goes by; its own number if it goes by none. */
const gfnOf = (hypervisor: Hypervisor, mfn: number): Gfn =>
  directPagingOf(hypervisor).mmu.m2p.gfn(mfn) ?? (mfn as Gfn);

export const pvPopulatePhysmap = defineHypercall({
  ...common,
  name: 'XENMEM_populate_physmap',
  command: 6,
  title: 'Get machine frames for the given frame numbers',
  handle(context, fields) {
    const { hypervisor, vcpu } = context;
    const reservation = reservationOf(context, fields);
    if (reservation === undefined) return startOf(context);
    const { domain, pages, limit } = reservation;
    const { m2p } = directPagingOf(hypervisor).mmu;
    return eachExtent(context, fields, (gfn, address) => {
      const first = allocateExtent(hypervisor, domain, pages, limit);
      if (first === undefined) return false;
      for (let page = 0; page < pages; page += 1) {
        m2p.set(first + page, BigInt(gfn) + BigInt(page));
        noteBalloon(hypervisor, vcpu, 'populate', (gfn + page) as Gfn, (first + page) as never);
      }
      return writeMfn(context, address, first);
    });
  },
});

export const pvIncreaseReservation = defineHypercall({
  ...common,
  name: 'XENMEM_increase_reservation',
  command: 0,
  title: 'Get machine frames',
  handle(context, fields) {
    const { hypervisor, vcpu } = context;
    const reservation = reservationOf(context, fields);
    if (reservation === undefined) return startOf(context);
    const { domain, pages, limit } = reservation;
    const isTold = fields.extent_start !== 0n;
    return eachExtent(context, fields, (_, address) => {
      const first = allocateExtent(hypervisor, domain, pages, limit);
      if (first === undefined) return false;
      for (let page = 0; page < pages; page += 1) {
        const mfn = (first + page) as never;
        noteBalloon(hypervisor, vcpu, 'populate', gfnOf(hypervisor, mfn), mfn);
      }
      return !isTold || writeMfn(context, address, first);
    });
  },
});
