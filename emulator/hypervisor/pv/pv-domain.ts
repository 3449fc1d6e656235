/**
 * What Xen keeps of a PV domain as a whole.
 */
import type { XenDomain } from '../domain.ts';
import type { SavedPart, SavedValue } from '../hypervisor.ts';
import type { PerDomainArea } from './per-domain.ts';
import { restorePvVcpu, savePvVcpu } from './pv-vcpu.ts';

export interface PvDomain {
  readonly area: PerDomainArea;
  /** VMASST_TYPE_ numbers that are on (vm-assist.ts). */
  readonly assists: Set<number>;
}

/** The domain's and its vCPUs' PV state, for snapshots; the per-domain area is in machine memory. */
export const pvPartOf = ({ pv, vcpus }: XenDomain): SavedPart => ({
  save: (): SavedValue => ({
    assists: [...(pv?.assists ?? [])],
    vcpus: vcpus.flatMap((vcpu) => (vcpu.pv === undefined ? [] : [savePvVcpu(vcpu.pv)])),
  }),
  restore(value) {
    const saved = value as {
      readonly assists: readonly number[];
      readonly vcpus: readonly SavedValue[];
    };
    pv?.assists.clear();
    for (const assist of saved.assists) pv?.assists.add(assist);
    saved.vcpus.forEach((one, index) => {
      const own = vcpus[index]?.pv;
      if (own !== undefined) restorePvVcpu(own, one);
    });
  },
});
