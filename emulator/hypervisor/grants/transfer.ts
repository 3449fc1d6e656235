/**
 * Transfer of a page: it leaves the caller for good, and enters the other domain at the frame that
 * this has offered in its grant table. Source: Xen public/grant_table.h, GNTTABOP_transfer.
 */
import type { Gfn, Mfn } from '../../memory/addresses.ts';
import type { XenDomain } from '../domain.ts';
import type { Hypervisor } from '../hypervisor.ts';
import { entriesOf, flagsOf, frameOfEntry, GTF, granteeOf, writeEntry } from './grant-table.ts';
import { findDomain } from './map.ts';
import type { GrantStatus } from './status.ts';

export interface TransferRequest {
  readonly gfn: number;
  readonly domain: number;
  readonly reference: number;
}

/** How the two sides lose and gain a page; a PV domain keeps its P2M itself. */
export interface PageMover {
  /** The frame, if it is the domain's own RAM that nobody else uses; it is nobody's then. */
  take(domain: XenDomain, gfn: number): Mfn | GrantStatus;
  /** The frame becomes the domain's. */
  give(domain: XenDomain, gfn: number, mfn: Mfn): boolean;
}

/** As on Xen, a page is lost to the caller even if the other domain does not take it. */
export const transferGrant = (
  hypervisor: Hypervisor,
  caller: XenDomain,
  { gfn, domain: id, reference }: TransferRequest,
  mover: PageMover,
): GrantStatus => {
  const mfn = mover.take(caller, gfn);
  if (typeof mfn === 'string') return mfn;
  const lose = (status: GrantStatus): GrantStatus => {
    hypervisor.frames.release(mfn);
    return status;
  };
  const receiver = findDomain(hypervisor, id);
  if (receiver === undefined) return lose('bad_domain');
  if (receiver.pages >= receiver.maximumPages) return lose('general_error');
  const { grants } = receiver;
  const isOffered =
    reference < entriesOf(grants) &&
    flagsOf(hypervisor, grants, reference) === GTF.acceptTransfer &&
    granteeOf(hypervisor, grants, reference) === caller.id;
  if (!isOffered) return lose('general_error');
  const committed = GTF.acceptTransfer | GTF.transferCommitted;
  writeEntry(hypervisor, grants, reference, 0, 2, committed);
  const place = frameOfEntry(hypervisor, grants, reference) as Gfn;
  const isPlaced = mover.give(receiver, place, mfn);
  if (receiver.type === 'pv') {
    const [offset, bytes] = grants.version === 1 ? ([4, 4] as const) : ([8, 8] as const);
    writeEntry(hypervisor, grants, reference, offset, bytes, mfn);
  }
  writeEntry(hypervisor, grants, reference, 0, 2, committed | GTF.transferCompleted);
  return isPlaced ? 'okay' : 'general_error';
};
