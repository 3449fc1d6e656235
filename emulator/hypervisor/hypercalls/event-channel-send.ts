/**
 * Raises an event: marks the far end of the caller's channel pending.
 * An event sent into an unbound channel is lost, and the call succeeds.
 *
 * Errors: EINVAL if the caller has no such port, or may not send on it.
 */
import { noteChannel, raisePort } from '../event-channels.ts';
import { defineHypercall } from './hypercall.ts';

export const eventChannelSend = defineHypercall({
  name: 'EVTCHNOP_send',
  number: 32,
  command: 4,
  title: 'Mark the far end of a channel pending',
  source: 'Xen public/event_channel.h',
  argument: { port: 'u32' },

  handle({ hypervisor, vcpu }, { port }) {
    const channel = vcpu.domain.channels.get(Number(port));
    switch (channel?.state) {
      case 'interdomain': {
        const remote = hypervisor.domains.get(channel.remoteDomain);
        if (remote !== undefined) raisePort(hypervisor, remote, channel.remotePort);
        noteChannel(hypervisor, vcpu, Number(port), 'send');
        return 0;
      }
      case 'ipi':
        raisePort(hypervisor, vcpu.domain, Number(port));
        noteChannel(hypervisor, vcpu, Number(port), 'send');
        return 0;
      case 'unbound':
        return 0;
      case 'virq':
      case undefined:
        return 'EINVAL';
    }
  },
});
