/**
 * Yield, block, shutdown. Source: Xen public/sched.h.
 */
import type { EndReason } from '../../machine.ts';
import { isBlockOver, vcpuInfoAt } from '../event-channels.ts';
import { endDomain } from '../hypervisor.ts';
import { defineHypercall } from './hypercall.ts';

const common = { number: 29, source: 'Xen public/sched.h' } as const;

export const schedYield = defineHypercall({
  ...common,
  name: 'SCHEDOP_yield',
  command: 0,
  title: 'Let another vCPU run',
  handle({ hypervisor }) {
    hypervisor.yieldRequested = true;
    return 0;
  },
});

/** Waits for an event; unmasks the upcall first, and returns at once if one is pending. */
export const schedBlock = defineHypercall({
  ...common,
  name: 'SCHEDOP_block',
  command: 1,
  title: 'Wait for an event',
  handle({ hypervisor, vcpu }) {
    hypervisor.hardware.memory.bytes[vcpuInfoAt(vcpu) + 1] = 0;
    if (isBlockOver(hypervisor, vcpu)) return 0;
    vcpu.state = 'blocked';
    hypervisor.yieldRequested = true;
    return 0;
  },
});

/** SHUTDOWN_ reasons by number. */
export const SHUTDOWN_REASONS: readonly EndReason[] = [
  'poweroff',
  'reboot',
  'suspend',
  'crash',
  'watchdog',
];

export const schedShutdown = defineHypercall({
  ...common,
  name: 'SCHEDOP_shutdown',
  command: 2,
  title: 'End the domain',
  argument: { reason: 'u32' },
  handle({ hypervisor, vcpu }, { reason }) {
    const name = SHUTDOWN_REASONS[Number(reason)];
    if (name === undefined) return 'EINVAL';
    endDomain(
      hypervisor,
      vcpu,
      name,
      `Domain ${vcpu.domain.id} asked for SCHEDOP_shutdown with reason ${name}.`,
    );
    return 0;
  },
});
