/**
 * Copying between pages, each of the caller's own or granted to it, also in part (sub-page grants)
 * or by a grant of another domain's grant (transitive, one step).
 * Source: Xen public/grant_table.h, GNTTABOP_copy.
 */
import { type Mfn, maddrOf } from '../../memory/addresses.ts';
import { hostAddressOf } from '../../memory/machine-memory.ts';
import type { XenDomain } from '../domain.ts';
import { type Hypervisor, writeMaddr } from '../hypervisor.ts';
import { entriesOf, flagsOf, GTF, readEntry } from './grant-table.ts';
import { findDomain } from './map.ts';
import {
  frameOf,
  frameOfGrant,
  isWriting,
  markEntry,
  mayPin,
  newEntry,
  pin,
  subPageOf,
  unmarkEntry,
  unpin,
} from './pins.ts';
import type { GrantStatus } from './status.ts';

/** GNTCOPY_ flags. */
const SOURCE_IS_GRANT = 1;
const DESTINATION_IS_GRANT = 2;
const DOMID_SELF = 0x7ff0;

/** One end of a copy. */
export interface CopyEnd {
  /** A guest frame of the caller's own, or a grant reference. */
  readonly frame: number;
  readonly domain: number;
  readonly offset: number;
}

export interface CopyRequest {
  readonly source: CopyEnd;
  readonly destination: CopyEnd;
  readonly lengthBytes: number;
  readonly flags: number;
}

interface Claim {
  readonly mfn: Mfn;
  readonly start: number;
  readonly lengthBytes: number;
  release(): void;
}

export const copyGrant = (
  hypervisor: Hypervisor,
  caller: XenDomain,
  { source, destination, lengthBytes, flags }: CopyRequest,
): GrantStatus => {
  const from = domainOf(hypervisor, caller, source, (flags & SOURCE_IS_GRANT) !== 0);
  if (typeof from === 'string') return from;
  const to = domainOf(hypervisor, caller, destination, (flags & DESTINATION_IS_GRANT) !== 0);
  if (typeof to === 'string') return to;
  const isGrant = (flag: number): boolean => (flags & flag) !== 0;
  const read = claim(hypervisor, caller, from, source.frame, isGrant(SOURCE_IS_GRANT), true);
  if (typeof read === 'string') return read;
  const write = claim(
    hypervisor,
    caller,
    to,
    destination.frame,
    isGrant(DESTINATION_IS_GRANT),
    false,
  );
  if (typeof write === 'string') {
    read.release();
    return write;
  }
  const status = mayWrite(hypervisor, to, write.mfn)
    ? copyBytes(hypervisor, read, source.offset, write, destination.offset, lengthBytes)
    : 'general_error';
  read.release();
  write.release();
  return status;
};

/** Nobody writes to a PV domain's page tables. */
const mayWrite = ({ directPaging }: Hypervisor, { type }: XenDomain, mfn: Mfn): boolean =>
  type !== 'pv' || directPaging === undefined || directPaging.mmu.pages.mayWrite(mfn);

/** Pages of others are named by their grants alone. */
const domainOf = (
  hypervisor: Hypervisor,
  caller: XenDomain,
  { domain }: CopyEnd,
  isGrant: boolean,
): XenDomain | GrantStatus => {
  if (domain !== DOMID_SELF && !isGrant) return 'permission_denied';
  return (domain === DOMID_SELF ? caller : findDomain(hypervisor, domain)) ?? 'bad_domain';
};

const claim = (
  hypervisor: Hypervisor,
  caller: XenDomain,
  owner: XenDomain,
  frame: number,
  isGrant: boolean,
  readOnly: boolean,
): Claim | GrantStatus => {
  if (isGrant) return claimGrant(hypervisor, caller.id, owner, frame, readOnly, true);
  const mfn = frameOf(hypervisor, owner, frame, readOnly);
  return typeof mfn === 'string'
    ? mfn
    : { mfn, start: 0, lengthBytes: 4096, release: () => undefined };
};

