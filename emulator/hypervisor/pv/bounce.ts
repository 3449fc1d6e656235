/**
 * Calls a PV guest's kernel: a frame is pushed on its stack, and it goes on at the address that it
 * has registered. The frame, from low addresses to high:
 *
 *   RCX, R11, [error code], RIP, CS | upcall mask << 32, RFLAGS, RSP, SS
 *
 * CS has RPL 0 if the kernel itself was interrupted. RFLAGS.IF is the virtual one: the upcall mask,
 * inverted. Source: Xen public/arch-x86/xen-x86_64.h; xen/arch/x86/x86_64/entry.S,
 * create_bounce_frame.
 */
import { CS, registerSlot, SS, segmentSelector } from '../../cpu/state.ts';
import type { XenVcpu } from '../domain.ts';
import { vcpuInfoAt } from '../event-channels.ts';
import { FIELD } from '../hardware.ts';
import { writeNumber } from '../hypercalls/hypercall.ts';
import { copyToGuest, type Hypervisor } from '../hypervisor.ts';
import { isGuestAddress } from './layout.ts';
import { pvOf, setKernelSegments, toggleMode } from './mode.ts';
import type { PvCallback, PvGate } from './pv-vcpu.ts';

const RCX = registerSlot(1);
const RSP = registerSlot(4);
const R11 = registerSlot(11);
const UPCALL_MASK = 1;
const CR2_IN_INFO = 16;
const RFLAGS_IF = 0x200n;
const RFLAGS_IOPL = 0x3000n;
/** TF, NT, RF, VM, AC. */
const CLEARED = 0x100n | 0x4000n | 0x1_0000n | 0x2_0000n | 0x4_0000n;
const PF = 14;
const ERROR_USER = 4;

export const isUpcallMasked = ({ hardware }: Hypervisor, vcpu: XenVcpu): boolean =>
  hardware.memory.bytes[vcpuInfoAt(vcpu) + UPCALL_MASK] !== 0;

export const maskUpcalls = ({ hardware }: Hypervisor, vcpu: XenVcpu, isMasked: boolean): void => {
  hardware.memory.bytes[vcpuInfoAt(vcpu) + UPCALL_MASK] = isMasked ? 1 : 0;
};

/** Enters the kernel at a gate or callback; a sentence if the domain can not go on. */
export const bounce = (
  hypervisor: Hypervisor,
  vcpu: XenVcpu,
  to: PvCallback | PvGate,
  errorCode?: number,
): string | undefined => {
  const { hardware } = hypervisor;
  if (to.address === 0n) return 'The kernel has registered no handler for it.';
  const rflags = hardware.read(FIELD.GUEST_RFLAGS);
  const isMasked = isUpcallMasked(hypervisor, vcpu);
  const selector = (segment: number): bigint =>
    hardware.slot(vcpu, segmentSelector(segment)) & 0xffffn;
  const pv = pvOf(vcpu);
  const fromKernel = pv.isKernel;
  const words = [
    hardware.slot(vcpu, RCX),
    hardware.slot(vcpu, R11),
    ...(errorCode === undefined ? [] : [BigInt(errorCode)]),
    hardware.read(FIELD.GUEST_RIP),
    (fromKernel ? selector(CS) & ~3n : selector(CS)) | (isMasked ? 1n << 32n : 0n),
    (rflags & ~(RFLAGS_IF | RFLAGS_IOPL)) | (isMasked ? 0n : RFLAGS_IF),
    hardware.slot(vcpu, RSP),
    selector(SS),
  ];
  if (!fromKernel) toggleMode(hypervisor, vcpu);
  const top = (fromKernel ? hardware.slot(vcpu, RSP) : pv.kernelSp) & ~15n;
  const bytes = new Uint8Array(words.length * 8);
  for (const [index, word] of words.entries()) writeNumber(bytes, index * 8, 8, word);
  const at = BigInt.asUintN(64, top - BigInt(bytes.length));
  if (!isGuestAddress(at, bytes.length) || !copyToGuest(hypervisor, vcpu, at, bytes)) {
    return `The kernel's stack at 0x${top.toString(16)} does not take the frame.`;
  }
  if (to.masksEvents) maskUpcalls(hypervisor, vcpu, true);
  setKernelSegments(hypervisor, vcpu);
  hardware.setSlot(vcpu, RSP, at);
  hardware.write(FIELD.GUEST_RFLAGS, (rflags & ~CLEARED) | RFLAGS_IF);
  hardware.write(FIELD.GUEST_RIP, to.address);
  return undefined;
};

const NO_GATE: PvGate = { selector: 0, address: 0n, dpl: 0, masksEvents: false };

export const gateOf = (vcpu: XenVcpu, vector: number): PvGate =>
  pvOf(vcpu).gates.get(vector) ?? NO_GATE;

/** Bounces an exception; a page fault tells its address in vcpu_info. */
export const bounceException = (
  hypervisor: Hypervisor,
  vcpu: XenVcpu,
  vector: number,
  errorCode: number | undefined,
  address = 0n,
): string | undefined => {
  if (vector !== PF || errorCode === undefined) {
    return bounce(hypervisor, vcpu, gateOf(vcpu, vector), errorCode);
  }
  const { memory } = hypervisor.hardware;
  memory.view.setBigUint64(vcpuInfoAt(vcpu) + CR2_IN_INFO, address, true);
  const code = pvOf(vcpu).isKernel ? errorCode & ~ERROR_USER : errorCode | ERROR_USER;
  return bounce(hypervisor, vcpu, gateOf(vcpu, vector), code);
};
