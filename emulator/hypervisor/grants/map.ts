/**
 * Mapping of granted pages. A translated domain gets the page at a guest frame of its choice; domain
 * 0's backends, which are no guest code, only count as users.
 * Source: Xen public/grant_table.h, GNTTABOP_map_grant_ref, GNTTABOP_unmap_grant_ref.
 */
import type { Mfn } from '../../memory/addresses.ts';
import type { XenDomain } from '../domain.ts';
import type { Hypervisor } from '../hypervisor.ts';
import { entriesOf, type GrantTable } from './grant-table.ts';
import {
  frameOfGrant,
  isWriting,
  markEntry,
  mayPin,
  newEntry,
  pin,
  type Use,
  unmarkEntry,
  unpin,
} from './pins.ts';
import type { GrantStatus } from './status.ts';

/** GNTMAP_ flags. */
export const GNTMAP = {
  device: 1,
  host: 2,
  readOnly: 4,
  application: 8,
  containsPte: 16,
} as const;
/** gnttab_max_maptrack_frames of 1024, each of 256 mappings. */
const MAXIMUM_MAPPINGS = 0x4_0000;

export interface MapRequest {
  readonly domain: number;
  readonly reference: number;
  readonly flags: number;
}

/** Makes the page accessible to the domain, or takes it away again. */
export interface Installer {
  install(mfn: Mfn, flags: number): GrantStatus;
  remove(mfn: Mfn, flags: number): GrantStatus;
}

export const findDomain = ({ domains }: Hypervisor, id: number): XenDomain | undefined => {
  const domain = domains.get(id);
  return domain?.state === 'destroyed' ? undefined : domain;
};

const usesOf = (flags: number): Use[] => {
  const isRead = (flags & GNTMAP.readOnly) !== 0;
  return [
    ...((flags & GNTMAP.device) === 0 ? [] : ([isRead ? 'deviceReads' : 'deviceWrites'] as const)),
    ...((flags & GNTMAP.host) === 0 ? [] : ([isRead ? 'hostReads' : 'hostWrites'] as const)),
  ];
};

const freeHandle = ({ mappings }: GrantTable): number | undefined => {
  for (let handle = 0; handle < MAXIMUM_MAPPINGS; handle += 1) {
    if (!mappings.has(handle)) return handle;
  }
  return undefined;
};

/** Maps a page that another domain has granted to `user`. */
export const mapGrant = (
  hypervisor: Hypervisor,
  user: XenDomain,
  { domain: id, reference, flags }: MapRequest,
  installer: Installer,
): { readonly handle: number; readonly mfn: Mfn } | GrantStatus => {
  const uses = usesOf(flags);
  if (uses.length === 0) return 'bad_gntref';
  const isForeign = GNTMAP.device | GNTMAP.application | GNTMAP.containsPte;
  if (user.type !== 'pv' && (flags & isForeign) !== 0) return 'general_error';
  const owner = findDomain(hypervisor, id);
  if (owner === undefined) return 'bad_domain';
  const handle = freeHandle(user.grants);
  if (handle === undefined) return 'no_space';
  const mfn = use(hypervisor, user, owner, reference, flags, uses);
  if (typeof mfn === 'string') return mfn;
  const isWritable = (flags & GNTMAP.readOnly) === 0;
  const isHeld = holdGranted(hypervisor, owner, mfn, isWritable);
  const status = isHeld ? installer.install(mfn, flags) : 'general_error';
  if (status !== 'okay') {
    if (isHeld) letGranted(hypervisor, owner, mfn, isWritable);
    unpin(hypervisor, owner, reference, uses, (flags & GNTMAP.readOnly) !== 0);
    return status;
  }
  user.grants.mappings.set(handle, { domain: id, reference, flags });
  return { handle, mfn };
};

/** While it is mapped, a page is not freed; a PV domain's that is mapped writable is no page table. */
const holdGranted = (
  hypervisor: Hypervisor,
  { type }: XenDomain,
  mfn: Mfn,
  isWritable: boolean,
): boolean => {
  const { frames, directPaging } = hypervisor;
  const isTyped = type === 'pv' && isWritable;
  if (isTyped && directPaging?.mmu.pages.takeWritable(mfn) === false) return false;
  frames.hold(mfn);
  return true;
};

