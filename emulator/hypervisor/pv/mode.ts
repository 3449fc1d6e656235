/**
 * The two modes of a PV vCPU, which both run at privilege level 3: the guest's kernel and its
 * processes have page tables and a GS base of their own.
 * Source: xen/arch/x86/pv/domain.c, toggle_guest_mode.
 */
import {
  CR3,
  CS,
  GS,
  KERNEL_GS_BASE,
  SS,
  segmentAccess,
  segmentBase,
  segmentLimit,
  segmentSelector,
} from '../../cpu/state.ts';
import type { XenVcpu } from '../domain.ts';
import type { Hypervisor } from '../hypervisor.ts';
import { FLAT_KERNEL_CS, FLAT_KERNEL_SS } from './layout.ts';
import { directPagingOf } from './mmu/direct-paging.ts';
import type { PvVcpu } from './pv-vcpu.ts';

/** Access rights in the VMCS's format: accessed, present, DPL 3; 64-bit code and flat data. */
const CODE64 = 0xa0fbn;
const DATA = 0xc0f3n;

export const pvOf = (vcpu: XenVcpu): PvVcpu => {
  if (vcpu.pv === undefined) throw new Error(`vCPU ${vcpu.id} is none of a PV domain.`);
  return vcpu.pv;
};

/** From the kernel to its processes, or back: SWAPGS and the other page tables. */
export const toggleMode = (hypervisor: Hypervisor, vcpu: XenVcpu): void => {
  const pv = pvOf(vcpu);
  const { hardware } = hypervisor;
  const inner = hardware.slot(vcpu, KERNEL_GS_BASE);
  hardware.setSlot(vcpu, KERNEL_GS_BASE, hardware.slot(vcpu, segmentBase(GS)));
  hardware.setSlot(vcpu, segmentBase(GS), inner);
  pv.isKernel = !pv.isKernel;
  const { kernel, user } = directPagingOf(hypervisor).roots(vcpu);
  const root = pv.isKernel ? kernel : user;
  if (root !== 0) hardware.setSlot(vcpu, CR3, BigInt(root) << 12n);
};

/** CS and SS as every entry of the kernel finds them. */
export const setKernelSegments = ({ hardware }: Hypervisor, vcpu: XenVcpu): void => {
  const set = (segment: number, selector: number, access: bigint): void => {
    hardware.setSlot(vcpu, segmentSelector(segment), BigInt(selector));
    hardware.setSlot(vcpu, segmentBase(segment), 0n);
    hardware.setSlot(vcpu, segmentLimit(segment), 0xffff_ffffn);
    hardware.setSlot(vcpu, segmentAccess(segment), access);
  };
  set(CS, FLAT_KERNEL_CS, CODE64);
  set(SS, FLAT_KERNEL_SS, DATA);
};
