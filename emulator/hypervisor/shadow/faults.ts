/**
 * A page fault under shadow paging: whether it is the guest's, and if not, what the shadow lacks.
 */
import { type Gpa, gfnOf } from '../../memory/addresses.ts';
import type { MachineMemory } from '../../memory/machine-memory.ts';
import { EPT_EXECUTE, EPT_READ, EPT_WRITE, type P2m, type P2mType } from '../p2m.ts';
import type { GuestPaging } from './guest-paging.ts';
import {
  causeOf,
  ERROR_FETCH,
  ERROR_PRESENT,
  ERROR_USER,
  ERROR_WRITE,
  type GuestAccess,
  type GuestTranslation,
  walkGuestTables,
} from './guest-tables.ts';

export interface ShadowFault {
  /** See linearNumber() in cpu/paging.ts. */
  readonly linear: number;
  /** The processor's; the shadow has 64-bit entries and execute-disable, so that all bits are told. */
  readonly errorCode: number;
  readonly access: GuestAccess;
}

export type ShadowDiagnosis =
  | { readonly kind: 'guest'; readonly errorCode: number }
  | {
      /** As in ShadowFaultEvent. */
      readonly kind: 'fill' | 'sync' | 'override' | 'p2m';
      readonly translation: GuestTranslation;
      readonly gpa: Gpa;
      readonly p2mType: P2mType;
    };

/** `alignmentCheck` is RFLAGS.AC. */
export const shadowFaultOf = (
  linear: number,
  errorCode: number,
  alignmentCheck: boolean,
): ShadowFault => ({
  linear,
  errorCode,
  access: {
    write: (errorCode & ERROR_WRITE) !== 0,
    execute: (errorCode & ERROR_FETCH) !== 0,
    user: (errorCode & ERROR_USER) !== 0,
    alignmentCheck,
  },
});

/** Finds out what a fault is; changes nothing. */
export const diagnose = (
  memory: MachineMemory,
  p2m: P2m,
  paging: GuestPaging,
  isTable: (gfn: number) => boolean,
  { linear, access }: ShadowFault,
): ShadowDiagnosis => {
  const translation = walkGuestTables(memory, p2m, paging, linear, access);
  if ('errorCode' in translation) return { kind: 'guest', errorCode: translation.errorCode };
  const gpa = translation.gpa as Gpa;
  const gfn = gfnOf(gpa);
  const { type, access: allowed } = p2m.lookup(gfn);
  const common = { translation, gpa, p2mType: type };
  const wanted = access.execute ? EPT_EXECUTE : access.write ? EPT_READ | EPT_WRITE : EPT_READ;
  if ((allowed & wanted) !== wanted) return { kind: 'p2m', ...common };
  if (access.write && isTable(gfn)) return { kind: 'sync', ...common };
  if (access.write && !translation.isWritable) return { kind: 'override', ...common };
  return { kind: 'fill', ...common };
};

/**
 * Whether the processor has refused what the shadow allows in full. SMAP can do that: an access of
 * the processor's own to its tables heeds no RFLAGS.AC, and only the processor knows of those.
 */
export const isRefused = ({ errorCode }: ShadowFault, hasChanged: boolean): boolean =>
  !hasChanged && (errorCode & ERROR_PRESENT) !== 0;

/** The error code that the guest gets for a fault that is refused. */
export const refusalCode = (paging: GuestPaging, { access }: ShadowFault): number =>
  causeOf(paging, access) | ERROR_PRESENT;
