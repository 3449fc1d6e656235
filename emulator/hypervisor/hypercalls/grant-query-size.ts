/**
 * Tells how large the grant table is, and how large it may become.
 */
import { MAXIMUM_FRAMES } from '../grants/grant-table.ts';
import { ownDomain } from '../hypervisor.ts';
import { defineSingleGrantOperation } from './grant-operation.ts';

export const grantQuerySize = defineSingleGrantOperation({
  name: 'GNTTABOP_query_size',
  command: 6,
  title: 'Tell the size of the grant table',
  argument: { dom: 'u16', nr_frames: 'u32', max_nr_frames: 'u32', status: 'u16' },
  perform({ hypervisor, vcpu }, fields) {
    const domain = ownDomain(hypervisor, vcpu, fields.dom);
    if (domain === 'EPERM') return 'permission_denied';
    if (typeof domain === 'string') return 'bad_domain';
    fields.nr_frames = BigInt(domain.grants.shared.length);
    fields.max_nr_frames = BigInt(MAXIMUM_FRAMES);
    return 'okay';
  },
});
