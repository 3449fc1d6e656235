/**
 * How granted and transferred pages come into a domain whose P2M the hypervisor keeps, and leave it.
 */
import type { Gfn, Mfn } from '../../memory/addresses.ts';
import type { XenDomain } from '../domain.ts';
import { NO_GFN } from '../frames.ts';
import { endDomain, type Hypervisor } from '../hypervisor.ts';
import { EPT_READ, EPT_WRITE, MAXIMUM_GFN } from '../p2m.ts';
import { changeP2m, vcpuFor } from '../p2m-changes.ts';
import { GNTMAP, type Installer } from './map.ts';
import type { GrantStatus } from './status.ts';
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
      if (user.p2m.lookup(gfn).type === 'grant') return crash(hypervisor, user, gfn);
      if (!leave(hypervisor, user, mfn)) return 'general_error';
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

/** A page of the domain's own has one place: it leaves the one where it was. */
const leave = (hypervisor: Hypervisor, user: XenDomain, mfn: Mfn): boolean => {
  const { owners, gfns } = hypervisor.frames;
  const gfn = (gfns[mfn] ?? NO_GFN) as Gfn;
  if (owners[mfn] !== user.id || gfn === NO_GFN || user.p2m.lookup(gfn).mfn !== mfn) return true;
  return changeP2m(hypervisor, user, gfn, 'hole', undefined);
};

/** A mapping in the place of another one would leave that uncounted. */
const crash = (hypervisor: Hypervisor, user: XenDomain, gfn: Gfn): GrantStatus => {
  const vcpu = vcpuFor(hypervisor, user);
  const words = `Domain ${user.id} maps a grant at gfn 0x${gfn.toString(16)}, where another is mapped.`;
  if (vcpu !== undefined) endDomain(hypervisor, vcpu, 'crash', words);
  return 'general_error';
};

/** A domain whose P2M the hypervisor keeps gets pages, and cannot give any away. */
export const p2mMover = (hypervisor: Hypervisor): PageMover => ({
  take: () => 'general_error',
  give(domain, gfn, mfn) {
    hypervisor.frames.give(mfn, domain.id);
    domain.pages += 1;
    return changeP2m(hypervisor, domain, gfn as Gfn, 'ram', mfn);
  },
});
