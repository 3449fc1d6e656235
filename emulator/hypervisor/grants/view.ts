/**
 * A grant table as the door shows it.
 */
import type { GrantView } from '../../machine.ts';
import type { XenDomain } from '../domain.ts';
import type { Hypervisor } from '../hypervisor.ts';
import {
  entriesOf,
  flagsOf,
  frameOfEntry,
  GTF,
  granteeOf,
  pinsOf,
  readStatus,
} from './grant-table.ts';

export const viewGrants = (hypervisor: Hypervisor, { grants }: XenDomain): GrantView[] => {
  const found: GrantView[] = [];
  for (let reference = 0; reference < entriesOf(grants); reference += 1) {
    const flags = flagsOf(hypervisor, grants, reference);
    if ((flags & GTF.typeMask) === GTF.invalid) continue;
    const entry = grants.active.get(reference);
    found.push({
      reference,
      kind: kindOf(flags),
      grantee: granteeOf(hypervisor, grants, reference),
      frame: frameOfEntry(hypervisor, grants, reference),
      marks: marksOf(flags, readStatus(hypervisor, grants, reference)),
      uses: entry === undefined ? 0 : pinsOf(entry),
    });
  }
  return found;
};

const kindOf = (flags: number): string => {
  switch (flags & GTF.typeMask) {
    case GTF.acceptTransfer:
      return 'place for a page at';
    case GTF.transitive:
      return 'grant of another domain';
    default:
      return (flags & GTF.subPage) === 0 ? 'frame' : 'part of frame';
  }
};

const marksOf = (flags: number, status: number): string[] => {
  if ((flags & GTF.typeMask) === GTF.acceptTransfer) {
    return (flags & GTF.transferCompleted) === 0 ? [] : ['transferred'];
  }
  const marks: readonly (readonly [boolean, string])[] = [
    [(flags & GTF.readOnly) !== 0, 'read-only'],
    [(status & GTF.reading) !== 0, 'being read'],
    [(status & GTF.writing) !== 0, 'being written'],
  ];
  return marks.filter(([isSet]) => isSet).map(([, mark]) => mark);
};
