/**
 * Event channels of the 2-level ABI: pending bits in shared_info, the upcall in vcpu_info.
 * Source: Xen public/event_channel.h, public/xen.h (struct shared_info, struct vcpu_info).
 */

import type { Maddr } from '../memory/addresses.ts';
import { hostAddressOf } from '../memory/machine-memory.ts';
import { type Channel, EVENT_CHANNELS, type XenDomain, type XenVcpu } from './domain.ts';
import { emit, type Hypervisor } from './hypervisor.ts';

export const VIRQ_TIMER = 0;
/** VIRQs that are bound by each vCPU; the others by the domain. */
const PER_VCPU_VIRQS = new Set([0, 1, 7, 13]);
export const VIRQ_NAMES: Readonly<Record<number, string>> = {
  0: 'VIRQ_TIMER',
  1: 'VIRQ_DEBUG',
  2: 'VIRQ_CONSOLE',
  3: 'VIRQ_DOM_EXC',
  7: 'VIRQ_XENOPROF',
  13: 'VIRQ_XENPMU',
};
export const isPerVcpu = (virq: number): boolean => PER_VCPU_VIRQS.has(virq);

const PENDING = 0x800;
const MASK = 0xa00;
const VCPU_INFO_BYTES = 64;
const UPCALL_PENDING = 0;
/** What the event of the interrupt says. */
export const UPCALL = 'event-channel upcall';
export const PENDING_SELECTOR = 8;

const sharedInfo = ({ sharedInfo }: XenDomain): number =>
  hostAddressOf((sharedInfo * 4096) as Maddr);

/** Host address of a vCPU's vcpu_info. */
export const vcpuInfoAt = (vcpu: XenVcpu): number =>
  vcpu.infoMaddr === undefined
    ? sharedInfo(vcpu.domain) + vcpu.id * VCPU_INFO_BYTES
    : hostAddressOf(vcpu.infoMaddr);

/** Ports come into being in buckets of 64, the first of which is always there. */
const BUCKET = 64;

/** Whether a port exists, open or not: it is in a bucket that has been needed. */
export const isPort = ({ channels }: XenDomain, port: number): boolean => {
  if (port < BUCKET) return true;
  for (const open of channels.keys())
    if (port < Math.ceil((open + 1) / BUCKET) * BUCKET) return true;
  return false;
};

/** The lowest free port, or undefined; port 0 is never used. */
export const freePort = ({ channels }: XenDomain): number | undefined => {
  for (let port = 1; port < EVENT_CHANNELS; port += 1) if (!channels.has(port)) return port;
  return undefined;
};

const bitOf = ({ hardware }: Hypervisor, at: number, port: number): boolean =>
  ((hardware.memory.bytes[at + (port >> 3)] ?? 0) & (1 << (port & 7))) !== 0;

export const isPending = (hypervisor: Hypervisor, domain: XenDomain, port: number): boolean =>
  bitOf(hypervisor, sharedInfo(domain) + PENDING, port);
export const isMasked = (hypervisor: Hypervisor, domain: XenDomain, port: number): boolean =>
  bitOf(hypervisor, sharedInfo(domain) + MASK, port);

/**
 * Marks a port pending, and its vCPU's upcall unless the port is masked or was pending. Domain 0
 * does its work at once.
 */
export const raisePort = (hypervisor: Hypervisor, domain: XenDomain, port: number): void => {
  if (isPending(hypervisor, domain, port)) return;
  const { bytes } = hypervisor.hardware.memory;
  const at = sharedInfo(domain) + PENDING + (port >> 3);
  bytes[at] = (bytes[at] ?? 0) | (1 << (port & 7));
  if (!isMasked(hypervisor, domain, port)) notifyVcpu(hypervisor, domain, port);
  if (domain.id === 0) hypervisor.dom0?.upcall();
};

/** Takes the pending ports of a domain, the lowest first: what a guest's upcall handler does. */
export const takePending = (hypervisor: Hypervisor, domain: XenDomain): number[] => {
  const { bytes } = hypervisor.hardware.memory;
  const taken = [...domain.channels.keys()]
    .filter((port) => isPending(hypervisor, domain, port))
    .sort((a, b) => a - b);
  for (const port of taken) clearPending(hypervisor, domain, port);
  const info = domain.vcpus[0] && vcpuInfoAt(domain.vcpus[0]);
  if (info !== undefined) {
    bytes[info + UPCALL_PENDING] = 0;
    bytes.fill(0, info + PENDING_SELECTOR, info + PENDING_SELECTOR + 8);
  }
  return taken;
};

const clearPending = ({ hardware }: Hypervisor, domain: XenDomain, port: number): void => {
  const { bytes } = hardware.memory;
  const at = sharedInfo(domain) + PENDING + (port >> 3);
  bytes[at] = (bytes[at] ?? 0) & ~(1 << (port & 7));
};

