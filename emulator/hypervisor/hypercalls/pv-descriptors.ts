/**
 * Descriptor tables of PV guests. Source: Xen public/xen.h, HYPERVISOR_set_gdt,
 * HYPERVISOR_update_descriptor.
 */
import type { Mfn } from '../../memory/addresses.ts';
import { copyFromGuest, writeMaddr } from '../hypervisor.ts';
import { setGdt as registerGdt } from '../pv/descriptor-tables.ts';
import { FIRST_RESERVED_ENTRY } from '../pv/layout.ts';
import { checkedDescriptor } from '../pv/mmu/descriptors.ts';
import { directPagingOf } from '../pv/mmu/direct-paging.ts';
import { SEG_DESC_PAGE } from '../pv/mmu/page-types.ts';
import { defineHypercall, readNumber, writeNumber } from './hypercall.ts';

const ENTRIES_PER_FRAME = 512;
const FRAME_BYTES = 8;
const DESCRIPTOR_BYTES = 8n;

export const setGdt = defineHypercall({
  name: 'set_gdt',
  number: 2,
  only: 'pv',
  title: 'Register the frames of the GDT',
  source: 'Xen public/xen.h, HYPERVISOR_set_gdt',
  handle({ hypervisor, vcpu, args: [list = 0n, count = 0n] }) {
    const entries = Number(count & 0xffff_ffffn);
    if (entries > FIRST_RESERVED_ENTRY) return 'EINVAL';
    const frameCount = Math.ceil(entries / ENTRIES_PER_FRAME);
    const bytes = copyFromGuest(hypervisor, vcpu, list, frameCount * FRAME_BYTES);
    if (bytes === undefined) return 'EFAULT';
    const frames = Array.from(
      { length: frameCount },
      (_, index) => Number(readNumber(bytes, index * FRAME_BYTES, FRAME_BYTES)) as Mfn,
    );
    return registerGdt(hypervisor, vcpu, frames, entries) ?? 0;
  },
});

/** The machine address names a descriptor of one of the caller's frames. */
export const updateDescriptor = defineHypercall({
  name: 'update_descriptor',
  number: 10,
  only: 'pv',
  title: 'Write a descriptor of a GDT or LDT',
  source: 'Xen public/xen.h, HYPERVISOR_update_descriptor',
  handle({ hypervisor, vcpu, args: [address = 0n, descriptor = 0n] }) {
    const checked = checkedDescriptor(
      Number(descriptor & 0xffff_ffffn) | 0,
      Number(descriptor >> 32n) | 0,
    );
    if (address % DESCRIPTOR_BYTES !== 0n || checked === undefined) return 'EINVAL';
    const mfn = Number(address >> 12n);
    const { mmu } = directPagingOf(hypervisor);
    if (mmu.frames.owners[mfn] !== vcpu.domain.id) return 'EINVAL';
    const { types, counts } = mmu.pages;
    const isOther = (counts[mfn] ?? 0) > 0 && types[mfn] !== SEG_DESC_PAGE;
    if (isOther && !mmu.pages.takeWritable(mfn)) return 'EINVAL';
    if (isOther) mmu.pages.dropWritable(mfn);
    const bytes = new Uint8Array(8);
    writeNumber(bytes, 0, 4, BigInt(checked[0] >>> 0));
    writeNumber(bytes, 4, 4, BigInt(checked[1] >>> 0));
    writeMaddr(hypervisor, Number(address), bytes);
    return 0;
  },
});
