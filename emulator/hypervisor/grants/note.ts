/**
 * Tells of uses of grants.
 */
import type { Mfn } from '../../memory/addresses.ts';
import type { XenVcpu } from '../domain.ts';
import { emit, type Hypervisor } from '../hypervisor.ts';

export const noteGrant = (
  hypervisor: Hypervisor,
  vcpu: XenVcpu,
  action: 'map' | 'unmap' | 'transfer',
  other: number,
  reference: number,
  mfn: Mfn,
): void => {
  if (hypervisor.events.wants('grant')) {
    emit(hypervisor, vcpu, { kind: 'grant', action, other, reference, mfn });
  }
};

/** Remembers what a handle stands for, to tell of it when the mapping is gone. */
export const noteUnmap = (hypervisor: Hypervisor, vcpu: XenVcpu, handle: number): (() => void) => {
  const mapping = vcpu.domain.grants.mappings.get(handle);
  const owner = mapping && hypervisor.domains.get(mapping.domain);
  const mfn = mapping && owner?.grants.active.get(mapping.reference)?.mfn;
  return () => {
    if (mapping === undefined || mfn === undefined) return;
    noteGrant(hypervisor, vcpu, 'unmap', mapping.domain, mapping.reference, mfn);
  };
};
