/**
 * Segment bases of a PV vCPU, whose kernel can not write the MSRs itself.
 * Source: Xen public/arch-x86/xen-x86_64.h, HYPERVISOR_set_segment_base.
 */
import { FS, GS, KERNEL_GS_BASE, segmentBase } from '../../cpu/state.ts';
import type { XenVcpu } from '../domain.ts';
import type { Hardware } from '../hardware.ts';
import { pvOf } from '../pv/mode.ts';
import { defineHypercall } from './hypercall.ts';

const SEGBASE_FS = 0n;
const SEGBASE_GS_USER = 1n;
const SEGBASE_GS_KERNEL = 2n;
const SEGBASE_GS_USER_SEL = 3n;

const isCanonical = (value: bigint): boolean =>
  BigInt.asUintN(64, BigInt.asIntN(48, value)) === value;

export const setSegmentBase = defineHypercall({
  name: 'set_segment_base',
  number: 25,
  only: 'pv',
  title: 'Set the base of FS or GS',
  source: 'Xen public/arch-x86/xen-x86_64.h, HYPERVISOR_set_segment_base',
  handle({ hypervisor, vcpu, args: [which = 0n, base = 0n] }) {
    const { hardware } = hypervisor;
    if (which === SEGBASE_GS_USER_SEL) return loadUserGs(hardware, vcpu, Number(base & 0xffffn));
    if (!isCanonical(base)) return 'EINVAL';
    switch (which) {
      case SEGBASE_FS:
        hardware.setSlot(vcpu, segmentBase(FS), base);
        return 0;
      case SEGBASE_GS_USER:
        hardware.setSlot(vcpu, KERNEL_GS_BASE, base);
        return 0;
      case SEGBASE_GS_KERNEL:
        hardware.setSlot(vcpu, segmentBase(GS), base);
        return 0;
      default:
        return 'EINVAL';
    }
  },
});

/** SWAPGS, MOV to GS, SWAPGS: the base of the descriptor becomes that of the processes. */
const loadUserGs = (hardware: Hardware, vcpu: XenVcpu, selector: number): 0 => {
  const kernelBase = hardware.slot(vcpu, segmentBase(GS));
  const isLoaded = hardware.loadSegment?.(GS, selector) === true;
  if (!isLoaded) hardware.loadSegment?.(GS, 0);
  hardware.setSlot(vcpu, KERNEL_GS_BASE, hardware.slot(vcpu, segmentBase(GS)));
  hardware.setSlot(vcpu, segmentBase(GS), kernelBase);
  pvOf(vcpu).userGs = isLoaded ? selector : 0;
  return 0;
};
