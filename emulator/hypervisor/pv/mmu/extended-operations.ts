/**
 * The commands of mmuext_op, by number. Source: Xen public/xen.h, enum mmuext_cmd.
 */
import { type Mfn, maddrOf } from '../../../memory/addresses.ts';
import { hostAddressOf } from '../../../memory/machine-memory.ts';
import type { XenVcpu } from '../../domain.ts';
import type { ErrorName } from '../../hypercalls/hypercall.ts';
import type { Hypervisor } from '../../hypervisor.ts';
import { isGuestAddress, LDT_ENTRIES } from '../layout.ts';
import { directPagingOf } from './direct-paging.ts';
import type { FrameOwner } from './foreign-domain.ts';
import { nameOfFrame, refuse } from './mmu.ts';
import { readVcpuSet } from './vcpu-set.ts';

interface Caller {
  readonly hypervisor: Hypervisor;
  readonly vcpu: XenVcpu;
  /** FD: whose frames are meant. */
  readonly owner: FrameOwner;
}

type Operation = (caller: Caller, first: bigint, second: bigint) => ErrorName | undefined;

/** A frame number beyond any memory stays so. */
const frameOf = (value: bigint): number => Number(value);

const isOwn = ({ vcpu, owner }: Caller): boolean => owner === vcpu.domain;

/** Only for the caller's own domain. */
const own =
  (operation: Operation): Operation =>
  (caller, first, second) =>
    isOwn(caller) ? operation(caller, first, second) : 'EPERM';

const pinTable =
  (level: number): Operation =>
  ({ hypervisor, vcpu, owner }, mfn) =>
    typeof owner === 'string'
      ? 'EINVAL'
      : directPagingOf(hypervisor).pin(vcpu, frameOf(mfn), level, owner);

const unpinTable: Operation = ({ hypervisor, vcpu, owner }, mfn) =>
  typeof owner === 'string'
    ? 'EINVAL'
    : directPagingOf(hypervisor).unpin(vcpu, frameOf(mfn), owner);

const newBaseptr: Operation = ({ hypervisor, vcpu }, mfn) =>
  directPagingOf(hypervisor).setKernelRoot(vcpu, frameOf(mfn));

const newUserBaseptr: Operation = ({ hypervisor, vcpu }, mfn) =>
  directPagingOf(hypervisor).setUserRoot(vcpu, frameOf(mfn));

/** Processors here remember no entry longer than it is in memory: there is nothing to flush. */
const flush: Operation = () => undefined;

const flushSome: Operation = ({ hypervisor, vcpu }, _address, set) =>
  readVcpuSet(hypervisor, vcpu, set) === undefined ? 'EINVAL' : undefined;

/** Write-back of caches is for domains with devices. */
const flushCache: Operation = ({ vcpu }) => (vcpu.domain.id === 0 ? undefined : 'EACCES');
const flushCacheGlobal: Operation = ({ vcpu }) => (vcpu.domain.id === 0 ? undefined : 'EINVAL');

const setLdt: Operation = ({ hypervisor, vcpu }, base, entries) => {
  const count = Number(entries & 0xffff_ffffn);
  const isFit = count === 0 || (base % 4096n === 0n && isGuestAddress(base));
  if (count > LDT_ENTRIES || !isFit) return 'EINVAL';
  directPagingOf(hypervisor).partsOf(vcpu.domain)?.setLdt(vcpu, base, count);
  return undefined;
};

/** A frame of the owner's that may be written now; an error otherwise. */
const writableFrame = ({ hypervisor, vcpu, owner }: Caller, value: bigint): Mfn | undefined => {
  const paging = directPagingOf(hypervisor);
  const { mmu } = paging;
  const mfn = frameOf(value);
  const isOwned = typeof owner !== 'string' && mmu.frames.owners[mfn] === owner.id;
  if (isOwned && mmu.pages.takeWritable(mfn)) {
    mmu.pages.dropWritable(mfn);
    return mfn as Mfn;
  }
  refuse(
    mmu,
    'EINVAL',
    mfn,
    `A page is to be filled: ${nameOfFrame(mmu, mfn)} may not be written.`,
  );
  paging.noteRefusal(vcpu);
  return undefined;
};

const clearPage: Operation = (caller, value) => {
  const mfn = writableFrame(caller, value);
  if (mfn === undefined) return 'EINVAL';
  const { hardware } = caller.hypervisor;
  const host = hostAddressOf(maddrOf(mfn));
  hardware.memory.bytes.fill(0, host, host + 4096);
  hardware.noteWrite(maddrOf(mfn), 4096);
  return undefined;
};

const copyPage: Operation = (caller, to, from) => {
  const { hypervisor, owner } = caller;
  const { hardware, frames } = hypervisor;
  const source = frameOf(from);
  if (typeof owner === 'string' || frames.owners[source] !== owner.id) return 'EINVAL';
  const mfn = writableFrame(caller, to);
  if (mfn === undefined) return 'EINVAL';
  const { bytes } = hardware.memory;
  const start = hostAddressOf(maddrOf(source as Mfn));
  bytes.copyWithin(hostAddressOf(maddrOf(mfn)), start, start + 4096);
  hardware.noteWrite(maddrOf(mfn), 4096);
  return undefined;
};

/** Large pages are no part of this ABI any more. */
const markSuper: Operation = () => 'EOPNOTSUPP';

export const EXTENDED_OPERATIONS: Readonly<Record<number, Operation>> = {
  0: pinTable(1),
  1: pinTable(2),
  2: pinTable(3),
  3: pinTable(4),
  4: unpinTable,
  5: own(newBaseptr),
  6: own(flush),
  7: own(flush),
  8: own(flushSome),
  9: own(flushSome),
  10: own(flush),
  11: own(flush),
  12: own(flushCache),
  13: own(setLdt),
  15: own(newUserBaseptr),
  16: clearPage,
  17: copyPage,
  18: own(flushCacheGlobal),
  19: markSuper,
  20: markSuper,
};
