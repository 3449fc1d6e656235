/**
 * What decrease_reservation and populate_physmap share: the list of extents.
 * Source: Xen public/memory.h, struct xen_memory_reservation.
 */
import type { Gfn, Mfn } from '../../memory/addresses.ts';
import type { XenVcpu } from '../domain.ts';
import { copyFromGuest, emit, type Hypervisor } from '../hypervisor.ts';
import { type HypercallContext, type HypercallResult, readNumber } from './hypercall.ts';

export const RESERVATION = {
  extent_start: 'handle',
  nr_extents: 'ulong',
  extent_order: 'u32',
  mem_flags: 'u32',
  domid: 'u16',
} as const;

export type Reservation = { [Name in keyof typeof RESERVATION]: bigint };

export const MAXIMUM_ORDER = 9n;
const CONTINUATION_SHIFT = 6n;
/** What a continuation can count to. */
const MAXIMUM_EXTENTS = 0xffff_ffffn >> CONTINUATION_SHIFT;
/** Extents after which a call comes back, to go on later. */
const AT_ONCE = 4096n;

/** Extents that are done already, by a continuation: what is returned if none can be done. */
export const startOf = ({ args }: HypercallContext): bigint =>
  (args[0] ?? 0n) >> CONTINUATION_SHIFT;

/**
 * Runs `perform` over the first frames of the extents, from where a continuation left off, until
 * it refuses; the number of extents done. `address` is where the extent stands in the list.
 */
export const eachExtent = (
  context: HypercallContext,
  { extent_start, nr_extents }: Reservation,
  perform: (first: Gfn, address: bigint) => boolean,
): HypercallResult => {
  const { hypervisor, vcpu, args, wordBytes } = context;
  const start = startOf(context);
  if (nr_extents > MAXIMUM_EXTENTS) return start;
  let done = start;
  for (; done < nr_extents; done += 1n) {
    if (done - start === AT_ONCE) {
      const command = (args[0] ?? 0n) % (1n << CONTINUATION_SHIFT);
      return { continueWith: [command | (done << CONTINUATION_SHIFT), args[1] ?? 0n] };
    }
    const address = extent_start + done * BigInt(wordBytes);
    const bytes = copyFromGuest(hypervisor, vcpu, address, wordBytes);
    if (bytes === undefined) break;
    if (!perform(Number(readNumber(bytes, 0, wordBytes)) as Gfn, address)) break;
  }
  return done;
};

/** Notes one page that went or came, and tells of it. */
export const noteBalloon = (
  hypervisor: Hypervisor,
  vcpu: XenVcpu,
  direction: 'decrease' | 'populate',
  gfn: Gfn,
  mfn: Mfn | undefined,
): void => {
  if (direction === 'decrease' && mfn !== undefined) {
    hypervisor.emptied.note(mfn, 'ballooned', vcpu.domain.id, gfn);
  }
  if (hypervisor.events.wants('balloon')) {
    emit(hypervisor, vcpu, { kind: 'balloon', direction, gfn, mfn });
  }
};
