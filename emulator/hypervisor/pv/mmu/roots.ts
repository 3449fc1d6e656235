/**
 * The tables that a vCPU runs on: one for its kernel, one for its user programs. Each is an L4 that
 * is held as long as it is in use.
 */
import type { ErrorName } from '../../hypercalls/hypercall.ts';
import type { Mmu } from './mmu.ts';
import { L4_TABLE } from './page-types.ts';
import { dropTable, takeTable } from './tables.ts';
import { hideM2p, showM2p } from './xen-slots.ts';

export interface Roots {
  /** Frames of L4 tables; 0: none. */
  kernel: number;
  user: number;
}

/** new_guest_cr3: EINVAL, or what the table is refused for. */
export const setKernelRoot = (
  mmu: Mmu,
  roots: Roots,
  mfn: number,
  domain: number,
): ErrorName | undefined => {
  const old = roots.kernel;
  if (old === mfn) return undefined;
  const error = takeTable(mmu, mfn, L4_TABLE, domain);
  if (error !== undefined) return error;
  if (!mmu.hidesM2p(domain)) showM2p(mmu, mfn);
  roots.kernel = mfn;
  if (old !== 0) dropTable(mmu, old);
  return undefined;
};

/** MMUEXT_NEW_USER_BASEPTR; 0 is no table. */
export const setUserRoot = (
  mmu: Mmu,
  roots: Roots,
  mfn: number,
  domain: number,
): ErrorName | undefined => {
  const old = roots.user;
  if (old === mfn) return undefined;
  if (mfn !== 0) {
    const error = takeTable(mmu, mfn, L4_TABLE, domain);
    if (error !== undefined) return error;
    if (mmu.hidesM2p(domain)) hideM2p(mmu, mfn);
  }
  roots.user = mfn;
  if (old !== 0) dropTable(mmu, old);
  return undefined;
};

/** vcpu_destroy_pagetables. */
export const dropRoots = (mmu: Mmu, roots: Roots): void => {
  const { kernel, user } = roots;
  roots.kernel = 0;
  roots.user = 0;
  if (kernel !== 0) dropTable(mmu, kernel);
  if (user !== 0) dropTable(mmu, user);
};
