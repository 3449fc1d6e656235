/**
 * RDMSR and WRMSR of what the MSR bitmap does not pass: Xen's hypercall page, EFER, the local APIC,
 * and unknown MSRs, which are #GP(0). Sources: SDM Vol. 4; Xen public/arch-x86/cpuid.h (leaf 0x4000_0002).
 */
import { isPat } from '../../cpu/msrs.ts';
import {
  APIC_BASE as APIC_BASE_SLOT,
  CSTAR,
  FS,
  GS,
  KERNEL_GS_BASE,
  LSTAR,
  MISC_ENABLE,
  SFMASK,
  STAR,
  SYSENTER_CS,
  SYSENTER_EIP,
  SYSENTER_ESP,
  segmentBase,
  TSC_AUX,
} from '../../cpu/state.ts';
import { HYPERCALL_PAGE_MSR } from '../cpuid-policy.ts';
import { CR0_PG, EFER_LMA, EFER_LME, readControl, writeControl } from '../guest-control.ts';
import { FIELD } from '../hardware.ts';
import { writeGpa } from '../hypervisor.ts';
import {
  advance,
  advanceStep,
  type ExitContext,
  type ExitHandler,
  hex,
  injectException,
  readField,
  readGeneral,
  step,
  writeField,
  writeGeneral,
} from './exit.ts';

const GP = 13;
const EFER = 0xc000_0080;
const TIME_STAMP_COUNTER = 0x10;
const APIC_BASE = 0x1b;
/** The registers of an x2APIC by number, from here; its end. */
const X2APIC = 0x800;
const X2APIC_END = 0x900;
const MICROCODE = 0x8b;
const PAT = 0x277;
/** SCE, LME, LMA, NXE. */
const EFER_DEFINED = 0xd01n;

/** MSRs that the guest owns: their slots in the processor's state. */
const SLOTS: Readonly<Record<number, number>> = {
  372: SYSENTER_CS,
  373: SYSENTER_ESP,
  374: SYSENTER_EIP,
  416: MISC_ENABLE,
  3221225601: STAR,
  3221225602: LSTAR,
  3221225603: CSTAR,
  3221225604: SFMASK,
  3221225728: segmentBase(FS),
  3221225729: segmentBase(GS),
  3221225730: KERNEL_GS_BASE,
  3221225731: TSC_AUX,
};
/** Those whose value is an address that must be canonical. */
const ADDRESSES = new Set([
  0x175, 0x176, 0xc000_0082, 0xc000_0083, 0xc000_0100, 0xc000_0101, 0xc000_0102,
]);

const numberOf = (context: ExitContext): number => Number(readGeneral(context, 1) & 0xffff_ffffn);

const readMsr = (context: ExitContext, msr: number): bigint | undefined => {
  const { hypervisor, vcpu } = context;
  const slot = SLOTS[msr];
  if (slot !== undefined) return hypervisor.hardware.slot(vcpu, slot);
  if (msr === APIC_BASE) return hypervisor.hardware.slot(vcpu, APIC_BASE_SLOT);
  if (msr >= X2APIC && msr < X2APIC_END) {
    return vcpu.apic?.isX2 ? vcpu.apic.read(msr - X2APIC, hypervisor.nowNs) : undefined;
  }
  if (msr === EFER) return readControl(hypervisor, vcpu).efer;
  if (msr === PAT) return readField(context, FIELD.GUEST_IA32_PAT);
  if (msr === TIME_STAMP_COUNTER) return BigInt(hypervisor.nowNs);
  return msr === MICROCODE ? 0n : undefined;
};

/** Whether the MSR takes the value. */
const writeMsr = (context: ExitContext, msr: number, value: bigint): boolean => {
  const { hypervisor, vcpu } = context;
  if (ADDRESSES.has(msr) && BigInt.asUintN(64, BigInt.asIntN(48, value)) !== value) return false;
  if (msr === HYPERCALL_PAGE_MSR) return fillHypercallPage(context, value);
  if (msr === APIC_BASE) return vcpu.apic?.setBase(value) === true;
  if (msr >= X2APIC && msr < X2APIC_END) {
    return vcpu.apic?.isX2 === true && vcpu.apic.write(msr - X2APIC, value, hypervisor.nowNs);
  }
  if (msr === EFER) return writeEfer(context, value);
  if (msr === PAT) {
    if (!isPat(value)) return false;
    writeField(context, FIELD.GUEST_IA32_PAT, value);
    return true;
  }
  const slot = SLOTS[msr];
  if (slot !== undefined) hypervisor.hardware.setSlot(vcpu, slot, value);
  return slot !== undefined || msr === MICROCODE;
};

const writeEfer = ({ hypervisor, vcpu }: ExitContext, value: bigint): boolean => {
  const old = readControl(hypervisor, vcpu);
  const isPaging = (old.cr0 & CR0_PG) !== 0n;
  if ((value & ~EFER_DEFINED) !== 0n) return false;
  if (isPaging && ((value ^ old.efer) & EFER_LME) !== 0n) return false;
  const efer = (value & ~EFER_LMA) | (old.efer & EFER_LMA);
  return writeControl(hypervisor, vcpu, { ...old, efer }) !== 'refuse';
};

/** 32 bytes a hypercall: `mov eax, number; vmcall; ret`, or `ud2` for iret (Xen, vmx_init_hypercall_page). */
const fillHypercallPage = ({ hypervisor, vcpu }: ExitContext, value: bigint): boolean => {
  const page = new Uint8Array(4096).fill(0xcc);
  for (let number = 0; number < 128; number += 1) {
    page.set([0xb8, number, 0, 0, 0, 0x0f, 0x01, 0xc1, 0xc3], number * 32);
  }
  page.set([0x0f, 0x0b], 23 * 32);
  // The low 12 bits number the page; there is one.
  if ((value & 0xfffn) !== 0n) return false;
  const gpa = Number(value);
  return writeGpa(hypervisor, vcpu.domain, gpa, page);
};

export const rdmsr: ExitHandler = {
  number: 31,
  *handle(context) {
    const msr = numberOf(context);
    yield step('Look the MSR up', () => `ECX = ${hex(msr)}`);
    const value = readMsr(context, msr);
    if (value === undefined) {
      yield step('Inject #GP(0)', () => `there is no MSR ${hex(msr)}`);
      injectException(context, GP, 0);
      return;
    }
    yield step('Set EDX:EAX', () => hex(value));
    writeGeneral(context, 0, value & 0xffff_ffffn);
    writeGeneral(context, 2, value >> 32n);
    yield advanceStep(context);
    advance(context);
  },
};

export const wrmsr: ExitHandler = {
  number: 32,
  *handle(context) {
    const msr = numberOf(context);
    const value =
      ((readGeneral(context, 2) & 0xffff_ffffn) << 32n) | (readGeneral(context, 0) & 0xffff_ffffn);
    yield step(
      msr === HYPERCALL_PAGE_MSR ? 'Fill the hypercall page' : 'Write the MSR',
      () => `MSR ${hex(msr)} = ${hex(value)}`,
    );
    if (!writeMsr(context, msr, value)) {
      yield step('Inject #GP(0)', () => `MSR ${hex(msr)} does not take ${hex(value)}`);
      injectException(context, GP, 0);
      return;
    }
    yield advanceStep(context);
    advance(context);
  },
};
