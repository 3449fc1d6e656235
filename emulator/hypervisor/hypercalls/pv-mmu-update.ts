/**
 * Changes entries of page tables, and what the M2P says of frames: a list of pairs of a machine
 * address, whose low bits are the kind of request, and a value. It ends at the first that fails.
 *
 * Errors: EFAULT for a list that is not readable; ESRCH for domains that are not there; EPERM for
 * others' memory; ENOSYS for another kind; EINVAL, EBUSY, EPERM for entries (mmu/l1-entries.ts).
 */
import type { XenDomain } from '../domain.ts';
import type { Hypervisor } from '../hypervisor.ts';
import { runBatch } from '../pv/mmu/batch.ts';
import { directPagingOf } from '../pv/mmu/direct-paging.ts';
import { domainOf, type FrameOwner, frameOwnerOf, mayTarget } from '../pv/mmu/foreign-domain.ts';
import { guestArray } from '../pv/mmu/guest-array.ts';
import { nameOfFrame, refuse } from '../pv/mmu/mmu.ts';
import { defineHypercall, type HypercallContext, type HypercallResult } from './hypercall.ts';

const REQUEST_BYTES = 16;
const MMU_NORMAL_PT_UPDATE = 0;
const MMU_MACHPHYS_UPDATE = 1;
const MMU_PT_UPDATE_PRESERVE_AD = 2;
const MMU_PT_UPDATE_NO_TRANSLATE = 3;

export const mmuUpdate = defineHypercall({
  name: 'mmu_update',
  number: 1,
  only: 'pv',
  title: 'Change entries of page tables, or of the M2P',
  source: 'Xen public/xen.h, HYPERVISOR_mmu_update',
  handle: (context) => runBatch(context, REQUEST_BYTES, (list) => begin(context, list)),
});

interface Owners {
  /** Whose page tables are changed (PFD), and whose frames they may map (FD). */
  readonly tables: XenDomain;
  readonly frames: FrameOwner;
}

const begin = (
  context: HypercallContext,
  list: bigint,
): HypercallResult | ((index: number) => HypercallResult) => {
  const { hypervisor, vcpu, args } = context;
  const owners = ownersOf(hypervisor, vcpu.domain, Number((args[3] ?? 0n) & 0xffff_ffffn));
  if (owners === undefined) return 'ESRCH';
  const requests = guestArray(hypervisor, vcpu, list, REQUEST_BYTES);
  const { view } = requests;
  return (index) => {
    if (!requests.read(index)) return 'EFAULT';
    const pointerLow = view.getInt32(0, true);
    const pointerHigh = view.getUint32(4, true);
    const mfn = pointerHigh * 2 ** 20 + (pointerLow >>> 12);
    switch (pointerLow & 7) {
      case MMU_NORMAL_PT_UPDATE:
      case MMU_PT_UPDATE_PRESERVE_AD:
      case MMU_PT_UPDATE_NO_TRANSLATE:
        return updateTable(context, owners, mfn, pointerLow, view);
      case MMU_MACHPHYS_UPDATE:
        return updateM2p(context, owners, mfn, view.getBigUint64(8, true));
      default:
        return 'ENOSYS';
    }
  };
};

const ownersOf = (
  hypervisor: Hypervisor,
  caller: XenDomain,
  foreign: number,
): Owners | undefined => {
  const ofTables = foreign >>> 16;
  const tables = ofTables === 0 ? caller : domainOf(hypervisor, ofTables - 1);
  const frames = frameOwnerOf(hypervisor, caller, foreign & 0xffff);
  return tables === undefined || frames === undefined ? undefined : { tables, frames };
};

const updateTable = (
  { hypervisor, vcpu }: HypercallContext,
  { tables, frames }: Owners,
  mfn: number,
  pointerLow: number,
  view: DataView,
): HypercallResult => {
  if (tables.type !== 'pv') return 'EOPNOTSUPP';
  const isAllowed = frames === 'io' || mayTarget(vcpu.domain, frames);
  if (!isAllowed || !mayTarget(vcpu.domain, tables)) return 'EPERM';
  const paging = directPagingOf(hypervisor);
  const { mmu } = paging;
  if (mmu.frames.owners[mfn] !== tables.id) {
    const what = nameOfFrame(mmu, mfn);
    refuse(mmu, 'EINVAL', mfn, `The update is of ${what}, not one of domain ${tables.id}.`);
    paging.noteRefusal(vcpu);
    return 'EINVAL';
  }
  // The devices' memory is that of whoever asks.
  const owner = frames === 'io' ? vcpu.domain.id : frames === 'xen' ? NO_DOMAIN : frames.id;
  const update = {
    table: mfn,
    slot: (pointerLow & 0xfff) >>> 3,
    low: view.getInt32(8, true),
    high: view.getInt32(12, true),
    owner: tables.id,
    frameOwner: owner,
    preservesUse: (pointerLow & 7) === MMU_PT_UPDATE_PRESERVE_AD,
    isTranslated: (pointerLow & 7) !== MMU_PT_UPDATE_NO_TRANSLATE,
  };
  return paging.update(vcpu, update, 'mmu_update') ?? 0;
};

/** Owns no frame. */
const NO_DOMAIN = 0x7ff2;

const updateM2p = (
  { hypervisor, vcpu }: HypercallContext,
  { tables, frames }: Owners,
  mfn: number,
  gfn: bigint,
): HypercallResult => {
  if (tables !== vcpu.domain) return 'EPERM';
  if (typeof frames !== 'string' && frames.type !== 'pv') return 'EINVAL';
  if (frames !== 'io' && !mayTarget(vcpu.domain, frames)) return 'EPERM';
  const { mmu } = directPagingOf(hypervisor);
  if (typeof frames === 'string' || mmu.frames.owners[mfn] !== frames.id) return 'EINVAL';
  mmu.m2p.set(mfn, gfn);
  return 0;
};
