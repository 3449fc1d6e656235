/**
 * What PV guests ask about machine memory, and what they may not do because they have no P2M of the
 * hypervisor's. Source: Xen public/memory.h.
 */
import { copyToGuest, ownDomain } from '../hypervisor.ts';
import { directPagingOf } from '../pv/mmu/direct-paging.ts';
import { MACH2PHYS_VIRT_END, MACH2PHYS_VIRT_START } from '../pv/mmu/m2p.ts';
import { defineHypercall, writeNumber } from './hypercall.ts';

const common = { number: 12, only: 'pv', source: 'Xen public/memory.h' } as const;
const WORD = 8;
const LARGE_PAGE_FRAMES = 512;

/** Where the M2P is, and the highest frame that it can tell of. */
export const pvMachphysMapping = defineHypercall({
  ...common,
  name: 'XENMEM_machphys_mapping',
  command: 12,
  title: 'Tell where the M2P is',
  handle({ hypervisor, vcpu, args }) {
    const { frames } = hypervisor;
    const entries = (MACH2PHYS_VIRT_END - MACH2PHYS_VIRT_START) / BigInt(WORD);
    // Only domain 0 is told how much memory there is.
    const highest = vcpu.domain.id === 0 ? BigInt(frames.owners.length) - 1n : entries - 1n;
    const bytes = new Uint8Array(3 * WORD);
    [MACH2PHYS_VIRT_START, MACH2PHYS_VIRT_END, highest].forEach((value, index) => {
      writeNumber(bytes, index * WORD, WORD, value);
    });
    return copyToGuest(hypervisor, vcpu, args[1] ?? 0n, bytes) ? 0 : 'EFAULT';
  },
});

/** The first frames of each 2 MiB of the M2P. */
export const pvMachphysMfnList = defineHypercall({
  ...common,
  name: 'XENMEM_machphys_mfn_list',
  command: 5,
  title: 'List the frames of the M2P',
  argument: { max_extents: 'u32', extent_start: 'handle', nr_extents: 'u32' },
  handle({ hypervisor, vcpu }, fields) {
    const { first, pages } = directPagingOf(hypervisor).mmu.m2p;
    const there = Math.ceil(pages / LARGE_PAGE_FRAMES);
    const count = Math.min(Number(fields.max_extents), there);
    const bytes = new Uint8Array(count * WORD);
    for (let extent = 0; extent < count; extent += 1) {
      writeNumber(bytes, extent * WORD, WORD, BigInt(first + extent * LARGE_PAGE_FRAMES));
    }
    if (!copyToGuest(hypervisor, vcpu, fields.extent_start, bytes)) return 'EFAULT';
    fields.nr_extents = BigInt(count);
    return 0;
  },
});

const E820_RAM = 1n;
const ENTRY_BYTES = 20;

/** One range of RAM, as far as the domain may grow. */
export const pvMemoryMap = defineHypercall({
  ...common,
  name: 'XENMEM_memory_map',
  command: 9,
  title: 'Copy the memory map out',
  argument: { nr_entries: 'u32', buffer: 'handle' },
  handle({ hypervisor, vcpu }, fields) {
    const count = fields.nr_entries === 0n ? 0 : 1;
    const bytes = new Uint8Array(count * ENTRY_BYTES);
    if (count > 0) {
      writeNumber(bytes, WORD, WORD, BigInt(vcpu.domain.maximumPages) * 4096n);
      writeNumber(bytes, 2 * WORD, 4, E820_RAM);
    }
    if (!copyToGuest(hypervisor, vcpu, fields.buffer, bytes)) return 'EFAULT';
    fields.nr_entries = BigInt(count);
    return 0;
  },
});

/** The guest keeps its own P2M. */
export const pvAddToPhysmap = defineHypercall({
  ...common,
  name: 'XENMEM_add_to_physmap',
  command: 7,
  title: 'Refused: a PV guest has no P2M here',
  argument: { domid: 'u16', size: 'u16', space: 'u32', idx: 'ulong', gpfn: 'ulong' },
  handle({ hypervisor, vcpu }, { domid }) {
    return ownDomain(hypervisor, vcpu, domid) === 'ESRCH' ? 'ESRCH' : 'EACCES';
  },
});

export const pvRemoveFromPhysmap = defineHypercall({
  ...common,
  name: 'XENMEM_remove_from_physmap',
  command: 15,
  title: 'Refused: a PV guest has no P2M here',
  argument: { domid: 'u16', gpfn: 'ulong' },
  handle({ hypervisor, vcpu }, { domid }) {
    return ownDomain(hypervisor, vcpu, domid) === 'ESRCH' ? 'ESRCH' : 'EACCES';
  },
});
