/**
 * Ends mappings of granted pages and moves other mappings in their place. A domain whose P2M the
 * hypervisor keeps has no mappings to move: a new address must be 0.
 */
import { unmapGrant } from '../grants/map.ts';
import { noteUnmap } from '../grants/note.ts';
import { installerOf } from '../grants/page-access.ts';
import { defineGrantOperation } from './grant-operation.ts';

export const grantUnmapAndReplace = defineGrantOperation({
  name: 'GNTTABOP_unmap_and_replace',
  only: 'pv',
  command: 7,
  title: "End the mapping of another domain's page, with another page in its place",
  argument: { host_addr: 'u64', new_addr: 'u64', handle: 'u32', status: 'u16' },
  perform({ hypervisor, vcpu }, fields) {
    const handle = Number(fields.handle);
    const installer = installerOf(hypervisor, vcpu, fields.host_addr, fields.new_addr);
    const note = noteUnmap(hypervisor, vcpu, handle);
    const status = unmapGrant(
      hypervisor,
      vcpu.domain,
      { handle, host: fields.host_addr !== 0n, device: false, deviceAddress: 0 },
      installer,
    );
    if (status === 'okay') note();
    return status;
  },
});
