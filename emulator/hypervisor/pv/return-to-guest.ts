/**
 * The way back to a PV vCPU: an event that is pending and not masked enters its kernel first.
 */
import type { XenVcpu } from '../domain.ts';
import { hasPendingUpcall, noteChannel } from '../event-channels.ts';
import { endDomain, type Hypervisor } from '../hypervisor.ts';
import { bounce, isUpcallMasked } from './bounce.ts';
import { pvOf } from './mode.ts';

export const prepareReturn = (hypervisor: Hypervisor, vcpu: XenVcpu): void => {
  if (!hasPendingUpcall(hypervisor, vcpu) || isUpcallMasked(hypervisor, vcpu)) return;
  const callback = pvOf(vcpu).callbacks.get('event');
  if (callback === undefined) return;
  const problem = bounce(hypervisor, vcpu, { ...callback, masksEvents: true });
  if (problem !== undefined) {
    endDomain(hypervisor, vcpu, 'crash', `An event can not be delivered. ${problem}`);
    return;
  }
  noteChannel(hypervisor, vcpu, 0, 'upcall');
};
