/**
 * Tells where the status frames of a version 2 table are.
 */
import { nameOfFrame } from '../grants/frame-names.ts';
import { copyToGuest, ownDomain } from '../hypervisor.ts';
import { defineSingleGrantOperation } from './grant-operation.ts';
import { writeNumber } from './hypercall.ts';

export const grantStatusFrames = defineSingleGrantOperation({
  name: 'GNTTABOP_get_status_frames',
  only: 'pv',
  command: 9,
  title: 'Tell the status frames of the grant table',
  argument: { nr_frames: 'u32', dom: 'u16', status: 'u16', frame_list: 'handle' },
  perform(context, fields) {
    const { hypervisor, vcpu } = context;
    const domain = ownDomain(hypervisor, vcpu, fields.dom);
    if (domain === 'EPERM') return 'permission_denied';
    if (typeof domain === 'string') return 'bad_domain';
    const frames = Number(fields.nr_frames);
    const { status } = domain.grants;
    if (frames > status.length) return 'general_error';
    const list = new Uint8Array(frames * 8);
    for (let index = 0; index < frames; index += 1) {
      writeNumber(list, index * 8, 8, nameOfFrame(hypervisor, domain, status[index]));
    }
    return copyToGuest(hypervisor, vcpu, fields.frame_list, list) ? 'okay' : 'bad_virt_addr';
  },
});
