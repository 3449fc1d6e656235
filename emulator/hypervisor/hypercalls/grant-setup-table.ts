/**
 * Grows the grant table, and tells where its frames are: for a domain whose P2M the hypervisor keeps,
 * at which guest frame each has been put.
 */

import { nameOfFrame } from '../grants/frame-names.ts';
import { growTable, MAXIMUM_FRAMES, statusFramesFor } from '../grants/grant-table.ts';
import { copyToGuest, ownDomain } from '../hypervisor.ts';
import { defineSingleGrantOperation } from './grant-operation.ts';
import { writeNumber } from './hypercall.ts';

export const grantSetupTable = defineSingleGrantOperation({
  name: 'GNTTABOP_setup_table',
  command: 2,
  title: 'Grow the grant table and tell its frames',
  argument: { dom: 'u16', nr_frames: 'u32', status: 'u16', frame_list: 'handle' },
  perform(context, fields) {
    const { hypervisor, vcpu, wordBytes } = context;
    const domain = ownDomain(hypervisor, vcpu, fields.dom);
    if (domain === 'EPERM') return 'permission_denied';
    if (typeof domain === 'string') return 'bad_domain';
    const { grants } = domain;
    const frames = Number(fields.nr_frames);
    if (frames > MAXIMUM_FRAMES) return 'general_error';
    const isShort =
      frames > grants.shared.length ||
      (grants.version === 2 && statusFramesFor(frames) > grants.status.length);
    if (isShort && !growTable(hypervisor, domain, frames)) return 'general_error';
    const list = new Uint8Array(frames * wordBytes);
    for (let index = 0; index < frames; index += 1) {
      const name = nameOfFrame(hypervisor, domain, grants.shared[index]);
      writeNumber(list, index * wordBytes, wordBytes, name);
    }
    return copyToGuest(hypervisor, vcpu, fields.frame_list, list) ? 'okay' : 'bad_virt_addr';
  },
});
