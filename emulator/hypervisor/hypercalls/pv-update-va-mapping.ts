/**
 * Changes the L1 entry of one linear address of the caller's, and forgets what processors remember
 * of it.
 *
 * Errors: EINVAL if there is no L1 table for the address; ESRCH, EPERM for other domains; EFAULT
 * for a set of vCPUs that is not readable, when the entry has been changed; those of the entry.
 */
import { linearNumber } from '../../cpu/paging.ts';
import type { Gva } from '../../memory/addresses.ts';
import { isGuestAddress } from '../pv/layout.ts';
import { directPagingOf } from '../pv/mmu/direct-paging.ts';
import { frameOwnerOf, mayTarget } from '../pv/mmu/foreign-domain.ts';
import { nameOfFrame, refuse } from '../pv/mmu/mmu.ts';
import { L1_TABLE } from '../pv/mmu/page-types.ts';
import { l1TableOf } from '../pv/mmu/translate.ts';
import { readVcpuSet } from '../pv/mmu/vcpu-set.ts';
import { defineHypercall, type HypercallContext, type HypercallResult } from './hypercall.ts';

const UVMF_FLUSHTYPE_MASK = 3n;
const UVMF_LOCAL = 0n;
const UVMF_ALL = 4n;
const UVMF_TLB_FLUSH = 1n;
const UVMF_INVLPG = 2n;

const common = { only: 'pv', source: 'Xen public/xen.h, HYPERVISOR_update_va_mapping' } as const;

export const updateVaMapping = defineHypercall({
  ...common,
  name: 'update_va_mapping',
  number: 14,
  title: 'Change the page-table entry of a linear address',
  handle: (context) => update(context, context.vcpu.domain.id),
});

export const updateVaMappingOtherdomain = defineHypercall({
  ...common,
  name: 'update_va_mapping_otherdomain',
  number: 22,
  title: "Map another domain's frame at a linear address",
  handle(context) {
    const { hypervisor, vcpu, args } = context;
    const owner = frameOwnerOf(hypervisor, vcpu.domain, Number((args[3] ?? 0n) & 0xffffn));
    if (owner === undefined) return 'ESRCH';
    if (!mayTarget(vcpu.domain, owner)) return 'EPERM';
    return update(context, typeof owner === 'string' ? vcpu.domain.id : owner.id);
  },
});

const update = (
  { hypervisor, vcpu, args: [linear = 0n, value = 0n, flags = 0n] }: HypercallContext,
  frameOwner: number,
): HypercallResult => {
  const paging = directPagingOf(hypervisor);
  const { mmu } = paging;
  const owner = vcpu.domain.id;
  const table = isGuestAddress(linear)
    ? l1TableOf(mmu, paging.roots(vcpu).kernel, linearNumber(linear))
    : -1;
  const isTable =
    table >= 0 && mmu.frames.owners[table] === owner && mmu.pages.types[table] === L1_TABLE;
  if (!isTable) {
    const why = table < 0 ? 'has no L1 table' : `is mapped by ${nameOfFrame(mmu, table)}`;
    refuse(mmu, 'EINVAL', Math.max(table, 0), `Linear address 0x${linear.toString(16)} ${why}.`);
    paging.noteRefusal(vcpu);
    return 'EINVAL';
  }
  const change = {
    table,
    slot: Number((linear >> 12n) & 511n),
    low: Number(value & 0xffff_ffffn) | 0,
    high: Number(value >> 32n) | 0,
    owner,
    frameOwner,
    preservesUse: false,
    isTranslated: true,
  };
  const error = paging.update(vcpu, change, 'update_va_mapping', linear as Gva);
  if (error !== undefined) return error;
  const kind = flags & UVMF_FLUSHTYPE_MASK;
  const whom = flags & ~UVMF_FLUSHTYPE_MASK;
  if (kind !== UVMF_TLB_FLUSH && kind !== UVMF_INVLPG) return 0;
  // Processors here remember no entry longer than it is in memory: there is nothing to forget.
  if (whom === UVMF_LOCAL || whom === UVMF_ALL) return 0;
  return readVcpuSet(hypervisor, vcpu, whom) === undefined ? 'EFAULT' : 0;
};
