/**
 * Exchanges two entries of the caller's own table that are not in use.
 */
import { entriesOf, swapEntries } from '../grants/grant-table.ts';
import { defineGrantOperation } from './grant-operation.ts';

export const grantSwap = defineGrantOperation({
  name: 'GNTTABOP_swap_grant_ref',
  command: 11,
  title: 'Exchange two grants',
  argument: { ref_a: 'u32', ref_b: 'u32', status: 'u16' },
  perform({ hypervisor, vcpu }, { ref_a, ref_b }) {
    const { grants } = vcpu.domain;
    const references = [Number(ref_a), Number(ref_b)] as const;
    if (references.some((reference) => reference >= entriesOf(grants))) return 'bad_gntref';
    if (ref_a === ref_b) return 'okay';
    if (references.some((reference) => grants.active.has(reference))) return 'eagain';
    swapEntries(hypervisor, grants, ...references);
    return 'okay';
  },
});
