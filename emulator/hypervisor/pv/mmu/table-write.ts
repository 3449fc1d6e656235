/**
 * Writable page tables (VMASST_TYPE_writable_pagetables): a guest's kernel writes to an L1 table as
 * to any memory. The table is mapped read-only, so that this is a page fault; the hypervisor carries
 * the instruction out on a copy of the table, and makes the entry that came out of it the table's,
 * as by mmu_update. Source: Xen public/xen.h, VMASST_TYPE_writable_pagetables.
 */
import { linearNumber } from '../../../cpu/paging.ts';
import { type Gva, type Mfn, maddrOf } from '../../../memory/addresses.ts';
import { hostAddressOf } from '../../../memory/machine-memory.ts';
import type { XenVcpu } from '../../domain.ts';
import { FIELD } from '../../hardware.ts';
import type { Hypervisor } from '../../hypervisor.ts';
import { isGuestAddress } from '../layout.ts';
import { pvOf } from '../mode.ts';
import { fetchInstruction } from '../privileged.ts';
import { VM_ASSIST } from '../vm-assist.ts';
import { type DirectPaging, directPagingOf } from './direct-paging.ts';
import { ENTRIES, frameOf, PRESENT, USER, WRITABLE } from './entries.ts';
import { wordOf } from './mmu.ts';
import { L1_TABLE, VALIDATED } from './page-types.ts';
import { l1TableOf } from './translate.ts';

const DB = 1;
const RFLAGS_TF = 0x100n;
const ERROR_PRESENT = 1;
const ERROR_WRITE = 2;
const ERROR_RESERVED = 8;
const ERROR_FETCH = 16;
const ENTRY_BYTES = 8;

/** What became of it: 'single-step' if a #DB is due after the instruction, as the guest asked for. */
export type TableWrite = 'refused' | 'done' | 'single-step';

/**
 * The L1 table that a page fault is a write to, and the entry that maps it; undefined if the fault
 * is none of this kind.
 */
const writtenTable = (
  hypervisor: Hypervisor,
  vcpu: XenVcpu,
  linear: bigint,
  errorCode: number,
): { readonly table: Mfn; readonly entryAt: number; readonly entryMaddr: number } | undefined => {
  const kind = errorCode & (ERROR_PRESENT | ERROR_WRITE | ERROR_RESERVED | ERROR_FETCH);
  const isOn = vcpu.domain.pv?.assists.has(VM_ASSIST.writablePageTables) === true;
  if (kind !== (ERROR_PRESENT | ERROR_WRITE) || !isOn || !pvOf(vcpu).isKernel) return undefined;
  if (!isGuestAddress(linear)) return undefined;
  const { mmu, roots } = directPagingOf(hypervisor);
  const l1 = l1TableOf(mmu, roots(vcpu).kernel, linearNumber(linear));
  if (l1 < 0) return undefined;
  const slot = Number((linear >> 12n) & 511n);
  const entryAt = wordOf(l1, slot);
  const low = mmu.memory.words[entryAt] ?? 0;
  const table = frameOf(low, mmu.memory.words[entryAt + 1] ?? 0);
  const { types, counts, flags } = mmu.pages;
  const isTable =
    (low & (PRESENT | WRITABLE)) === PRESENT &&
    mmu.frames.owners[table] === vcpu.domain.id &&
    types[table] === L1_TABLE &&
    (counts[table] ?? 0) > 0 &&
    ((flags[table] ?? 0) & VALIDATED) !== 0;
  return isTable
    ? { table: table as Mfn, entryAt, entryMaddr: l1 * 4096 + slot * ENTRY_BYTES }
    : undefined;
};

/** Whether the instruction writes an aligned part of one entry. */
const isEntryWrite = (hypervisor: Hypervisor, vcpu: XenVcpu, linear: bigint): boolean => {
  const rip = hypervisor.hardware.read(FIELD.GUEST_RIP);
  const instruction = fetchInstruction(hypervisor, vcpu, rip);
  if (instruction === undefined) return false;
  const memory = instruction.operands.find(({ kind }) => kind === 'memory');
  const width = memory !== undefined && 'width' in memory ? memory.width : instruction.form.width;
  const lengthBytes = (width === 0 ? instruction.form.width : width) / 8;
  return lengthBytes <= ENTRY_BYTES && linear % BigInt(lengthBytes) === 0n;
};