const letGranted = (
  hypervisor: Hypervisor,
  { type }: XenDomain,
  mfn: Mfn,
  isWritable: boolean,
): void => {
  const { frames, directPaging } = hypervisor;
  if (type === 'pv' && isWritable) directPaging?.mmu.pages.dropWritable(mfn);
  frames.letGo(mfn);
};

/** Counts the use of an entry; the page it grants. */
const use = (
  hypervisor: Hypervisor,
  user: XenDomain,
  owner: XenDomain,
  reference: number,
  flags: number,
  uses: readonly Use[],
): Mfn | GrantStatus => {
  const { grants } = owner;
  if (reference >= entriesOf(grants)) return 'bad_gntref';
  const readOnly = (flags & GNTMAP.readOnly) !== 0;
  const known = grants.active.get(reference);
  if (known !== undefined && (!mayPin(known, user.id, uses) || known.isSubPage)) {
    return 'general_error';
  }
  if (known === undefined || (!readOnly && !isWriting(known))) {
    const status = markEntry(hypervisor, owner, reference, user.id, readOnly, true);
    if (status !== 'okay') return status;
  }
  if (known !== undefined) {
    pin(known, uses);
    return known.mfn;
  }
  const mfn = frameOfGrant(hypervisor, owner, reference, readOnly);
  if (typeof mfn === 'string') {
    unmarkEntry(hypervisor, owner, reference, readOnly);
    return mfn;
  }
  const entry = newEntry(user.id, mfn, { domain: owner.id, reference });
  pin(entry, uses);
  grants.active.set(reference, entry);
  return mfn;
};

export interface UnmapRequest {
  readonly handle: number;
  /** Whether the host mapping, and the device mapping, are to go. */
  readonly host: boolean;
  readonly device: boolean;
  /** If not 0, it must be where the page is for devices. */
  readonly deviceAddress: number;
}

/** Ends a mapping, or the host or device part of it. */
export const unmapGrant = (
  hypervisor: Hypervisor,
  user: XenDomain,
  { handle, host, device, deviceAddress }: UnmapRequest,
  installer: Installer,
): GrantStatus => {
  const mapping = user.grants.mappings.get(handle);
  if (mapping === undefined) return 'bad_handle';
  const owner = hypervisor.domains.get(mapping.domain);
  const entry = owner?.grants.active.get(mapping.reference);
  if (owner === undefined || entry === undefined) return 'bad_handle';
  const { mfn } = entry;
  const asked = mapping.flags & ((host ? GNTMAP.host : 0) | (device ? GNTMAP.device : 0));
  if ((asked & GNTMAP.device) !== 0 && deviceAddress !== mfn * 4096) return 'bad_dev_addr';
  if ((asked & GNTMAP.host) !== 0) {
    const status = installer.remove(mfn, mapping.flags);
    if (status !== 'okay') return status;
  }
  endUse(hypervisor, user, handle, asked);
  return 'okay';
};

/** Takes a part of a mapping out of the counts; the mapping goes with its last part. */
const endUse = (hypervisor: Hypervisor, user: XenDomain, handle: number, asked: number): void => {
  const mapping = user.grants.mappings.get(handle);
  const owner = mapping && hypervisor.domains.get(mapping.domain);
  if (mapping === undefined || owner === undefined || asked === 0) return;
  const entry = owner.grants.active.get(mapping.reference);
  const readOnly = mapping.flags & GNTMAP.readOnly;
  unpin(hypervisor, owner, mapping.reference, usesOf(asked | readOnly), readOnly !== 0);
  mapping.flags &= ~asked;
  if ((mapping.flags & (GNTMAP.host | GNTMAP.device)) !== 0) return;
  user.grants.mappings.delete(handle);
  if (entry !== undefined) letGranted(hypervisor, owner, entry.mfn, readOnly === 0);
};

/** Ends the mappings of a domain, all of them or those of one other domain's pages. */
export const releaseMappings = (hypervisor: Hypervisor, user: XenDomain, of?: XenDomain): void => {
  for (const [handle, { flags, domain }] of [...user.grants.mappings]) {
    if (of !== undefined && domain !== of.id) continue;
    endUse(hypervisor, user, handle, flags & (GNTMAP.host | GNTMAP.device));
  }
};
