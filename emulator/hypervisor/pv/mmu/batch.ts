/**
 * Lists of requests to the MMU: how far a call has come is told to the guest, and a long list is
 * gone through in several calls.
 * Source: Xen public/xen.h, HYPERVISOR_mmu_update; MMU_UPDATE_PREEMPTED is the hypervisor's own.
 */
import {
  type HypercallContext,
  type HypercallResult,
  readNumber,
  writeNumber,
} from '../../hypercalls/hypercall.ts';
import { copyFromGuest, copyToGuest } from '../../hypervisor.ts';
import { isGuestAddress } from '../layout.ts';

/** In the count: this call goes on with a list; *done has what came before. */
const PREEMPTED = 0x8000_0000;
/** Requests after which a call comes back, to go on later. */
const AT_ONCE = 16_384;
const DONE_BYTES = 4;

export interface Batch {
  readonly list: bigint;
  readonly count: number;
}

/**
 * Runs `perform` for each request by its index, until it gives an error or an end, and writes how
 * many were done. `begin` looks at the other arguments first.
 */
export const runBatch = (
  context: HypercallContext,
  requestBytes: number,
  begin: (list: bigint) => HypercallResult | ((index: number) => HypercallResult),
): HypercallResult => {
  const { hypervisor, vcpu, args } = context;
  const [list = 0n, countArgument = 0n, doneAt = 0n, foreign = 0n] = args;
  const given = Number(countArgument & 0xffff_ffffn);
  // The end of a list whose result was to be kept.
  if (given === PREEMPTED && list === 0n) return BigInt.asIntN(32, foreign);
  const goesOn = given >= PREEMPTED;
  const count = given % PREEMPTED;
  let before = 0;
  if (goesOn && doneAt !== 0n) {
    const bytes = copyFromGuest(hypervisor, vcpu, doneAt, DONE_BYTES);
    if (bytes !== undefined) before = Number(readNumber(bytes, 0, DONE_BYTES));
  }
  if (!isGuestAddress(list)) return 'EFAULT';
  const perform = begin(list);
  if (typeof perform !== 'function') return perform;
  let result: HypercallResult = 0;
  let index = 0;
  for (; index < count && index < AT_ONCE; index += 1) {
    result = perform(index);
    if (result !== 0) break;
  }
  if (doneAt !== 0n) {
    const bytes = new Uint8Array(DONE_BYTES);
    writeNumber(bytes, 0, DONE_BYTES, BigInt((before + index) >>> 0));
    copyToGuest(hypervisor, vcpu, doneAt, bytes);
  }
  if (result !== 0 || index === count) return result;
  const rest = BigInt(count - index + PREEMPTED);
  return { continueWith: [list + BigInt(index * requestBytes), rest, doneAt, foreign] };
};
