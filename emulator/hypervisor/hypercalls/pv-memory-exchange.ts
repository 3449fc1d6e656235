/**
 * Trades frames for others: of another size, or of addresses that a device can reach. What goes in
 * must be in no other use. The new frames go by the numbers that the guest names.
 *
 * Errors: EPERM for large extents and other domains; ESRCH for domains that are not there; EINVAL
 * for lists that do not match, or a frame that is in use; ENOMEM without frames; EFAULT.
 */
import type { XenDomain } from '../domain.ts';
import { copyFromGuest, copyToGuest, ownDomain } from '../hypervisor.ts';
import { directPagingOf } from '../pv/mmu/direct-paging.ts';
import { allocateFrames, frameLimitOf, isUnused } from '../pv/mmu/extents.ts';
import {
  defineHypercall,
  type ErrorName,
  type HypercallContext,
  readNumber,
  writeNumber,
} from './hypercall.ts';
import { MAXIMUM_ORDER } from './memory-reservation.ts';

/** Chunks after which a call comes back, to go on later. */
const AT_ONCE = 256;
const WORD = 8;

export const pvMemoryExchange = defineHypercall({
  name: 'XENMEM_exchange',
  number: 12,
  command: 11,
  only: 'pv',
  title: 'Exchange machine frames',
  source: 'Xen public/memory.h',
  argument: {
    in_extent_start: 'handle',
    in_nr_extents: 'ulong',
    in_extent_order: 'u32',
    in_mem_flags: 'u32',
    in_domid: 'u16',
    out_extent_start: 'handle',
    out_nr_extents: 'ulong',
    out_extent_order: 'u32',
    out_mem_flags: 'u32',
    out_domid: 'u16',
    nr_exchanged: 'ulong',
  },
  handle(context, fields) {
    const { hypervisor, vcpu, args } = context;
    if (args[0] !== 11n) return 'EINVAL';
    const { in_extent_order: inOrder, out_extent_order: outOrder } = fields;
    if (inOrder > MAXIMUM_ORDER || outOrder > MAXIMUM_ORDER) return 'EPERM';
    const pages = fields.in_nr_extents << inOrder;
    const fits =
      fields.nr_exchanged <= fields.in_nr_extents &&
      fields.in_domid === fields.out_domid &&
      pages < 1n << 64n &&
      pages === fields.out_nr_extents << outOrder;
    if (!fits) return 'EINVAL';
    if (fields.nr_exchanged === fields.in_nr_extents) return 0;
    const limit = frameLimitOf(fields.out_mem_flags);
    if (limit === undefined) return 'EINVAL';
    const domain = ownDomain(hypervisor, vcpu, fields.in_domid);
    if (typeof domain === 'string') return domain;
    const inChunk = outOrder > inOrder ? Number(outOrder - inOrder) : 0;
    const chunk: Chunk = {
      domain,
      limit,
      inList: fields.in_extent_start,
      outList: fields.out_extent_start,
      inExtents: 2 ** inChunk,
      outExtents: inOrder > outOrder ? 2 ** Number(inOrder - outOrder) : 1,
      inPages: 2 ** Number(inOrder),
      outPages: 2 ** Number(outOrder),
    };
    const end = Number(fields.in_nr_extents >> BigInt(inChunk));
    const first = Number(fields.nr_exchanged >> BigInt(inChunk));
    for (let index = first; index < end; index += 1) {
      if (index === first + AT_ONCE) {
        fields.nr_exchanged = BigInt(index) << BigInt(inChunk);
        return { continueWith: args };
      }
      const error = exchange(context, chunk, index);
      if (error === undefined) continue;
      fields.nr_exchanged = BigInt(index) << BigInt(inChunk);
      return error;
    }
    fields.nr_exchanged = fields.in_nr_extents;
    return 0;
  },
});

interface Chunk {
  readonly domain: XenDomain;
  readonly limit: number;
  readonly inList: bigint;
  readonly outList: bigint;
  /** Extents of the lists that make one chunk, and pages of each. */
  readonly inExtents: number;
  readonly outExtents: number;
  readonly inPages: number;
  readonly outPages: number;
}

/** One chunk: all of it, or nothing but what the guest could not be told. */
const exchange = (
  context: HypercallContext,
  chunk: Chunk,
  index: number,
): ErrorName | undefined => {
  const { hypervisor, vcpu } = context;
  const { frames } = hypervisor;
  const { m2p } = directPagingOf(hypervisor).mmu;
  const { domain, inExtents, outExtents, inPages, outPages } = chunk;
  const read = (list: bigint, at: number): bigint | undefined => {
    const bytes = copyFromGuest(hypervisor, vcpu, list + BigInt(at) * BigInt(WORD), WORD);
    return bytes && readNumber(bytes, 0, WORD);
  };
  const given = new Set<number>();
  for (let extent = 0; extent < inExtents; extent += 1) {
    const mfn = read(chunk.inList, index * inExtents + extent);
    if (mfn === undefined) return 'EFAULT';
    for (let page = 0; page < inPages; page += 1) {
      const frame = Number(mfn) + page;
      if (given.has(frame) || !isUnused(hypervisor, domain, frame)) return 'EINVAL';
      given.add(frame);
    }
  }
  const got: number[] = [];
  for (let extent = 0; extent < outExtents; extent += 1) {
    const mfn = allocateFrames(hypervisor, domain, outPages, chunk.limit);
    if (mfn === undefined) {
      for (const one of got) frames.release(one as never, outPages);
      return 'ENOMEM';
    }
    got.push(mfn);
  }
  for (const frame of given) frames.release(frame as never);
  let error: ErrorName | undefined;
  got.forEach((mfn, extent) => {
    const at = index * outExtents + extent;
    const gfn = read(chunk.outList, at);
    if (gfn === undefined) {
      error = 'EFAULT';
      return;
    }
    for (let page = 0; page < outPages; page += 1) m2p.set(mfn + page, gfn + BigInt(page));
    const bytes = new Uint8Array(WORD);
    writeNumber(bytes, 0, WORD, BigInt(mfn));
    const place = chunk.outList + BigInt(at) * BigInt(WORD);
    if (!copyToGuest(hypervisor, vcpu, place, bytes)) error = 'EFAULT';
  });
  return error;
};
