/**
 * Entries of a PV guest's page tables. They hold machine frames. An entry is two 32-bit halves
 * here: tables are gone through by the thousand.
 * Source: SDM Vol. 3A 4.5 "4-Level Paging and 5-Level Paging", Tables 4-15 to 4-20; which bits a
 * guest may set: Xen public/xen.h, "MMU-UPDATE REQUESTS".
 */
export const PRESENT = 1;
export const WRITABLE = 2;
export const USER = 4;
export const ACCESSED = 0x20;
export const DIRTY = 0x40;
export const GLOBAL = 0x100;
/** PWT, PCD, and PS or PAT: a guest without devices maps by 4-KiB pages of ordinary memory. */
const ALWAYS_REFUSED = 0x98;
/** Bit 52, of the high half: a page of the guest's kernel, which runs at user privilege too. */
export const GUEST_KERNEL_HIGH = 1 << 20;
const FRAME_HIGH = 0x000f_ffff;
const FRAME_LOW = 0xffff_f000 | 0;

export const ENTRIES = 512;
/** Slots of an L4 table that are the hypervisor's: 0xffff_8000_0000_0000 to 0xffff_87ff_ffff_ffff. */
export const FIRST_XEN_SLOT = 256;
export const LAST_XEN_SLOT = 271;
export const isGuestSlot = (level: number, slot: number): boolean =>
  level !== 4 || slot < FIRST_XEN_SLOT || slot > LAST_XEN_SLOT;

/** The frame an entry leads to; up to 2^40. */
export const frameOf = (low: number, high: number): number =>
  (high & FRAME_HIGH) * 2 ** 20 + (low >>> 12);

/** The entry with another frame. */
export const withFrame = (
  low: number,
  high: number,
  mfn: number,
): { readonly low: number; readonly high: number } => ({
  low: (low & ~FRAME_LOW) | (mfn << 12),
  high: (high & ~FRAME_HIGH) | Math.floor(mfn / 2 ** 20),
});

/** Bits that make the hypervisor refuse a present entry; 0 if there are none. */
export const refusedBits = (level: number, low: number): number =>
  low & (level === 1 ? ALWAYS_REFUSED : ALWAYS_REFUSED | GLOBAL);

/** Whether two entries differ only in bits that need no new references. */
export const isSameMapping = (
  oldLow: number,
  oldHigh: number,
  low: number,
  high: number,
): boolean =>
  ((oldLow ^ low) & (FRAME_LOW | PRESENT | WRITABLE | 0x98)) === 0 &&
  ((oldHigh ^ high) & FRAME_HIGH) === 0;

/**
 * The low half as the hypervisor installs it. Kernel and user of a guest both run at privilege
 * level 3: every entry is a user's, and bit 52 tells a page of the kernel.
 */
export const adjustedLow = (level: number, low: number, high: number): number => {
  if ((low & PRESENT) === 0) return low;
  if (level === 4) return low | USER | ACCESSED;
  if (level > 1) return low | USER;
  const isKernel = (high & GUEST_KERNEL_HIGH) !== 0 || (low & USER) === 0;
  return isKernel ? low | USER : low | USER | GLOBAL;
};

export const adjustedHigh = (level: number, low: number, high: number): number =>
  level === 1 && (low & (PRESENT | USER)) === PRESENT ? high | GUEST_KERNEL_HIGH : high;

/** Both halves as one number, for events and messages. */
export const entryOf = (low: number, high: number): bigint =>
  (BigInt(high >>> 0) << 32n) | BigInt(low >>> 0);
