/**
 * A guest's CR0, CR3, CR4 and EFER, and what the processor gets in their stead. The hypervisor owns
 * all bits of CR0 and CR4: the guest reads the read shadows.
 *
 * With EPT the processor has the guest's values, and what VMX operation demands. Without it paging
 * is always on, in a mode whose entries have 64 bits, with CR0.WP and EFER.NXE set, and CR3 is the
 * root of the shadow tables. CR4.SMEP and SMAP are the guest's only while it pages itself: with
 * paging off nothing is a user page to it.
 * Sources: SDM Vol. 3A 2.5 "Control Registers", 4.4.1 "PDPTE Registers"; Vol. 3C 23.8 "Restrictions
 * on VMX Operation".
 */
import { hostAddressOf } from '../memory/machine-memory.ts';
import type { XenVcpu } from './domain.ts';
import { maddrOfGpa, type PagingState } from './guest-walk.ts';
import { ENTRY_IA32E_GUEST, FIELD } from './hardware.ts';
import { type Hypervisor, pagingOf } from './hypervisor.ts';
import { type GuestPaging, guestPagingOf } from './shadow/guest-paging.ts';

const CR0_PE = 1n;
const CR0_NE = 32n;
const CR0_WP = 1n << 16n;
export const CR0_PG = 1n << 31n;
export const CR4_PAE = 1n << 5n;
const CR4_VMXE = 1n << 13n;
const CR4_SMEP_SMAP = 3n << 20n;
export const EFER_LME = 1n << 8n;
export const EFER_LMA = 1n << 10n;
const EFER_NXE = 1n << 11n;
/** Changes of CD, NW and PG, and of PAE, PGE, PSE and SMEP load the PDPTE registers. */
const CR0_RELOADS = 0xe000_0000n;
const CR4_RELOADS = 0x10_00b0n;
const PDPTE_RESERVED = 0xffff_c000_0000_01e6n;
const NO_POINTERS: readonly bigint[] = [0n, 0n, 0n, 0n];

/** The guest's own values; pointers come with CR3. */
export type ControlRegisters = Omit<PagingState, 'pointers'>;

/** How the guest translates, for shadow paging. */
export const shadowedPagingOf = (hypervisor: Hypervisor, vcpu: XenVcpu): GuestPaging => {
  const state = pagingOf(hypervisor, vcpu);
  return guestPagingOf(state, state.pointers);
};

/** As the guest reads them. */
export const readControl = (hypervisor: Hypervisor, vcpu: XenVcpu): ControlRegisters => {
  const { hardware } = hypervisor;
  return {
    ...pagingOf(hypervisor, vcpu),
    cr0: hardware.peekField(vcpu, FIELD.CR0_READ_SHADOW),
    cr4: hardware.peekField(vcpu, FIELD.CR4_READ_SHADOW),
  };
};

/**
 * Gives a loaded vCPU new values, whose bits have been checked, and the mode that they mean.
 * 'refuse': the pointers of PAE paging have reserved bits set, nothing has changed. `loadsCr3` tells
 * that CR3 was written, maybe with the value it had.
 */
export const writeControl = (
  hypervisor: Hypervisor,
  vcpu: XenVcpu,
  next: ControlRegisters,
  loadsCr3 = false,
): 'refuse' | undefined => {
  const { hardware } = hypervisor;
  const old = readControl(hypervisor, vcpu);
  const isPae = usesPae(next);
  const loads =
    isPae &&
    (loadsCr3 ||
      ((old.cr0 ^ next.cr0) & CR0_RELOADS) !== 0n ||
      ((old.cr4 ^ next.cr4) & CR4_RELOADS) !== 0n ||
      !usesPae(old));
  const pointers = loads ? readPointers(hypervisor, vcpu, next.cr3) : undefined;
  if (pointers === 'refuse') return 'refuse';
  put(hypervisor, FIELD.CR0_READ_SHADOW, next.cr0);
  put(hypervisor, FIELD.CR4_READ_SHADOW, next.cr4);
  const { guest } = vcpu;
  if (guest === undefined) {
    putForEpt(hypervisor, next);
    for (const [index, entry] of (pointers ?? []).entries()) {
      hardware.write(FIELD.GUEST_PDPTE0 + index * 2, entry);
    }
    return undefined;
  }
  guest.cr3 = next.cr3;
  guest.efer = next.efer;
  if (pointers !== undefined || !isPae) guest.pointers = pointers ?? NO_POINTERS;
  putForShadow(hypervisor, next);
  vcpu.domain.shadow?.setPaging(vcpu.id, shadowedPagingOf(hypervisor, vcpu));
  return undefined;
};