/** EVTCHNOP_unmask: clears the mask; an event that waited for it is notified now. */
export const unmaskPort = (hypervisor: Hypervisor, domain: XenDomain, port: number): void => {
  const { bytes } = hypervisor.hardware.memory;
  const at = sharedInfo(domain) + MASK + (port >> 3);
  const wasMasked = isMasked(hypervisor, domain, port);
  bytes[at] = (bytes[at] ?? 0) & ~(1 << (port & 7));
  if (wasMasked && isPending(hypervisor, domain, port)) notifyVcpu(hypervisor, domain, port);
};

const notifyVcpu = (hypervisor: Hypervisor, domain: XenDomain, port: number): void => {
  const vcpu = domain.vcpus[domain.channels.get(port)?.vcpu ?? 0];
  if (vcpu === undefined) return;
  const { bytes } = hypervisor.hardware.memory;
  const info = vcpuInfoAt(vcpu);
  const selector = port >> 6;
  const at = info + PENDING_SELECTOR + (selector >> 3);
  bytes[at] = (bytes[at] ?? 0) | (1 << (selector & 7));
  raiseUpcall(hypervisor, vcpu);
};

/** Marks the upcall of a vCPU pending, and wakes it. */
export const raiseUpcall = ({ hardware }: Hypervisor, vcpu: XenVcpu): void => {
  const { bytes } = hardware.memory;
  const at = vcpuInfoAt(vcpu) + UPCALL_PENDING;
  if (bytes[at] === 0) {
    bytes[at] = 1;
    if (vcpu.upcallVector !== 0) vcpu.apic?.request(vcpu.upcallVector, UPCALL);
  }
  if (vcpu.state === 'blocked') vcpu.state = 'runnable';
};

/** The interrupt vector that waits for this vCPU; an upcall by the callback needs no EOI. */
export const pendingVector = (
  hypervisor: Hypervisor,
  vcpu: XenVcpu,
): { readonly vector: number; readonly from: 'callback' | 'local APIC' } | undefined => {
  const { callbackVector } = vcpu.domain;
  if (callbackVector !== 0 && hasPendingUpcall(hypervisor, vcpu)) {
    return { vector: callbackVector, from: 'callback' };
  }
  const vector = vcpu.apic?.deliverable;
  return vector === undefined ? undefined : { vector, from: 'local APIC' };
};

/** Whether a block would end at once. */
export const isBlockOver = (hypervisor: Hypervisor, vcpu: XenVcpu): boolean =>
  pendingVector(hypervisor, vcpu) !== undefined ||
  (vcpu.upcallVector === 0 && hasPendingUpcall(hypervisor, vcpu));

export const hasPendingUpcall = ({ hardware }: Hypervisor, vcpu: XenVcpu): boolean =>
  hardware.memory.bytes[vcpuInfoAt(vcpu) + UPCALL_PENDING] !== 0;

/** Raises a VIRQ if the vCPU (or the domain) has bound it. */
export const raiseVirq = (hypervisor: Hypervisor, vcpu: XenVcpu, virq: number): void => {
  for (const [port, channel] of vcpu.domain.channels) {
    const isOwn = channel.vcpu === vcpu.id || !isPerVcpu(virq);
    if (channel.state === 'virq' && channel.virq === virq && isOwn) {
      raisePort(hypervisor, vcpu.domain, port);
      noteChannel(hypervisor, vcpu, port, 'send');
    }
  }
};

/** Closes a port; the other end of an interdomain channel becomes unbound. */
export const closePort = (hypervisor: Hypervisor, domain: XenDomain, port: number): void => {
  const channel = domain.channels.get(port);
  domain.channels.delete(port);
  clearPending(hypervisor, domain, port);
  if (channel?.state !== 'interdomain') return;
  const remote = hypervisor.domains.get(channel.remoteDomain);
  const other = remote?.channels.get(channel.remotePort);
  if (remote !== undefined && other !== undefined) {
    remote.channels.set(channel.remotePort, {
      state: 'unbound',
      remoteDomain: domain.id,
      vcpu: other.vcpu,
    });
  }
};

/** Puts a new channel at the lowest free port. */
export const openChannel = (domain: XenDomain, channel: Channel): number | undefined => {
  const port = freePort(domain);
  if (port !== undefined) domain.channels.set(port, channel);
  return port;
};

/** Connects two domains: a port of each, as the toolstack does for the rings. */
export const connectPorts = (
  near: XenDomain,
  nearPort: number,
  far: XenDomain,
  farPort: number,
): void => {
  const set = (domain: XenDomain, port: number, other: XenDomain, remotePort: number): void => {
    const vcpu = domain.channels.get(port)?.vcpu ?? 0;
    domain.channels.set(port, { state: 'interdomain', remoteDomain: other.id, remotePort, vcpu });
  };
  set(near, nearPort, far, farPort);
  set(far, farPort, near, nearPort);
};

export const noteChannel = (
  hypervisor: Hypervisor,
  vcpu: XenVcpu,
  port: number,
  action: 'send' | 'bind' | 'close' | 'upcall',
): void => {
  if (hypervisor.events.wants('event-channel')) {
    emit(hypervisor, vcpu, { kind: 'event-channel', port, action });
  }
};
