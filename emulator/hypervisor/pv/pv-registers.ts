/**
 * The processor's registers as Xen sets them for a PV vCPU, whatever the guest is.
 */
import {
  CR0,
  CR4,
  DR6,
  DS,
  EFER,
  ES,
  FS,
  GDTR_BASE,
  GDTR_LIMIT,
  GS,
  IDTR_BASE,
  IDTR_LIMIT,
  LDTR,
  PAT,
  segmentAccess,
  segmentBase,
  segmentLimit,
  segmentSelector,
  TR,
} from '../../cpu/state.ts';
import type { XenVcpu } from '../domain.ts';
import { FIELD, type Hardware } from '../hardware.ts';
import { gdtPageOf, perDomainAddress, TSS_SELECTOR } from './layout.ts';

const CR0_START = 0x8005_0033n;
/** PAE, OSFXSR, OSXMMEXCPT. */
const CR4_START = 0x620n;
/** SCE, LME, LMA, NXE. */
const EFER_START = 0xd01n;
const XEN_PAT = 0x0000_0501_0007_0406n;
const DR6_START = 0xffff_0ff0n;
const DR7_START = 0x400n;
const UNUSABLE = 0x1_0000n;
const BUSY_TSS = 0x8bn;
/** Too short for an I/O bitmap, so that every IN and OUT at level 3 is #GP. */
const TSS_LIMIT = 0x66n;
const GDT_LIMIT = 0xffffn;

/** The vCPU is loaded. */
export const setPvRegisters = (hardware: Hardware, vcpu: XenVcpu): void => {
  const set = (slot: number, value: bigint): void => hardware.setSlot(vcpu, slot, value);
  set(CR0, CR0_START);
  set(CR4, CR4_START);
  set(EFER, EFER_START);
  set(PAT, XEN_PAT);
  set(DR6, DR6_START);
  hardware.write(FIELD.GUEST_DR7, DR7_START);
  for (const segment of [ES, DS, FS, GS, LDTR]) {
    set(segmentSelector(segment), 0n);
    set(segmentBase(segment), 0n);
    set(segmentLimit(segment), 0n);
    set(segmentAccess(segment), UNUSABLE);
  }
  set(segmentSelector(TR), BigInt(TSS_SELECTOR));
  set(segmentBase(TR), 0n);
  set(segmentLimit(TR), TSS_LIMIT);
  set(segmentAccess(TR), BUSY_TSS);
  set(GDTR_BASE, perDomainAddress(gdtPageOf(vcpu.id)));
  set(GDTR_LIMIT, GDT_LIMIT);
  set(IDTR_BASE, 0n);
  set(IDTR_LIMIT, 0n);
};
