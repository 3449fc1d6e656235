/**
 * Questions of memory_op: reservations, and the memory map. Source: Xen public/memory.h.
 */

import { copyToGuest, ownDomain } from '../hypervisor.ts';
import { memoryMapOf } from '../start-of-day.ts';
import { defineHypercall, writeNumber } from './hypercall.ts';

const common = { number: 12, source: 'Xen public/memory.h' } as const;

export const memoryCurrentReservation = defineHypercall({
  ...common,
  name: 'XENMEM_current_reservation',
  command: 3,
  title: 'Tell how many pages the domain has',
  argument: { domid: 'u16' },
  handle({ hypervisor, vcpu }, { domid }) {
    const domain = ownDomain(hypervisor, vcpu, domid);
    return typeof domain === 'string' ? domain : domain.pages;
  },
});

export const memoryMaximumReservation = defineHypercall({
  ...common,
  name: 'XENMEM_maximum_reservation',
  command: 4,
  title: 'Tell how many pages the domain may have',
  argument: { domid: 'u16' },
  handle({ hypervisor, vcpu }, { domid }) {
    const domain = ownDomain(hypervisor, vcpu, domid);
    return typeof domain === 'string' ? domain : domain.maximumPages;
  },
});

const ENTRY_BYTES = 20;

/** Writes the e820 entries that fit; the field tells how many. */
export const memoryMemoryMap = defineHypercall({
  ...common,
  name: 'XENMEM_memory_map',
  command: 9,
  title: 'Copy the memory map out',
  argument: { nr_entries: 'u32', buffer: 'handle' },
  handle({ hypervisor, vcpu }, fields) {
    const entries = memoryMapOf(vcpu.domain.config).slice(0, Number(fields.nr_entries));
    const bytes = new Uint8Array(entries.length * ENTRY_BYTES);
    entries.forEach(({ address, lengthBytes, type }, index) => {
      writeNumber(bytes, index * ENTRY_BYTES, 8, BigInt(address));
      writeNumber(bytes, index * ENTRY_BYTES + 8, 8, BigInt(lengthBytes));
      writeNumber(bytes, index * ENTRY_BYTES + 16, 4, BigInt(type));
    });
    if (!copyToGuest(hypervisor, vcpu, fields.buffer, bytes)) return 'EFAULT';
    fields.nr_entries = BigInt(entries.length);
    return 0;
  },
});
