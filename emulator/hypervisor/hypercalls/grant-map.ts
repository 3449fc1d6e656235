/**
 * Maps pages that other domains have granted.
 */
import { mapGrant } from '../grants/map.ts';
import { noteGrant } from '../grants/note.ts';
import { installerOf } from '../grants/page-access.ts';
import { defineGrantOperation } from './grant-operation.ts';

export const grantMap = defineGrantOperation({
  name: 'GNTTABOP_map_grant_ref',
  command: 0,
  title: 'Map a page that another domain has granted',
  argument: {
    host_addr: 'u64',
    flags: 'u32',
    ref: 'u32',
    dom: 'u16',
    status: 'u16',
    handle: 'u32',
    dev_bus_addr: 'u64',
  },
  perform({ hypervisor, vcpu }, fields) {
    const request = {
      domain: Number(fields.dom),
      reference: Number(fields.ref),
      flags: Number(fields.flags),
    };
    const installer = installerOf(hypervisor, vcpu, fields.host_addr);
    const result = mapGrant(hypervisor, vcpu.domain, request, installer);
    if (typeof result === 'string') return result;
    fields.handle = BigInt(result.handle);
    fields.dev_bus_addr = BigInt(result.mfn) * 4096n;
    noteGrant(hypervisor, vcpu, 'map', request.domain, request.reference, result.mfn);
    return 'okay';
  },
});