/** Before VM entry: CR3 is the root of the shadow tables, which may have come and gone. */
export const loadShadowRoot = ({ hardware }: Hypervisor, vcpu: XenVcpu): void => {
  const root = vcpu.domain.shadow?.rootOf(vcpu.id);
  if (root === undefined || hardware.read(FIELD.GUEST_CR3) === BigInt(root)) return;
  hardware.write(FIELD.GUEST_CR3, BigInt(root));
};

const usesPae = ({ cr0, cr4, efer }: ControlRegisters): boolean =>
  (cr0 & CR0_PG) !== 0n && (cr4 & CR4_PAE) !== 0n && (efer & EFER_LMA) === 0n;

/** Writes a field if that changes it: VM entry checks again what has been written. */
const put = ({ hardware }: Hypervisor, field: number, value: bigint): void => {
  if (hardware.read(field) !== value) hardware.write(field, value);
};

const putLongMode = (hypervisor: Hypervisor, isOn: boolean): void => {
  const controls = hypervisor.hardware.read(FIELD.ENTRY_CONTROLS) & ~ENTRY_IA32E_GUEST;
  put(hypervisor, FIELD.ENTRY_CONTROLS, isOn ? controls | ENTRY_IA32E_GUEST : controls);
};

const putForEpt = (hypervisor: Hypervisor, next: ControlRegisters): void => {
  put(hypervisor, FIELD.GUEST_CR0, next.cr0 | CR0_NE);
  put(hypervisor, FIELD.GUEST_CR3, next.cr3);
  put(hypervisor, FIELD.GUEST_CR4, next.cr4 | CR4_VMXE);
  put(hypervisor, FIELD.GUEST_IA32_EFER, next.efer);
  putLongMode(hypervisor, (next.efer & EFER_LMA) !== 0n);
};

const putForShadow = (hypervisor: Hypervisor, { cr0, cr4, efer }: ControlRegisters): void => {
  const isPaged = (cr0 & CR0_PG) !== 0n;
  const isLong = (efer & EFER_LMA) !== 0n;
  const checked = isPaged ? cr4 : cr4 & ~CR4_SMEP_SMAP;
  put(hypervisor, FIELD.GUEST_CR0, cr0 | CR0_PG | CR0_WP | CR0_NE);
  put(hypervisor, FIELD.GUEST_CR4, checked | CR4_PAE | CR4_VMXE);
  // Without paging LME waits for it.
  const real = (efer | EFER_NXE) & ~(isLong ? 0n : EFER_LME);
  put(hypervisor, FIELD.GUEST_IA32_EFER, real);
  putLongMode(hypervisor, isLong);
};

/** The page-directory pointers that CR3 points to; 'refuse' if one has reserved bits set. */
const readPointers = (
  { hardware }: Hypervisor,
  { domain }: XenVcpu,
  cr3: bigint,
): readonly bigint[] | 'refuse' => {
  const table = Number(cr3 & 0xffff_ffe0n);
  const entries = NO_POINTERS.map((_, index) => {
    const maddr = maddrOfGpa(domain.p2m, table + index * 8);
    if (maddr === undefined) return 0xffff_ffff_ffff_ffffn;
    return hardware.memory.view.getBigUint64(hostAddressOf(maddr), true);
  });
  const isBad = entries.some((entry) => (entry & 1n) !== 0n && (entry & PDPTE_RESERVED) !== 0n);
  return isBad ? 'refuse' : entries;
};

/** Whether a domain without EPT can be in the mode that CR0 asks for: not in real mode. */
export const canRun = ({ guest }: XenVcpu, cr0: bigint): boolean =>
  guest === undefined || (cr0 & CR0_PE) !== 0n;
