/**
 * Direct paging: PV guests have their page tables in machine memory, where the processor walks
 * them, and change them only through the hypervisor, which checks every entry. So a guest maps only
 * its own frames, and never writes to a page table.
 * Source: Xen public/xen.h, "MMU-UPDATE REQUESTS" and "MMU EXTENDED OPERATIONS".
 */
import { CR3 } from '../../../cpu/state.ts';
import { type Gfn, type Gva, type Mfn, mfnOf } from '../../../memory/addresses.ts';
import type { XenDomain, XenVcpu } from '../../domain.ts';
import { OWNER_HYPERVISOR } from '../../frames.ts';
import type { ErrorName } from '../../hypercalls/hypercall.ts';
import { emit, type Hypervisor, type SavedPart, type SavedValue } from '../../hypervisor.ts';
import type { P2m } from '../../p2m.ts';
import { VM_ASSIST } from '../vm-assist.ts';
import { createDirectP2m } from './direct-p2m.ts';
import { entryOf } from './entries.ts';
import { createM2p } from './m2p.ts';
import { type Mmu, wordOf } from './mmu.ts';
import {
  createPageTypes,
  PAGE_TYPES,
  PINNED,
  SEG_DESC_PAGE,
  SHARED,
  VALIDATED,
  WRITABLE_PAGE,
} from './page-types.ts';
import { pin, unpin } from './pins.ts';
import { dropRoots, type Roots, setKernelRoot, setUserRoot } from './roots.ts';
import { dropTable, takeTable } from './tables.ts';
import { type EntryUpdate, updateFrame } from './updates.ts';

/** What the rest of a PV domain gives and takes. */
export interface PvDomainParts {
  /** The L3 table that every L4 table of the domain has in slot 260, supervisor only. */
  readonly perDomainTable: Mfn | undefined;
  /** MMUEXT_SET_LDT, with checked arguments. */
  setLdt(vcpu: XenVcpu, base: bigint, entries: number): void;
  /** The vCPU runs on other tables: what the LDT's pages are is looked up again. */
  forgetLdt(vcpu: XenVcpu): void;
  /** Gives up what its vCPUs hold: descriptor pages. The domain dies. */
  relinquish(): void;
}

export interface DirectPaging extends SavedPart {
  readonly mmu: Mmu;
  /** A frame of the hypervisor's, on which it emulates writes to page tables. */
  readonly scratch: Mfn;
  /** The P2M of a PV domain that is being built: `set` gives a frame its number in the M2P. */
  createP2m(domain: number): P2m;
  /** Takes in a domain whose memory is allocated; before any of its tables is pinned. */
  addDomain(domain: XenDomain, parts: PvDomainParts): void;
  partsOf(domain: XenDomain): PvDomainParts | undefined;
  /**
   * share_xen_page_with_guest: the domain may map a frame of the hypervisor's, never as anything
   * else. The frame stays the hypervisor's when the domain dies.
   */
  shareFrame(mfn: Mfn, domain: number, access: 'read-only' | 'read-write'): void;
  /** A shared frame is the hypervisor's alone again; who maps it still does. */
  takeBack(mfn: Mfn): void;
  /** The L4 tables of a vCPU. */
  roots(vcpu: XenVcpu): Readonly<Roots>;
  /** MMUEXT_NEW_BASEPTR, and the builder's first table; loads CR3 unless the vCPU runs user mode. */
  setKernelRoot(vcpu: XenVcpu, mfn: number): ErrorName | undefined;
  /** MMUEXT_NEW_USER_BASEPTR; 0: none. */
  setUserRoot(vcpu: XenVcpu, mfn: number): ErrorName | undefined;
  /** MMUEXT_PIN_L1_TABLE to L4; for `owner`'s frame, asked by `caller`. */
  pin(caller: XenVcpu, mfn: number, level: number, owner?: XenDomain): ErrorName | undefined;
  unpin(caller: XenVcpu, mfn: number, owner?: XenDomain): ErrorName | undefined;
  /** One checked update, and its events. */
  update(
    caller: XenVcpu,
    update: EntryUpdate,
    by: 'mmu_update' | 'update_va_mapping' | 'write',
    linear?: Gva,
  ): ErrorName | undefined;
  /** A page of a GDT or LDT: its descriptors are checked, and nobody may write it while it is held. */
  holdDescriptorPage(domain: XenDomain, mfn: number): ErrorName | undefined;
  dropDescriptorPage(mfn: number): void;
  /**
   * Holds a frame of a domain's for writes by machine address; undefined if it is none of its, or
   * may not be written.
   */
  holdWritable(domain: XenDomain, mfn: number): Mfn | undefined;
  /** Tells of the refusal that is left, if any; `error` for a caller that returns it. */
  noteRefusal(caller: XenVcpu): void;
  /** domain_relinquish_resources: all its frames are free, but those that others still map. */
  releaseDomain(domain: XenDomain): void;
}

