/**
 * Ends mappings of granted pages.
 */
import { unmapGrant } from '../grants/map.ts';
import { noteUnmap } from '../grants/note.ts';
import { installerOf } from '../grants/page-access.ts';
import { defineGrantOperation } from './grant-operation.ts';

export const grantUnmap = defineGrantOperation({
  name: 'GNTTABOP_unmap_grant_ref',
  command: 1,
  title: "End the mapping of another domain's page",
  argument: { host_addr: 'u64', dev_bus_addr: 'u64', handle: 'u32', status: 'u16' },
  perform({ hypervisor, vcpu }, fields) {
    const handle = Number(fields.handle);
    const note = noteUnmap(hypervisor, vcpu, handle);
    const status = unmapGrant(
      hypervisor,
      vcpu.domain,
      {
        handle,
        host: fields.host_addr !== 0n,
        device: fields.dev_bus_addr !== 0n,
        deviceAddress: Number(fields.dev_bus_addr),
      },
      installerOf(hypervisor, vcpu, fields.host_addr),
    );
    if (status === 'okay') note();
    return status;
  },
});
