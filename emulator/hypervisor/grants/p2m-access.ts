/**
 * How granted and transferred pages come into a domain whose P2M the hypervisor keeps, and leave it.
 */
import type { Gfn } from '../../memory/addresses.ts';
import type { XenDomain } from '../domain.ts';
import { OWNER_HYPERVISOR } from '../frames.ts';
import type { Hypervisor } from '../hypervisor.ts';
import { isRam, unitsOf } from '../memory/units.ts';
import { EPT_READ, EPT_WRITE, MAXIMUM_GFN } from '../p2m.ts';
import { changeP2m } from '../p2m-changes.ts';
import { GNTMAP, type Installer } from './map.ts';
import type { PageMover } from './transfer.ts';

/**
 * The page comes to the guest frame of an address, whatever was there; RAM that was there stays the
 * domain's, but nobody can reach it any more, as on Xen.
 */
export const p2mInstaller = (
  hypervisor: Hypervisor,
  user: XenDomain,
  hostAddress: bigint,
): Installer => {
  const gfn = Number(hostAddress >> 12n) as Gfn;
  return {
    install(mfn, flags) {
      if ((flags & ~GNTMAP.readOnly) !== GNTMAP.host || gfn >= MAXIMUM_GFN) return 'general_error';
      const access = (flags & GNTMAP.readOnly) === 0 ? EPT_READ | EPT_WRITE : EPT_READ;
      const isDone = changeP2m(hypervisor, user, gfn, 'grant', mfn, access);
      return isDone ? 'okay' : 'general_error';
    },
    remove(mfn) {
      const entry = user.p2m.lookup(gfn);
      if (entry.type !== 'grant' || entry.mfn !== mfn) return 'general_error';
      return changeP2m(hypervisor, user, gfn, 'hole', undefined) ? 'okay' : 'general_error';
    },
  };
};

export const p2mMover = (hypervisor: Hypervisor): PageMover => ({
  take(domain, gfn) {
    if (isRam(domain.p2m.lookup(gfn as Gfn).type)) {
      unitsOf(hypervisor).prepare(domain, gfn as Gfn, 'write');
    }
    const { type, mfn } = domain.p2m.lookup(gfn as Gfn);
    if (mfn === undefined || type === 'grant' || type === 'shared') return 'bad_page';
    // A page of the hypervisor's, or one that others use, cannot be taken.
    if (hypervisor.frames.owners[mfn] !== domain.id) return 'bad_page';
    if (hypervisor.frames.isHeld(mfn)) return 'general_error';
    if (!changeP2m(hypervisor, domain, gfn as Gfn, 'hole', undefined)) return 'general_error';
    hypervisor.frames.give(mfn, OWNER_HYPERVISOR);
    domain.pages -= 1;
    return mfn;
  },
  give(domain, gfn, mfn) {
    hypervisor.frames.give(mfn, domain.id);
    domain.pages += 1;
    return changeP2m(hypervisor, domain, gfn as Gfn, 'ram', mfn);
  },
});