/** The machine's direct paging; made with its first PV domain. */
export const directPagingOf = (hypervisor: Hypervisor): DirectPaging => {
  hypervisor.directPaging ??= createDirectPaging(hypervisor);
  return hypervisor.directPaging;
};

const createDirectPaging = (hypervisor: Hypervisor): DirectPaging => {
  const { hardware, frames, events } = hypervisor;
  const m2p = createM2p(hardware.memory, frames, hardware.noteWrite);
  const parts = new Map<number, PvDomainParts>();
  const roots = new Map<XenVcpu, Roots>();
  const pages = createPageTypes(frames);
  const scratch = frames.allocate(OWNER_HYPERVISOR);
  if (scratch === undefined) throw new Error('The machine has no frame left for page tables.');
  const mmu: Mmu = {
    memory: hardware.memory,
    frames,
    pages,
    m2p,
    written: hardware.noteWrite,
    isTranslated: (domain) => (hypervisor.domains.get(domain)?.type ?? 'pv') !== 'pv',
    frameOfGfn: (domain, gfn) => hypervisor.domains.get(domain)?.p2m.lookup(gfn as Gfn).mfn,
    perDomainTable: (domain) => parts.get(domain)?.perDomainTable,
    hidesM2p: (domain) =>
      hypervisor.domains.get(domain)?.pv?.assists.has(VM_ASSIST.m2pStrict) === true,
    refusal: undefined,
  };
  frames.onFree((mfn, owner) => {
    m2p.clear(mfn);
    const domain = hypervisor.domains.get(owner);
    if (domain?.type === 'pv') domain.pages -= 1;
  });
  const rootsOf = (vcpu: XenVcpu): Roots => {
    const known = roots.get(vcpu);
    if (known !== undefined) return known;
    const fresh = { kernel: 0, user: 0 };
    roots.set(vcpu, fresh);
    return fresh;
  };
  const noteRefusal = (caller: XenVcpu, by: 'hypercall' | 'write' = 'hypercall'): void => {
    const { refusal } = mmu;
    mmu.refusal = undefined;
    if (refusal === undefined || !events.wants('mmu-refusal')) return;
    emit(hypervisor, caller, { kind: 'mmu-refusal', ...refusal, mfn: refusal.mfn as Mfn, by });
  };
  const notePin = (caller: XenVcpu, mfn: number, action: 'pin' | 'unpin'): void => {
    if (!events.wants('page-table-pin')) return;
    const type = PAGE_TYPES[pages.types[mfn] ?? 0] ?? 'none';
    emit(hypervisor, caller, { kind: 'page-table-pin', action, mfn: mfn as Mfn, type });
  };
  const noteUpdate = (
    caller: XenVcpu,
    { table, slot }: EntryUpdate,
    oldEntry: bigint,
    by: 'mmu_update' | 'update_va_mapping' | 'write',
    linear: Gva | undefined,
  ): void => {
    emit(hypervisor, caller, {
      kind: 'page-table-update',
      mfn: table as Mfn,
      type: PAGE_TYPES[pages.types[table] ?? 0] ?? 'none',
      slot,
      oldEntry,
      newEntry: entryAt(table, slot),
      by,
      gva: linear,
    });
  };
  const entryAt = (table: number, slot: number): bigint => {
    const at = wordOf(table, slot);
    return entryOf(mmu.memory.words[at] ?? 0, mmu.memory.words[at + 1] ?? 0);
  };
  /** Events of a refusal, or of nothing. */
  const finish = (caller: XenVcpu, error: ErrorName | undefined): ErrorName | undefined => {
    if (error !== undefined) noteRefusal(caller);
    return error;
  };
  const releaseDomain = (domain: XenDomain): void => {
    parts.get(domain.id)?.relinquish();
    for (const vcpu of domain.vcpus) {
      dropRoots(mmu, rootsOf(vcpu));
      if (vcpu.infoMaddr === undefined) continue;
      const mfn = mfnOf(vcpu.infoMaddr);
      vcpu.infoMaddr = undefined;
      pages.dropWritable(mfn);
      frames.letGo(mfn);
    }
    const own = (mfn: number): boolean => frames.owners[mfn] === domain.id;
    for (let mfn = 0; mfn < frames.owners.length; mfn += 1) {
      if (!own(mfn) || ((pages.flags[mfn] ?? 0) & PINNED) === 0) continue;
      pages.flags[mfn] = (pages.flags[mfn] ?? 0) & ~PINNED;
      dropTable(mmu, mfn);
    }
    for (let mfn = 0; mfn < frames.owners.length; mfn += 1) {
      if (!own(mfn) || frames.isLeaving(mfn)) continue;
      if (((pages.flags[mfn] ?? 0) & SHARED) === 0) frames.release(mfn as Mfn);
      else takeBack(mfn as Mfn);
    }
  };
  const takeBack = (mfn: Mfn): void => {
    if (((pages.flags[mfn] ?? 0) & SHARED) === 0) return;
    pages.counts[mfn] = (pages.counts[mfn] ?? 1) - 1;
    pages.flags[mfn] = VALIDATED;
    frames.give(mfn, OWNER_HYPERVISOR);
    m2p.clear(mfn);
  };
  const save = (): SavedValue => ({
    pages: pages.save(),
    roots: [...roots].map(([{ domain, id }, { kernel, user }]) => [domain.id, id, kernel, user]),
  });
  const restore = (saved: SavedValue): void => {
    const values = saved as unknown as {
      readonly pages: SavedValue;
      readonly roots: readonly (readonly [number, number, number, number])[];
    };
    pages.restore(values.pages);
    roots.clear();
    for (const [domain, id, kernel, user] of values.roots) {
      const vcpu = hypervisor.domains.get(domain)?.vcpus[id];
      if (vcpu !== undefined) roots.set(vcpu, { kernel, user });
    }
  };
  const paging: DirectPaging = {
    mmu,
    scratch,
    createP2m: (domain) => createDirectP2m(domain, frames, m2p, pages),
    addDomain(domain, given) {
      parts.set(domain.id, given);
    },
    partsOf: ({ id }) => parts.get(id),
    shareFrame(mfn, domain, access) {
      frames.give(mfn, domain);
      pages.types[mfn] = access === 'read-write' ? WRITABLE_PAGE : 0;
      pages.counts[mfn] = 1;
      pages.flags[mfn] = VALIDATED | SHARED;
    },
    takeBack,
    roots: rootsOf,
    setKernelRoot(vcpu, mfn) {
      mmu.refusal = undefined;
      const own = rootsOf(vcpu);
      const old = own.kernel;
      const error = setKernelRoot(mmu, own, mfn, vcpu.domain.id);
      if (error !== undefined) return finish(vcpu, error);
      if (mfn !== old) parts.get(vcpu.domain.id)?.forgetLdt(vcpu);
      hardware.setSlot(vcpu, CR3, BigInt(mfn) << 12n);
      return undefined;
    },
    setUserRoot(vcpu, mfn) {
      mmu.refusal = undefined;
      return finish(vcpu, setUserRoot(mmu, rootsOf(vcpu), mfn, vcpu.domain.id));
    },
    pin(caller, mfn, level, owner = caller.domain) {
      mmu.refusal = undefined;
      const error = pin(mmu, mfn, level, owner.id);
      if (error === undefined) notePin(caller, mfn, 'pin');
      return finish(caller, error);
    },
    unpin(caller, mfn, owner = caller.domain) {
      mmu.refusal = undefined;
      const error = unpin(mmu, mfn, owner.id);
      if (error === undefined) notePin(caller, mfn, 'unpin');
      return finish(caller, error);
    },
    update(caller, update, by, linear) {
      mmu.refusal = undefined;
      const isWanted = events.wants('page-table-update');
      const old = isWanted ? entryAt(update.table, update.slot) : 0n;
      const error = updateFrame(mmu, update);
      if (error !== undefined) noteRefusal(caller, by === 'write' ? 'write' : 'hypercall');
      else caller.domain.tableUpdates += 1;
      if (error === undefined && isWanted) noteUpdate(caller, update, old, by, linear);
      return error;
    },
    holdDescriptorPage: ({ id }, mfn) => takeTable(mmu, mfn, SEG_DESC_PAGE, id),
    dropDescriptorPage: (mfn) => dropTable(mmu, mfn),
    holdWritable({ id }, mfn) {
      if (frames.owners[mfn] !== id || !pages.takeWritable(mfn)) return undefined;
      frames.hold(mfn);
      return mfn as Mfn;
    },
    noteRefusal,
    releaseDomain,
    save,
    restore,
  };
  hypervisor.parts.set('direct paging', paging);
  return paging;
};
