/**
 * A page walk of a PV vCPU: the entries hold machine frames, and the hypervisor knows of each what
 * it is used as, and by the M2P which of the guest's frames it is.
 */
import type { FrameUse, WalkLevel, WalkResult } from '../../../machine.ts';
import { mfnOf } from '../../../memory/addresses.ts';
import type { XenVcpu } from '../../domain.ts';
import { MACHINE_FRAMES, walkGuest } from '../../guest-walk.ts';
import { type Hypervisor, pagingOf } from '../../hypervisor.ts';
import { directPagingOf } from './direct-paging.ts';
import type { Mmu } from './mmu.ts';
import { PAGE_TYPES, PINNED } from './page-types.ts';

const GUEST_KERNEL = 1n << 52n;
/** Owners from here on are no domains. */
const FIRST_RESERVED = 0x7ff0;

/** What a machine frame is used as; undefined if it is no memory. */
const useOf = ({ frames, pages, m2p }: Mmu, maddr: number): FrameUse | undefined => {
  const mfn = mfnOf(maddr as never);
  const owner = frames.owners[mfn];
  if (owner === undefined) return undefined;
  return {
    mfn,
    owner: owner < FIRST_RESERVED ? owner : undefined,
    gfn: m2p.gfn(mfn),
    type: PAGE_TYPES[pages.types[mfn] ?? 0] ?? 'none',
    uses: pages.counts[mfn] ?? 0,
    references: frames.references[mfn] ?? 0,
    isPinned: ((pages.flags[mfn] ?? 0) & PINNED) !== 0,
  };
};

export const walkDirect = (hypervisor: Hypervisor, vcpu: XenVcpu, address: bigint): WalkResult => {
  const { mmu } = directPagingOf(hypervisor);
  const walk = walkGuest(mmu.memory, MACHINE_FRAMES, pagingOf(hypervisor, vcpu), address);
  const levels = walk.levels.map((level): WalkLevel => {
    const frame = useOf(mmu, level.entryAddress);
    const isKernel = level.table === 'PTE' && (level.entry & GUEST_KERNEL) !== 0n;
    return {
      ...level,
      bits: isKernel ? [...level.bits, 'guest kernel'] : level.bits,
      ...(frame === undefined ? {} : { frame }),
    };
  });
  const frame = walk.maddr === undefined ? undefined : useOf(mmu, walk.maddr);
  if (frame === undefined) return { ...walk, levels };
  return { ...walk, levels, frame, verdict: `${walk.verdict} ${verdictOf(frame)}` };
};

/** What may become of the page, in words. */
const verdictOf = ({ mfn, owner, gfn, type, uses }: FrameUse): string => {
  const name = gfn === undefined ? 'no gfn' : `gfn 0x${gfn.toString(16)}`;
  const whose = owner === undefined ? 'the hypervisor' : `domain ${owner}`;
  const what =
    type === 'none' || uses === 0
      ? 'nothing holds it to a type'
      : type === 'writable_page'
        ? `it is writable by ${times(uses, 'entry', 'entries')}, and can be no page table`
        : `it is in use as ${type} by ${times(uses, 'entry or pin', 'entries and pins')}, and can not be written`;
  return `Frame 0x${mfn.toString(16)} of ${whose} is ${name}; ${what}.`;
};

const times = (count: number, one: string, many: string): string =>
  `${count} ${count === 1 ? one : many}`;
