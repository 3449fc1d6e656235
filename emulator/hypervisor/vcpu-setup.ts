/**
 * The VMCS of a PVH vCPU, and the registers it starts with.
 * Sources: SDM Vol. 3C 24.6 to 24.8 (controls; the bits that must be 1: Appendix A); Xen
 * docs/misc/pvh.pandoc, "x86/HVM direct boot ABI".
 */
import { DR6, registerSlot } from '../cpu/state.ts';
import { type Maddr, maddrOf } from '../memory/addresses.ts';
import { hostAddressOf } from '../memory/machine-memory.ts';
import type { XenVcpu } from './domain.ts';
import { type Frames, OWNER_HYPERVISOR } from './frames.ts';
import { writeControl } from './guest-control.ts';
import { FIELD, type Hardware } from './hardware.ts';
import type { Hypervisor } from './hypervisor.ts';

/** External-interrupt exiting, NMI exiting. */
const PIN = 0x16n | 1n | 8n;
/** HLT exiting, unconditional I/O exiting, MSR bitmaps, secondary controls. */
const PRIMARY = 0x0400_6172n | (1n << 7n) | (1n << 24n) | (1n << 28n) | (1n << 31n);
/** EPT, RDTSCP, VPID, WBINVD exiting, unrestricted guest, INVPCID. */
const SECONDARY = 2n | 8n | 32n | 64n | 128n | (1n << 12n);
/** Debug controls saved, host in 64-bit mode, PAT and EFER saved and loaded. */
const EXIT = 0x3_6dfbn | (1n << 2n) | (1n << 9n) | (15n << 18n);
/** Debug controls, PAT and EFER loaded. */
const ENTRY = 0x11fbn | (1n << 2n) | (1n << 14n) | (1n << 15n);
/** Without EPT also: INVLPG exiting, CR3-load and CR3-store exiting. */
const PRIMARY_OF_SHADOW = PRIMARY | (1n << 9n) | (1n << 15n) | (1n << 16n);
/** RDTSCP, VPID, WBINVD exiting. An unrestricted guest needs EPT; INVPCID is not offered. */
const SECONDARY_OF_SHADOW = 8n | 32n | 64n;
const PAGE_FAULTS = 1n << 14n;
/** ET, and PE. */
const CR0_START = 0x11n;
const PAT_RESET = 0x0007_0406_0007_0406n;
const NONE = 0xffff_ffff_ffff_ffffn;
const DR6_START = 0xffff_0ff0n;
const DR7_START = 0x400n;

/** Access rights: SDM Vol. 3C Table 24-2. */
const CODE = 0xc09bn;
const DATA = 0xc093n;
const TASK = 0x8bn;
const UNUSABLE = 1n << 16n;

/** MSRs that the guest reads and writes without an exit. */
const PASSED = [
  0x174, 0x175, 0x176, 0xc000_0081, 0xc000_0082, 0xc000_0083, 0xc000_0084, 0xc000_0100, 0xc000_0101,
  0xc000_0102, 0xc000_0103,
];

/** Sets the VMCS of a loaded vCPU up for its entry at `entry` with EBX = `startInfo`. */
export const setUpVcpu = (
  hypervisor: Hypervisor,
  vcpu: XenVcpu,
  msrBitmap: Maddr,
  entry: number,
  startInfo: number,
): void => {
  const { hardware } = hypervisor;
  const put = (field: number, value: bigint | number): void => hardware.write(field, BigInt(value));
  put(FIELD.VPID, vcpu.domain.id * 64 + vcpu.id + 1);
  put(FIELD.PIN_BASED_CONTROLS, PIN);
  const isShadowed = vcpu.guest !== undefined;
  put(FIELD.PRIMARY_CONTROLS, isShadowed ? PRIMARY_OF_SHADOW : PRIMARY);
  put(FIELD.SECONDARY_CONTROLS, isShadowed ? SECONDARY_OF_SHADOW : SECONDARY);
  put(FIELD.EXIT_CONTROLS, EXIT);
  put(FIELD.ENTRY_CONTROLS, ENTRY);
  put(FIELD.EXCEPTION_BITMAP, isShadowed ? PAGE_FAULTS : 0);
  put(FIELD.MSR_BITMAPS, msrBitmap);
  if (!isShadowed) put(FIELD.EPT_POINTER, vcpu.domain.p2m.eptPointer);
  put(FIELD.VMCS_LINK_POINTER, NONE);
  put(FIELD.CR0_MASK, NONE);
  put(FIELD.CR4_MASK, NONE);
  writeControl(hypervisor, vcpu, { cr0: CR0_START, cr3: 0n, cr4: 0n, efer: 0n });
  put(FIELD.GUEST_IA32_PAT, PAT_RESET);
  put(FIELD.GUEST_DR7, DR7_START);
  put(FIELD.GUEST_RFLAGS, 2);
  put(FIELD.GUEST_RSP, 0);
  put(FIELD.GUEST_RIP, entry);
  const rights = [DATA, CODE, DATA, DATA, DATA, DATA, UNUSABLE, TASK];
  rights.forEach((value, segment) => {
    put(FIELD.GUEST_ES_SELECTOR + segment * 2, 0);
    put(FIELD.GUEST_ES_BASE + segment * 2, 0);
    put(FIELD.GUEST_ES_LIMIT + segment * 2, segment < 6 ? 0xffff_ffff : segment === 7 ? 0x67 : 0);
    put(FIELD.GUEST_ES_ACCESS_RIGHTS + segment * 2, value);
  });
  for (const field of [FIELD.GUEST_GDTR_BASE, FIELD.GUEST_IDTR_BASE]) put(field, 0);
  for (const field of [FIELD.GUEST_GDTR_LIMIT, FIELD.GUEST_IDTR_LIMIT]) put(field, 0);
  for (const field of [FIELD.GUEST_INTERRUPTIBILITY, FIELD.GUEST_ACTIVITY]) put(field, 0);
  hardware.setSlot(vcpu, registerSlot(3), BigInt(startInfo));
  hardware.setSlot(vcpu, DR6, DR6_START);
};

/** The one MSR bitmap of the machine; SDM Vol. 3C 24.6.9 "MSR-Bitmap Address". */
export const createMsrBitmap = (hardware: Hardware, frames: Frames): Maddr => {
  const mfn = frames.allocate(OWNER_HYPERVISOR);
  if (mfn === undefined) throw new Error('The machine has no frame for the MSR bitmap.');
  const { bytes } = hardware.memory;
  const at = hostAddressOf(maddrOf(mfn));
  bytes.fill(0xff, at, at + 4096);
  for (const msr of PASSED) {
    const isHigh = msr >= 0xc000_0000;
    const bit = msr - (isHigh ? 0xc000_0000 : 0);
    for (const part of isHigh ? [1024, 3072] : [0, 2048]) {
      const slot = at + part + (bit >> 3);
      bytes[slot] = (bytes[slot] ?? 0) & ~(1 << (bit & 7));
    }
  }
  return maddrOf(mfn);
};
