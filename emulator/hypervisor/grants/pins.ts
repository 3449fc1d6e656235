/**
 * The use of a grant by another domain: its entry is checked and marked, the page is found, the use
 * is counted; and the way back. Source: Xen public/grant_table.h; common/grant_table.c tells the
 * order of checks.
 */
import type { Gfn, Mfn } from '../../memory/addresses.ts';
import type { XenDomain } from '../domain.ts';
import type { Hypervisor } from '../hypervisor.ts';
import { isRam, unitsOf } from '../memory/units.ts';
import { EPT_WRITE } from '../p2m.ts';
import {
  type ActiveEntry,
  entriesOf,
  flagsOf,
  frameOfEntry,
  GTF,
  granteeOf,
  pinsOf,
  readEntry,
  readStatus,
  writeStatus,
} from './grant-table.ts';
import type { GrantStatus } from './status.ts';

/** Xen counts uses of a kind in 8 bits. */
const MAXIMUM_USES = 255;

export type Use = 'hostReads' | 'hostWrites' | 'deviceReads' | 'deviceWrites';

export const isWriting = ({ hostWrites, deviceWrites }: ActiveEntry): boolean =>
  hostWrites + deviceWrites > 0;

/**
 * The machine frame behind a frame number of a domain, if others may use it. A PV domain names
 * machine frames.
 */
export const frameOf = (
  hypervisor: Hypervisor,
  domain: XenDomain,
  frame: number,
  readOnly: boolean,
): Mfn | GrantStatus => {
  if (domain.type === 'pv') return pvFrameOf(hypervisor, domain, frame);
  const gfn = frame as Gfn;
  if (isRam(domain.p2m.lookup(gfn).type)) {
    const readiness = unitsOf(hypervisor).prepare(domain, gfn, readOnly ? 'read' : 'write');
    if (readiness === 'no-frame') return 'eagain';
    if (readiness !== 'ready') return 'bad_page';
  }
  const { type, mfn, access } = domain.p2m.lookup(gfn);
  if (mfn === undefined || type === 'grant') return 'bad_page';
  return readOnly || (access & EPT_WRITE) !== 0 ? mfn : 'bad_page';
};

const pvFrameOf = ({ frames }: Hypervisor, { id }: XenDomain, frame: number): Mfn | GrantStatus =>
  frames.owners[frame] === id && !frames.isLeaving(frame) ? (frame as Mfn) : 'bad_page';

/** Checks and marks an entry for a domain: _set_status of Xen. */
export const markEntry = (
  hypervisor: Hypervisor,
  { grants }: XenDomain,
  reference: number,
  user: number,
  readOnly: boolean,
  isMap: boolean,
): GrantStatus => {
  const flags = flagsOf(hypervisor, grants, reference);
  const isPinned = grants.active.has(reference);
  if (!isPinned) {
    const kind = flags & (GTF.typeMask | (isMap ? GTF.subPage : 0));
    const mayCopy = grants.version === 2 && !isMap && kind === GTF.transitive;
    if (kind !== GTF.permitAccess && !mayCopy) return 'general_error';
    if (granteeOf(hypervisor, grants, reference) !== user) return 'general_error';
  }
  if (!readOnly && (flags & GTF.readOnly) !== 0) return 'general_error';
  const marks = GTF.reading | (readOnly ? 0 : GTF.writing);
  writeStatus(hypervisor, grants, reference, readStatus(hypervisor, grants, reference) | marks);
  return 'okay';
};

/** Takes marks away that the uses that are left do not need; a dead domain has no entries. */
export const unmarkEntry = (
  hypervisor: Hypervisor,
  { grants }: XenDomain,
  reference: number,
  readOnly: boolean,
): void => {
  if (reference >= entriesOf(grants)) return;
  const entry = grants.active.get(reference);
  const isUsed = entry !== undefined && pinsOf(entry) > 0;
  const isWritten = entry !== undefined && isWriting(entry);
  const cleared = (isUsed ? 0 : GTF.reading) | (!readOnly && !isWritten ? GTF.writing : 0);
  if (cleared === 0) return;
  writeStatus(hypervisor, grants, reference, readStatus(hypervisor, grants, reference) & ~cleared);
};

/** Whether an entry in use may be used once more by this domain. */
export const mayPin = (entry: ActiveEntry, user: number, uses: readonly Use[]): boolean =>
  entry.domain === user && uses.every((use) => entry[use] < MAXIMUM_USES);

export const pin = (entry: ActiveEntry, uses: readonly Use[]): void => {
  for (const use of uses) entry[use] += 1;
};

/** Counts uses down; an entry without any is not in use. */
export const unpin = (
  hypervisor: Hypervisor,
  domain: XenDomain,
  reference: number,
  uses: readonly Use[],
  readOnly: boolean,
): void => {
  const entry = domain.grants.active.get(reference);
  if (entry === undefined) return;
  for (const use of uses) entry[use] -= 1;
  if (pinsOf(entry) === 0) domain.grants.active.delete(reference);
  unmarkEntry(hypervisor, domain, reference, readOnly);
};

export const newEntry = (
  domain: number,
  mfn: Mfn,
  source: { readonly domain: number; readonly reference: number },
): ActiveEntry => ({
  hostReads: 0,
  hostWrites: 0,
  deviceReads: 0,
  deviceWrites: 0,
  domain,
  mfn,
  start: 0,
  lengthBytes: 4096,
  isSubPage: false,
  sourceDomain: source.domain,
  sourceReference: source.reference,
});

/** Offset and length of a part of a page, of version 2. */
export const subPageOf = (
  hypervisor: Hypervisor,
  { grants }: XenDomain,
  reference: number,
): { readonly start: number; readonly lengthBytes: number } => ({
  start: readEntry(hypervisor, grants, reference, 4, 2),
  lengthBytes: readEntry(hypervisor, grants, reference, 6, 2),
});

export const frameOfGrant = (
  hypervisor: Hypervisor,
  domain: XenDomain,
  reference: number,
  readOnly: boolean,
): Mfn | GrantStatus =>
  frameOf(hypervisor, domain, frameOfEntry(hypervisor, domain.grants, reference), readOnly);
