/**
 * Descriptors that a PV guest may have in a GDT or LDT: code, data, and call gates that end in #GP.
 * System segments are the hypervisor's alone.
 * Source: SDM Vol. 3A 3.4.5 "Segment Descriptors", Table 3-2; Xen public/arch-x86/xen.h,
 * "A number of GDT entries are reserved by Xen".
 */
import { ENTRIES } from './entries.ts';
import { type Mmu, wordOf } from './mmu.ts';

const PRESENT = 1 << 15;
const DPL = 3 << 13;
const CODE_OR_DATA = 1 << 12;
const TYPE = 0xf00;
const CALL_GATE = 0xc00;
/** A kernel runs at privilege level 3. */
const KERNEL_LEVEL = 3;
/** Selectors from here on are the hypervisor's: FIRST_RESERVED_GDT_BYTE. */
const FIRST_RESERVED_SELECTOR = 14 * 4096;
const LDT_SELECTOR = 4;
/** FLAT_KERNEL_CS. */
const KERNEL_CODE_SELECTOR = 0xe033;
/** Reserved bits of the high half of a 64-bit call gate. */
const CALL_GATE_RESERVED = 0xff;

/**
 * The descriptor as it is installed, two halves; undefined if it is refused. Kernel segments get
 * privilege level 3; a call gate gets 0, so that a call through it is #GP.
 */
export const checkedDescriptor = (
  low: number,
  high: number,
): readonly [low: number, high: number] | undefined => {
  if ((high & PRESENT) === 0) return [low, high];
  const level = Math.max((high & DPL) >>> 13, KERNEL_LEVEL);
  const fixed = (high & ~DPL) | (level << 13);
  if ((fixed & CODE_OR_DATA) !== 0) return [low, fixed];
  if ((fixed & TYPE) === 0) return [low, high];
  if ((fixed & TYPE) !== CALL_GATE) return undefined;
  const selector = low >>> 16;
  const isAllowed =
    selector < FIRST_RESERVED_SELECTOR ||
    selector === KERNEL_CODE_SELECTOR ||
    (selector & LDT_SELECTOR) !== 0;
  if (!isAllowed || (fixed & CALL_GATE_RESERVED) !== 0) return undefined;
  return [(low & 0xffff) | (((selector & ~3) | level) << 16), fixed & ~DPL];
};

/** Checks all descriptors of a page, and installs them; false at the first that is refused. */
export const isDescriptorPage = (mmu: Mmu, mfn: number): boolean => {
  const { words } = mmu.memory;
  for (let slot = 0; slot < ENTRIES; slot += 1) {
    const at = wordOf(mfn, slot);
    const checked = checkedDescriptor(words[at] ?? 0, words[at + 1] ?? 0);
    if (checked === undefined) return false;
    [words[at], words[at + 1]] = checked;
  }
  mmu.written(mfn * 4096, 4096);
  return true;
};
