/**
 * Versions of the grant table. A change clears all entries but the toolstack's eight.
 * Source: Xen public/grant_table.h, GNTTABOP_set_version.
 */
import type { Gfn } from '../../memory/addresses.ts';
import type { XenDomain } from '../domain.ts';
import { NO_GFN } from '../frames.ts';
import type { Hypervisor } from '../hypervisor.ts';
import { changeP2m } from '../p2m-changes.ts';
import {
  clearFrame,
  entriesOf,
  flagsOf,
  frameOfEntry,
  GTF,
  granteeOf,
  growTable,
  RESERVED_ENTRIES,
  readStatus,
  releaseFrame,
  writeEntry,
  writeStatus,
} from './grant-table.ts';

const MARKS = GTF.reading | GTF.writing;

export const setGrantVersion = (
  hypervisor: Hypervisor,
  domain: XenDomain,
  version: 1 | 2,
): 'EBUSY' | 'EAGAIN' | 'ERANGE' | 'ENOMEM' | undefined => {
  const { grants } = domain;
  if (grants.version === version) return undefined;
  const isUsed = [...grants.active.keys()].some(
    (reference) => reference >= RESERVED_ENTRIES && reference < entriesOf(grants),
  );
  if (isUsed) return 'EBUSY';
  if ([...grants.active.values()].some(({ isSubPage }) => isSubPage)) return 'EAGAIN';
  const kept = Array.from({ length: RESERVED_ENTRIES }, (_, reference) => ({
    flags: flagsOf(hypervisor, grants, reference),
    marks: readStatus(hypervisor, grants, reference) & MARKS,
    grantee: granteeOf(hypervisor, grants, reference),
    frame: frameOfEntry(hypervisor, grants, reference),
  }));
  if (version === 1 && kept.some(isTooWide)) return 'ERANGE';
  // A PV domain must unmap the status frames before they go.
  if (version === 1 && grants.status.some((mfn) => hypervisor.frames.isHeld(mfn))) return 'EBUSY';
  if (version === 1) releaseStatus(hypervisor, domain);
  grants.version = version;
  if (!growTable(hypervisor, domain, grants.shared.length)) {
    grants.version = 1;
    releaseStatus(hypervisor, domain);
    return 'ENOMEM';
  }
  for (const mfn of [...grants.shared, ...grants.status]) clearFrame(hypervisor, mfn);
  kept.forEach(({ flags, marks, grantee, frame }, reference) => {
    if (version === 1 && (flags & GTF.typeMask) !== GTF.permitAccess) return;
    const own = flags & ~MARKS;
    writeEntry(hypervisor, grants, reference, version === 1 ? 4 : 8, version === 1 ? 4 : 8, frame);
    writeEntry(hypervisor, grants, reference, 2, 2, grantee);
    writeEntry(hypervisor, grants, reference, 0, 2, own);
    if (version === 2) writeStatus(hypervisor, grants, reference, marks);
    else writeEntry(hypervisor, grants, reference, 0, 2, own | marks);
  });
  return undefined;
};

/** What version 1 cannot say. */
const isTooWide = ({
  flags,
  frame,
}: {
  readonly flags: number;
  readonly frame: number;
}): boolean => {
  const kind = flags & GTF.typeMask;
  return kind === GTF.transitive || (kind === GTF.permitAccess && frame >= 2 ** 32);
};

/**
 * Takes the status frames out of the P2M, where the domain may have put them, and frees them. A PV
 * domain may have mapped them by its own tables: it keeps them for the next time.
 */
const releaseStatus = (hypervisor: Hypervisor, domain: XenDomain): void => {
  if (domain.pv !== undefined) return;
  for (const mfn of domain.grants.status.splice(0)) {
    const gfn = domain.type === 'pv' ? NO_GFN : (hypervisor.frames.gfns[mfn] ?? NO_GFN);
    if (gfn !== NO_GFN && domain.p2m.lookup(gfn as Gfn).mfn === mfn) {
      changeP2m(hypervisor, domain, gfn as Gfn, 'hole', undefined);
      domain.labels.delete(gfn);
    }
    releaseFrame(hypervisor, domain, mfn);
  }
};
