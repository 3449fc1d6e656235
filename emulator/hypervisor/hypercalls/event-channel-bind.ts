/**
 * Opens channels: to another domain, to a VIRQ, between vCPUs. Source: Xen public/event_channel.h.
 */
import {
  hasPendingUpcall,
  isPerVcpu,
  noteChannel,
  openChannel,
  raisePort,
} from '../event-channels.ts';
import { ownDomain } from '../hypervisor.ts';
import { defineHypercall, type HypercallContext, type HypercallResult } from './hypercall.ts';

const DOMID_SELF = 0x7ff0;
const VIRQS = 24n;
const common = { number: 32, source: 'Xen public/event_channel.h' } as const;

const bound = (
  { hypervisor, vcpu }: HypercallContext,
  port: number | undefined,
  fields: { port: bigint },
): HypercallResult => {
  if (port === undefined) return 'ENOSPC';
  fields.port = BigInt(port);
  noteChannel(hypervisor, vcpu, port, 'bind');
  return 0;
};

export const eventChannelAllocUnbound = defineHypercall({
  ...common,
  name: 'EVTCHNOP_alloc_unbound',
  command: 6,
  title: 'Open a port that another domain may bind',
  argument: { dom: 'u16', remote_dom: 'u16', port: 'u32' },
  handle(context, fields) {
    const domain = ownDomain(context.hypervisor, context.vcpu, fields.dom);
    if (typeof domain === 'string') return domain;
    const remote = Number(fields.remote_dom);
    const remoteDomain = remote === DOMID_SELF ? domain.id : remote;
    return bound(context, openChannel(domain, { state: 'unbound', remoteDomain, vcpu: 0 }), fields);
  },
});

/** The far end must be unbound and reserved for the caller. */
export const eventChannelBindInterdomain = defineHypercall({
  ...common,
  name: 'EVTCHNOP_bind_interdomain',
  command: 0,
  title: "Connect to another domain's port",
  argument: { remote_dom: 'u16', remote_port: 'u32', local_port: 'u32' },
  handle({ hypervisor, vcpu }, fields) {
    const remoteId = Number(fields.remote_dom);
    const remoteDomain = remoteId === DOMID_SELF ? vcpu.domain.id : remoteId;
    const remote = hypervisor.domains.get(remoteDomain);
    if (remote === undefined) return 'ESRCH';
    const remotePort = Number(fields.remote_port);
    const far = remote.channels.get(remotePort);
    if (far?.state !== 'unbound' || far.remoteDomain !== vcpu.domain.id) return 'EINVAL';
    const port = openChannel(vcpu.domain, {
      state: 'interdomain',
      remoteDomain,
      remotePort,
      vcpu: 0,
    });
    if (port === undefined) return 'ENOSPC';
    remote.channels.set(remotePort, {
      state: 'interdomain',
      remoteDomain: vcpu.domain.id,
      remotePort: port,
      vcpu: far.vcpu,
    });
    fields.local_port = BigInt(port);
    noteChannel(hypervisor, vcpu, port, 'bind');
    // Events that the far end has lost while unbound may be waiting: Xen raises the new port.
    raisePort(hypervisor, vcpu.domain, port);
    return 0;
  },
});

export const eventChannelBindVirq = defineHypercall({
  ...common,
  name: 'EVTCHNOP_bind_virq',
  command: 1,
  title: 'Receive a virtual interrupt on a port',
  argument: { virq: 'u32', vcpu: 'u32', port: 'u32' },
  handle(context, fields) {
    const { domain } = context.vcpu;
    const virq = Number(fields.virq);
    const target = Number(fields.vcpu);
    if (fields.virq >= VIRQS) return 'EINVAL';
    if (!isPerVcpu(virq) && target !== 0) return 'EINVAL';
    if (domain.vcpus[target] === undefined) return 'ENOENT';
    for (const channel of domain.channels.values()) {
      const isSame = channel.state === 'virq' && channel.virq === virq;
      if (isSame && (channel.vcpu === target || !isPerVcpu(virq))) return 'EEXIST';
    }
    return bound(context, openChannel(domain, { state: 'virq', virq, vcpu: target }), fields);
  },
});

export const eventChannelBindIpi = defineHypercall({
  ...common,
  name: 'EVTCHNOP_bind_ipi',
  command: 7,
  title: 'Open a port between vCPUs',
  argument: { vcpu: 'u32', port: 'u32' },
  handle(context, fields) {
    const target = Number(fields.vcpu);
    if (context.vcpu.domain.vcpus[target] === undefined) return 'ENOENT';
    return bound(context, openChannel(context.vcpu.domain, { state: 'ipi', vcpu: target }), fields);
  },
});

export const eventChannelBindVcpu = defineHypercall({
  ...common,
  name: 'EVTCHNOP_bind_vcpu',
  command: 8,
  title: 'Deliver a port to another vCPU',
  argument: { port: 'u32', vcpu: 'u32' },
  handle({ hypervisor, vcpu }, fields) {
    const channel = vcpu.domain.channels.get(Number(fields.port));
    const target = vcpu.domain.vcpus[Number(fields.vcpu)];
    if (target === undefined) return 'ENOENT';
    if (channel === undefined || channel.state === 'ipi') return 'EINVAL';
    if (channel.state === 'virq' && isPerVcpu(channel.virq)) return 'EINVAL';
    channel.vcpu = target.id;
    if (hasPendingUpcall(hypervisor, target) && target.state === 'blocked')
      target.state = 'runnable';
    return 0;
  },
});
