/**
 * A set of vCPUs as PV guests name it: a bitmap in their memory, a bit for each.
 */

import type { XenVcpu } from '../../domain.ts';
import { readNumber } from '../../hypercalls/hypercall.ts';
import { copyFromGuest, type Hypervisor } from '../../hypervisor.ts';

const WORD_BYTES = 8;
const WORD_BITS = 64;

/** The vCPUs whose bits are set; undefined if the bitmap is not readable as far as it is needed. */
export const readVcpuSet = (
  hypervisor: Hypervisor,
  caller: XenVcpu,
  address: bigint,
): ReadonlySet<XenVcpu> | undefined => {
  const { vcpus } = caller.domain;
  const found = new Set<XenVcpu>();
  for (let first = 0; first < vcpus.length; first += WORD_BITS) {
    const at = address + BigInt((first / WORD_BITS) * WORD_BYTES);
    const bytes = copyFromGuest(hypervisor, caller, at, WORD_BYTES);
    if (bytes === undefined) return undefined;
    const word = readNumber(bytes, 0, WORD_BYTES);
    for (const vcpu of vcpus.slice(first, first + WORD_BITS)) {
      if (((word >> BigInt(vcpu.id - first)) & 1n) !== 0n) found.add(vcpu);
    }
  }
  return found;
};
