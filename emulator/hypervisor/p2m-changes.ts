/**
 * The one place that changes the P2M of a domain that runs: translations that the processor
 * remembers are dropped, and observers are told.
 */
import type { Gfn, Mfn } from '../memory/addresses.ts';
import type { XenDomain, XenVcpu } from './domain.ts';
import { type EventBody, emit, type Hypervisor } from './hypervisor.ts';
import type { P2mType } from './p2m.ts';

/** The vCPU that an event of a domain names: the one that runs, or the first. */
export const vcpuFor = ({ hardware }: Hypervisor, domain: XenDomain): XenVcpu | undefined =>
  hardware.loaded?.domain === domain ? hardware.loaded : domain.vcpus[0];

/** Emits an event of a domain, whoever runs. Ask `wants` first. */
export const emitOf = (hypervisor: Hypervisor, domain: XenDomain, body: EventBody): void => {
  const vcpu = vcpuFor(hypervisor, domain);
  if (vcpu !== undefined) emit(hypervisor, vcpu, body);
};

/**
 * Maps a gfn, or marks it not present if mfn is undefined. Frames change no owner here. False if
 * there is no frame for the EPT table that this takes; nothing has changed then.
 */
export const changeP2m = (
  hypervisor: Hypervisor,
  domain: XenDomain,
  gfn: Gfn,
  type: P2mType,
  mfn: Mfn | undefined,
  access?: number,
): boolean =>
  change(hypervisor, domain, gfn, type, mfn, () => domain.p2m.set(gfn, type, mfn, access));

/** Marks a gfn as paged out to a swap slot; otherwise as changeP2m. */
export const changeToPaged = (
  hypervisor: Hypervisor,
  domain: XenDomain,
  gfn: Gfn,
  slot: number,
): boolean =>
  change(hypervisor, domain, gfn, 'paged', undefined, () => domain.p2m.setPaged(gfn, slot));

const change = (
  hypervisor: Hypervisor,
  domain: XenDomain,
  gfn: Gfn,
  type: P2mType,
  mfn: Mfn | undefined,
  perform: () => boolean,
): boolean => {
  const { p2m } = domain;
  const oldMfn = p2m.mfnOf(gfn);
  const isTold = hypervisor.events.wants('p2m-change');
  const oldType = isTold ? p2m.typeOf(gfn) : 'hole';
  if (!perform()) return false;
  hypervisor.p2mChanges = (hypervisor.p2mChanges ?? 0) + 1;
  // Of an entry that was not present nothing is remembered.
  if (oldMfn !== undefined) hypervisor.hardware.forgetFrame?.(gfn, oldMfn);
  if (isTold) {
    emitOf(hypervisor, domain, { kind: 'p2m-change', gfn, oldType, newType: type, mfn });
  }
  return true;
};
