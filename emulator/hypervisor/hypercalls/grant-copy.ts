/**
 * Copies between pages of the caller and pages granted to it.
 */
import { copyGrant } from '../grants/copy.ts';
import { defineGrantOperation } from './grant-operation.ts';

export const grantCopy = defineGrantOperation({
  name: 'GNTTABOP_copy',
  command: 5,
  title: 'Copy from or to granted pages',
  argument: {
    source_ref: 'ulong',
    source_domid: 'u16',
    source_offset: 'u16',
    dest_ref: 'ulong',
    dest_domid: 'u16',
    dest_offset: 'u16',
    end: 'align',
    len: 'u16',
    flags: 'u16',
    status: 'u16',
  },
  perform({ hypervisor, vcpu }, fields) {
    const flags = Number(fields.flags);
    // A reference is the lower half of the union with a frame number.
    const frame = (value: bigint, isGrant: boolean): number =>
      Number(isGrant ? value & 0xffff_ffffn : value);
    return copyGrant(hypervisor, vcpu.domain, {
      source: {
        frame: frame(fields.source_ref, (flags & 1) !== 0),
        domain: Number(fields.source_domid),
        offset: Number(fields.source_offset),
      },
      destination: {
        frame: frame(fields.dest_ref, (flags & 2) !== 0),
        domain: Number(fields.dest_domid),
        offset: Number(fields.dest_offset),
      },
      lengthBytes: Number(fields.len),
      flags,
    });
  },
});
