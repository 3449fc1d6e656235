/**
 * Gives pages away for good, to domains that have offered a place for them.
 */
import type { Gfn } from '../../memory/addresses.ts';
import { noteGrant } from '../grants/note.ts';
import { moverOf } from '../grants/page-access.ts';
import { transferGrant } from '../grants/transfer.ts';
import { defineGrantOperation } from './grant-operation.ts';

export const grantTransfer = defineGrantOperation({
  name: 'GNTTABOP_transfer',
  only: 'pv',
  command: 4,
  title: 'Give a page to another domain',
  argument: { mfn: 'ulong', domid: 'u16', ref: 'u32', status: 'u16' },
  perform({ hypervisor, vcpu }, fields) {
    const request = {
      gfn: Number(fields.mfn),
      domain: Number(fields.domid),
      reference: Number(fields.ref),
    };
    const mover = moverOf(hypervisor);
    const { mfn } = vcpu.domain.p2m.lookup(request.gfn as Gfn);
    const status = transferGrant(hypervisor, vcpu.domain, request, mover);
    if (status === 'okay' && mfn !== undefined) {
      noteGrant(hypervisor, vcpu, 'transfer', request.domain, request.reference, mfn);
    }
    return status;
  },
});
