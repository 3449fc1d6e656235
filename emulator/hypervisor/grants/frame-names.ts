/**
 * What a domain calls a frame of its grant table.
 */
import type { Mfn } from '../../memory/addresses.ts';
import type { XenDomain } from '../domain.ts';
import { NO_GFN } from '../frames.ts';
import type { Hypervisor } from '../hypervisor.ts';

/** INVALID_GFN: the frame is not in the P2M. */
const INVALID_GFN = 0xffff_ffff_ffff_ffffn;

/** The machine frame for a PV domain; for others the guest frame where it has been put. */
export const nameOfFrame = (
  { frames }: Hypervisor,
  { type }: XenDomain,
  mfn: Mfn | undefined,
): bigint => {
  if (mfn === undefined) return INVALID_GFN;
  if (type === 'pv') return BigInt(mfn);
  const gfn = frames.gfns[mfn] ?? NO_GFN;
  return gfn === NO_GFN ? INVALID_GFN : BigInt(gfn);
};