const claimGrant = (
  hypervisor: Hypervisor,
  user: number,
  owner: XenDomain,
  reference: number,
  readOnly: boolean,
  mayGoOn: boolean,
): Claim | GrantStatus => {
  const { grants } = owner;
  const uses = [readOnly ? 'hostReads' : 'hostWrites'] as const;
  if (reference >= entriesOf(grants)) return 'bad_gntref';
  const known = grants.active.get(reference);
  if (known !== undefined && !mayPin(known, user, uses)) return 'general_error';
  if (known === undefined || (!readOnly && !isWriting(known))) {
    const status = markEntry(hypervisor, owner, reference, user, readOnly, false);
    if (status !== 'okay') return status;
  }
  const kind = flagsOf(hypervisor, grants, reference);
  const isTransitive = grants.version === 2 && (kind & GTF.typeMask) === GTF.transitive;
  let inner: Claim | undefined;
  let entry = known;
  if (isTransitive || entry === undefined) {
    const found = isTransitive
      ? follow(hypervisor, owner, reference, readOnly, mayGoOn)
      : pageOfGrant(hypervisor, owner, reference, readOnly, (kind & GTF.subPage) !== 0);
    const isOther = entry !== undefined && typeof found !== 'string' && !isSame(entry, found);
    if (typeof found === 'string' || isOther) {
      if (typeof found !== 'string') found.release();
      unmarkEntry(hypervisor, owner, reference, readOnly);
      return typeof found === 'string' ? found : 'general_error';
    }
    inner = found;
    entry ??= {
      ...newEntry(user, found.mfn, { domain: found.domain, reference: found.reference }),
      start: found.start,
      lengthBytes: found.lengthBytes,
      isSubPage: found.isSubPage,
    };
    grants.active.set(reference, entry);
  }
  pin(entry, uses);
  const { mfn, start, lengthBytes } = entry;
  return {
    mfn,
    start,
    lengthBytes,
    release() {
      unpin(hypervisor, owner, reference, uses, readOnly);
      inner?.release();
    },
  };
};

interface FoundPage extends Claim {
  readonly domain: number;
  readonly reference: number;
  readonly isSubPage: boolean;
}

const isSame = (
  entry: Omit<FoundPage, 'release' | 'domain' | 'reference'>,
  found: FoundPage,
): boolean =>
  entry.mfn === found.mfn && entry.start === found.start && entry.lengthBytes === found.lengthBytes;

const pageOfGrant = (
  hypervisor: Hypervisor,
  owner: XenDomain,
  reference: number,
  readOnly: boolean,
  isPart: boolean,
): FoundPage | GrantStatus => {
  const mfn = frameOfGrant(hypervisor, owner, reference, readOnly);
  if (typeof mfn === 'string') return mfn;
  const isSubPage = isPart && owner.grants.version === 2;
  const part = isSubPage
    ? subPageOf(hypervisor, owner, reference)
    : { start: 0, lengthBytes: 4096 };
  return { mfn, ...part, isSubPage, domain: owner.id, reference, release: () => undefined };
};

/** The grant that a transitive grant names: another domain's, given to the one that passes it on. */
const follow = (
  hypervisor: Hypervisor,
  owner: XenDomain,
  reference: number,
  readOnly: boolean,
  mayGoOn: boolean,
): FoundPage | GrantStatus => {
  const domain = readEntry(hypervisor, owner.grants, reference, 4, 2);
  const next = readEntry(hypervisor, owner.grants, reference, 8, 4);
  const other = findDomain(hypervisor, domain);
  if (!mayGoOn || other === undefined || other === owner) return 'general_error';
  const found = claimGrant(hypervisor, owner.id, other, next, readOnly, false);
  return typeof found === 'string' ? found : { ...found, domain, reference: next, isSubPage: true };
};

const copyBytes = (
  hypervisor: Hypervisor,
  from: Claim,
  fromOffset: number,
  to: Claim,
  toOffset: number,
  lengthBytes: number,
): GrantStatus => {
  if (Math.max(fromOffset, toOffset) + lengthBytes > 4096) return 'bad_copy_arg';
  const isWithin = (claimed: Claim, offset: number): boolean =>
    offset >= claimed.start && offset + lengthBytes <= claimed.start + claimed.lengthBytes;
  if (!isWithin(from, fromOffset) || !isWithin(to, toOffset)) return 'general_error';
  const start = hostAddressOf(maddrOf(from.mfn, fromOffset));
  const bytes = hypervisor.hardware.memory.bytes.slice(start, start + lengthBytes);
  writeMaddr(hypervisor, maddrOf(to.mfn, toOffset), bytes);
  return 'okay';
};
