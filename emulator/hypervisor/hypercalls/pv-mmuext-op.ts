/**
 * Extended operations of the MMU: pins, page-table bases, TLBs, the LDT, pages cleared and copied.
 * A list of struct mmuext_op, which ends at the first that fails.
 *
 * Errors: EFAULT for a list that is not readable; ESRCH, EINVAL, EPERM for other domains; ENOSYS for
 * commands that are not there; those of each command (pv/mmu/extended-operations.ts).
 */
import { runBatch } from '../pv/mmu/batch.ts';
import { EXTENDED_OPERATIONS } from '../pv/mmu/extended-operations.ts';
import { frameOwnerOf, mayTarget } from '../pv/mmu/foreign-domain.ts';
import { guestArray } from '../pv/mmu/guest-array.ts';
import { defineHypercall } from './hypercall.ts';

/** struct mmuext_op: the command at 0, arg1 at 8, arg2 at 16. */
const OPERATION_BYTES = 24;

export const mmuextOp = defineHypercall({
  name: 'mmuext_op',
  number: 26,
  only: 'pv',
  title: 'Pin page tables, change their base, flush TLBs',
  source: 'Xen public/xen.h, HYPERVISOR_mmuext_op',
  handle(context) {
    const { hypervisor, vcpu, args } = context;
    return runBatch(context, OPERATION_BYTES, (list) => {
      const owner = frameOwnerOf(hypervisor, vcpu.domain, Number((args[3] ?? 0n) & 0xffffn));
      if (owner === undefined) return 'ESRCH';
      if (typeof owner !== 'string' && owner.type !== 'pv') return 'EINVAL';
      if (!mayTarget(vcpu.domain, owner)) return 'EPERM';
      const operations = guestArray(hypervisor, vcpu, list, OPERATION_BYTES);
      const { view } = operations;
      return (index) => {
        if (!operations.read(index)) return 'EFAULT';
        const operation = EXTENDED_OPERATIONS[view.getUint32(0, true)];
        if (operation === undefined) return 'ENOSYS';
        const first = view.getBigUint64(8, true);
        const second = view.getBigUint64(16, true);
        return operation({ hypervisor, vcpu, owner }, first, second) ?? 0;
      };
    });
  },
});
