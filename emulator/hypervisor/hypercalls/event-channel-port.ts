/**
 * Closes, unmasks and tells of a port. Source: Xen public/event_channel.h.
 */
import { closePort, isPort, noteChannel, unmaskPort } from '../event-channels.ts';
import { ownDomain } from '../hypervisor.ts';
import { defineHypercall } from './hypercall.ts';

const common = { number: 32, source: 'Xen public/event_channel.h' } as const;

export const eventChannelClose = defineHypercall({
  ...common,
  name: 'EVTCHNOP_close',
  command: 3,
  title: 'Close a port',
  argument: { port: 'u32' },
  handle({ hypervisor, vcpu }, { port }) {
    if (!vcpu.domain.channels.has(Number(port))) return 'EINVAL';
    closePort(hypervisor, vcpu.domain, Number(port));
    noteChannel(hypervisor, vcpu, Number(port), 'close');
    return 0;
  },
});

export const eventChannelUnmask = defineHypercall({
  ...common,
  name: 'EVTCHNOP_unmask',
  command: 9,
  title: 'Unmask a port',
  argument: { port: 'u32' },
  handle({ hypervisor, vcpu }, { port }) {
    if (!isPort(vcpu.domain, Number(port))) return 'EINVAL';
    unmaskPort(hypervisor, vcpu.domain, Number(port));
    return 0;
  },
});

/** EVTCHNSTAT_ numbers. */
const STATUS = { unbound: 1n, interdomain: 2n, virq: 4n, ipi: 5n } as const;

export const eventChannelStatus = defineHypercall({
  ...common,
  name: 'EVTCHNOP_status',
  command: 5,
  title: 'Tell what a port is bound to',
  argument: { dom: 'u16', port: 'u32', status: 'u32', vcpu: 'u32', first: 'u32', second: 'u32' },
  handle({ hypervisor, vcpu }, fields) {
    const domain = ownDomain(hypervisor, vcpu, fields.dom);
    if (typeof domain === 'string') return domain;
    if (!isPort(domain, Number(fields.port))) return 'EINVAL';
    const channel = domain.channels.get(Number(fields.port));
    fields.status = channel === undefined ? 0n : STATUS[channel.state];
    fields.vcpu = BigInt(channel?.vcpu ?? 0);
    if (channel?.state === 'virq') fields.first = BigInt(channel.virq);
    if (channel?.state === 'unbound' || channel?.state === 'interdomain') {
      fields.first = BigInt(channel.remoteDomain);
    }
    if (channel?.state === 'interdomain') fields.second = BigInt(channel.remotePort);
    return 0;
  },
});

/** Closes every port of the domain. */
export const eventChannelReset = defineHypercall({
  ...common,
  name: 'EVTCHNOP_reset',
  command: 10,
  title: 'Close all ports',
  argument: { dom: 'u16' },
  handle({ hypervisor, vcpu }, { dom }) {
    const domain = ownDomain(hypervisor, vcpu, dom);
    if (typeof domain === 'string') return domain;
    for (const port of [...domain.channels.keys()]) {
      closePort(hypervisor, domain, port);
      noteChannel(hypervisor, vcpu, port, 'close');
    }
    return 0;
  },
});
