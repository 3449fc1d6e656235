/**
 * What a 64-bit PV guest finds in the hypervisor's part of its address space and of its GDT.
 * Sources: Xen public/arch-x86/xen-x86_64.h (selectors, HYPERVISOR_VIRT_START); the per-domain area
 * and the reserved entries: xen/include/asm-x86/config.h, xen/arch/x86/desc.c.
 */

/** The guest's addresses are below and above this hole: L4 slots 256 to 271 are Xen's. */
export const HYPERVISOR_START = 0xffff_8000_0000_0000n;
export const HYPERVISOR_END = 0xffff_8800_0000_0000n;
/** Where the per-domain area begins, in L4 slot 260. */
const PER_DOMAIN_START = 0xffff_8200_0000_0000n;
/** Each vCPU has 16 pages of GDT, then 16 of LDT. */
const TABLE_PAGES = 16;
export const VCPU_PAGES = 2 * TABLE_PAGES;
export const gdtPageOf = (vcpu: number): number => vcpu * VCPU_PAGES;
export const ldtPageOf = (vcpu: number): number => gdtPageOf(vcpu) + TABLE_PAGES;
export const perDomainAddress = (page: number): bigint => PER_DOMAIN_START + BigInt(page) * 4096n;

/** The guest's own descriptors; those behind are Xen's. */
export const FIRST_RESERVED_ENTRY = 14 * 512;
export const GUEST_GDT_PAGES = 14;
export const LDT_ENTRIES = 8192;

export const FLAT_KERNEL_CS = 0xe033;
export const FLAT_KERNEL_SS = 0xe02b;
export const TSS_SELECTOR = 0xe040;
export const LDT_SELECTOR = 0xe050;

/** Xen's page of the GDT, by entry of it: flat segments of rings 0 and 3. */
export const RESERVED_DESCRIPTORS: Readonly<Record<number, bigint>> = {
  1: 0x00af_9b00_0000_ffffn,
  2: 0x00cf_9300_0000_ffffn,
  4: 0x00cf_fb00_0000_ffffn,
  5: 0x00cf_f300_0000_ffffn,
  6: 0x00af_fb00_0000_ffffn,
};

/** Whether a guest may name the bytes: they do not touch Xen's part. */
export const isGuestAddress = (address: bigint, lengthBytes = 1): boolean => {
  const last = address + BigInt(Math.max(lengthBytes, 1) - 1);
  const isCanonical = (one: bigint): boolean => BigInt.asUintN(64, BigInt.asIntN(48, one)) === one;
  return (
    isCanonical(address) &&
    isCanonical(last) &&
    (last < HYPERVISOR_START || address >= HYPERVISOR_END)
  );
};
