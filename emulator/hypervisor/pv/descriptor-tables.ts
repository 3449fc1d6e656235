/**
 * The descriptor tables of a PV vCPU: its GDT frames and LDT pages in the per-domain area. The
 * guest names frames, which nobody may write while they are in use; an LDT is mapped page by page
 * when the processor first looks into it. Source: xen/arch/x86/pv/descriptor-tables.c.
 */
import {
  LDTR,
  segmentAccess,
  segmentBase,
  segmentLimit,
  segmentSelector,
} from '../../cpu/state.ts';
import { type Maddr, type Mfn, mfnOf } from '../../memory/addresses.ts';
import type { XenVcpu } from '../domain.ts';
import { MACHINE_FRAMES, walkGuest } from '../guest-walk.ts';
import type { ErrorName } from '../hypercalls/hypercall.ts';
import { type Hypervisor, pagingOf } from '../hypervisor.ts';
import { GUEST_GDT_PAGES, gdtPageOf, LDT_SELECTOR, ldtPageOf, perDomainAddress } from './layout.ts';
import { directPagingOf } from './mmu/direct-paging.ts';
import { pvOf } from './mode.ts';
import { pageOf, setPage } from './per-domain.ts';

const UNUSABLE = 0x1_0000n;
const LDT_RIGHTS = 0x82n;
const LDT_PAGES = 16;
const DESCRIPTORS_PER_PAGE = 512;
const DESCRIPTOR_BYTES = 8;

const areaOf = ({ domain }: XenVcpu) => {
  if (domain.pv === undefined) throw new Error(`Domain ${domain.id} is no PV domain.`);
  return domain.pv.area;
};

/** HYPERVISOR_set_gdt: EINVAL for too many entries, or frames that hold other than descriptors. */
export const setGdt = (
  hypervisor: Hypervisor,
  vcpu: XenVcpu,
  frames: readonly Mfn[],
  entries: number,
): ErrorName | undefined => {
  const paging = directPagingOf(hypervisor);
  const held: Mfn[] = [];
  for (const mfn of frames) {
    if (paging.holdDescriptorPage(vcpu.domain, mfn) !== undefined) {
      for (const one of held) paging.dropDescriptorPage(one);
      paging.noteRefusal(vcpu);
      return 'EINVAL';
    }
    held.push(mfn);
  }
  dropGdt(hypervisor, vcpu);
  const pv = pvOf(vcpu);
  pv.gdtFrames = held;
  pv.gdtEntries = entries;
  held.forEach((mfn, index) => {
    setPage(hypervisor.hardware.memory, areaOf(vcpu), gdtPageOf(vcpu.id) + index, mfn);
  });
  hypervisor.hardware.invalidateTranslations();
  return undefined;
};

export const dropGdt = (hypervisor: Hypervisor, vcpu: XenVcpu): void => {
  const paging = directPagingOf(hypervisor);
  const pv = pvOf(vcpu);
  const area = areaOf(vcpu);
  for (let page = 0; page < GUEST_GDT_PAGES; page += 1) {
    setPage(hypervisor.hardware.memory, area, gdtPageOf(vcpu.id) + page, area.zero);
  }
  for (const mfn of pv.gdtFrames) paging.dropDescriptorPage(mfn);
  pv.gdtFrames = [];
  pv.gdtEntries = 0;
};

/** MMUEXT_SET_LDT: a table at a linear address of the guest's; no entries: none. */
export const setLdt = (
  hypervisor: Hypervisor,
  vcpu: XenVcpu,
  base: bigint,
  entries: number,
): void => {
  const pv = pvOf(vcpu);
  const { hardware } = hypervisor;
  dropLdtPages(hypervisor, vcpu);
  pv.ldtBase = entries === 0 ? 0n : base;
  pv.ldtEntries = entries;
  const isThere = entries > 0;
  hardware.setSlot(vcpu, segmentSelector(LDTR), isThere ? BigInt(LDT_SELECTOR) : 0n);
  hardware.setSlot(vcpu, segmentBase(LDTR), isThere ? perDomainAddress(ldtPageOf(vcpu.id)) : 0n);
  hardware.setSlot(vcpu, segmentLimit(LDTR), isThere ? BigInt(entries * DESCRIPTOR_BYTES - 1) : 0n);
  hardware.setSlot(vcpu, segmentAccess(LDTR), isThere ? LDT_RIGHTS : UNUSABLE);
};

/** invalidate_shadow_ldt. */
export const dropLdtPages = (hypervisor: Hypervisor, vcpu: XenVcpu): void => {
  const { memory } = hypervisor.hardware;
  const area = areaOf(vcpu);
  let isChanged = false;
  for (let page = ldtPageOf(vcpu.id); page < ldtPageOf(vcpu.id) + LDT_PAGES; page += 1) {
    const mfn = pageOf(memory, area, page);
    if (mfn === undefined) continue;
    setPage(memory, area, page, undefined);
    directPagingOf(hypervisor).dropDescriptorPage(mfn);
    isChanged = true;
  }
  if (isChanged) hypervisor.hardware.invalidateTranslations();
};

/** pv_map_ldt_shadow_page: true if the fault was a look into the LDT, whose page is there now. */
export const mapLdtPage = (hypervisor: Hypervisor, vcpu: XenVcpu, address: bigint): boolean => {
  const { memory } = hypervisor.hardware;
  const pv = pvOf(vcpu);
  const offset = address - perDomainAddress(ldtPageOf(vcpu.id));
  const page = Number(offset >> 12n);
  if (offset < 0n || page >= Math.ceil(pv.ldtEntries / DESCRIPTORS_PER_PAGE)) return false;
  if (pageOf(memory, areaOf(vcpu), ldtPageOf(vcpu.id) + page) !== undefined) return false;
  const linear = pv.ldtBase + BigInt(page) * 4096n;
  const { maddr } = walkGuest(memory, MACHINE_FRAMES, pagingOf(hypervisor, vcpu), linear);
  if (maddr === undefined) return false;
  const mfn = mfnOf(maddr as Maddr);
  if (directPagingOf(hypervisor).holdDescriptorPage(vcpu.domain, mfn) !== undefined) return false;
  setPage(memory, areaOf(vcpu), ldtPageOf(vcpu.id) + page, mfn);
  hypervisor.hardware.invalidateTranslations();
  return true;
};