/**
 * Carries out the instruction whose write has faulted, if it is to a page table of the guest's and
 * the entry may be had. Otherwise nothing has changed, and the fault is the guest's.
 */
export const emulateTableWrite = (
  hypervisor: Hypervisor,
  vcpu: XenVcpu,
  linear: bigint,
  errorCode: number,
): TableWrite => {
  const found = writtenTable(hypervisor, vcpu, linear, errorCode);
  if (found === undefined || !isEntryWrite(hypervisor, vcpu, linear)) return 'refused';
  const { hardware } = hypervisor;
  const paging = directPagingOf(hypervisor);
  const before = hardware.saveWindow(vcpu);
  const flags = hardware.read(FIELD.GUEST_RFLAGS);
  const isDone = stepOnCopy(hypervisor, paging, found);
  const error = isDone ? takeOver(paging, vcpu, found.table, linear) : 'EINVAL';
  if (error !== undefined) {
    hardware.restoreWindow(vcpu, before);
    return 'refused';
  }
  vcpu.retired += hardware.retired;
  const after = hardware.read(FIELD.GUEST_RFLAGS);
  hardware.write(FIELD.GUEST_RFLAGS, (after & ~RFLAGS_TF) | (flags & RFLAGS_TF));
  return (flags & RFLAGS_TF) === 0n ? 'done' : 'single-step';
};

/**
 * One instruction, or one iteration of it, with the table's copy where the table is. The trap flag
 * ends it there; true if nothing else did.
 */
const stepOnCopy = (
  { hardware }: Hypervisor,
  { mmu, scratch }: DirectPaging,
  { table, entryAt, entryMaddr }: { table: Mfn; entryAt: number; entryMaddr: number },
): boolean => {
  const { words, bytes } = mmu.memory;
  const from = hostAddressOf(maddrOf(table));
  bytes.copyWithin(hostAddressOf(maddrOf(scratch)), from, from + 4096);
  const low = words[entryAt] ?? 0;
  const high = words[entryAt + 1] ?? 0;
  words[entryAt] = (scratch << 12) | (low & 0xfff) | WRITABLE | USER;
  words[entryAt + 1] = 0;
  hardware.noteWrite(entryMaddr, ENTRY_BYTES);
  hardware.write(FIELD.GUEST_RFLAGS, hardware.read(FIELD.GUEST_RFLAGS) | RFLAGS_TF);
  hardware.resume?.();
  const stop = hardware.step();
  words[entryAt] = low;
  words[entryAt + 1] = high;
  hardware.noteWrite(entryMaddr, ENTRY_BYTES);
  const { trap } = hardware;
  return stop === 'trap' && trap?.kind === 'exception' && trap.vector === DB;
};

/** Makes the copy's one changed entry the table's; an error if there are more, or it is refused. */
const takeOver = (
  { mmu, scratch, update }: DirectPaging,
  vcpu: XenVcpu,
  table: Mfn,
  linear: bigint,
): string | undefined => {
  const { words } = mmu.memory;
  const changed: number[] = [];
  for (let slot = 0; slot < ENTRIES; slot += 1) {
    const own = wordOf(table, slot);
    const copy = wordOf(scratch, slot);
    if (words[own] !== words[copy] || words[own + 1] !== words[copy + 1]) changed.push(slot);
  }
  const [slot] = changed;
  if (slot === undefined) return undefined;
  if (changed.length > 1) return 'EINVAL';
  const at = wordOf(scratch, slot);
  const owner = vcpu.domain.id;
  const change = {
    table,
    slot,
    low: words[at] ?? 0,
    high: words[at + 1] ?? 0,
    owner,
    frameOwner: owner,
    preservesUse: false,
    isTranslated: false,
  };
  return update(vcpu, change, 'write', linear as Gva);
};
