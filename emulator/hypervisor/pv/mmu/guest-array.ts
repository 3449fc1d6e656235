/**
 * An array of structures in a PV guest's memory, read one by one: a request may change the tables
 * that lead to the next.
 */
import { linearNumber, linearOfNumber } from '../../../cpu/paging.ts';
import type { Maddr } from '../../../memory/addresses.ts';
import { hostAddressOf } from '../../../memory/machine-memory.ts';
import type { XenVcpu } from '../../domain.ts';
import { copyFromGuest, type Hypervisor } from '../../hypervisor.ts';
import { directPagingOf } from './direct-paging.ts';
import { isGuestNumber, translate } from './translate.ts';

export interface GuestArray {
  /** Reads element `index` into `view`; false if it is not mapped. */
  read(index: number): boolean;
  /** The element that was read. */
  readonly view: DataView;
}

export const guestArray = (
  hypervisor: Hypervisor,
  vcpu: XenVcpu,
  start: bigint,
  elementBytes: number,
): GuestArray => {
  const { mmu, roots } = directPagingOf(hypervisor);
  const { bytes } = mmu.memory;
  const element = new Uint8Array(elementBytes);
  const own = roots(vcpu);
  const first = linearNumber(start);
  return {
    view: new DataView(element.buffer),
    read(index) {
      const linear = first + index * elementBytes;
      const isWithinPage = (linear & 0xfff) + elementBytes <= 4096;
      if (!isWithinPage || !isGuestNumber(linear)) {
        const copied = copyFromGuest(hypervisor, vcpu, linearOfNumber(linear), elementBytes);
        if (copied !== undefined) element.set(copied);
        return copied !== undefined;
      }
      const maddr = translate(mmu, own.kernel, linear, false);
      if (maddr < 0) return false;
      const host = hostAddressOf(maddr as Maddr);
      for (let offset = 0; offset < elementBytes; offset += 1) {
        element[offset] = bytes[host + offset] ?? 0;
      }
      return true;
    },
  };
};
