/**
 * The FIFO ABI of event channels is not offered; a domain that asks keeps the 2-level ABI.
 * Source: Xen public/event_channel.h, EVTCHNOP_init_control and the rest of the FIFO ABI.
 */
import { isPort } from '../event-channels.ts';
import { defineHypercall } from './hypercall.ts';

const common = { number: 32, source: 'Xen public/event_channel.h' } as const;

export const eventChannelInitControl = defineHypercall({
  ...common,
  name: 'EVTCHNOP_init_control',
  command: 11,
  title: 'Ask for the FIFO ABI',
  argument: { control_gfn: 'u64', offset: 'u32', vcpu: 'u32', link_bits: 'u8' },
  handle: () => 'ENOSYS',
});

export const eventChannelExpandArray = defineHypercall({
  ...common,
  name: 'EVTCHNOP_expand_array',
  command: 12,
  title: 'Give a page for events of the FIFO ABI',
  argument: { array_gfn: 'u64' },
  handle: () => 'EOPNOTSUPP',
});

/** Only the FIFO ABI has priorities. */
export const eventChannelSetPriority = defineHypercall({
  ...common,
  name: 'EVTCHNOP_set_priority',
  command: 13,
  title: "Set a port's priority",
  argument: { port: 'u32', priority: 'u32' },
  handle: ({ vcpu }, { port }) => (isPort(vcpu.domain, Number(port)) ? 'ENOSYS' : 'EINVAL'),
});
