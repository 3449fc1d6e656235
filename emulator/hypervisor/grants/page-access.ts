/**
 * How granted and transferred pages reach a domain, by its type: through the P2M that the hypervisor
 * keeps, or through the page tables of a PV guest.
 */
import type { XenVcpu } from '../domain.ts';
import type { Hypervisor } from '../hypervisor.ts';
import { directInstaller, directMover } from '../pv/mmu/grant-entries.ts';
import type { Installer } from './map.ts';
import { p2mInstaller, p2mMover } from './p2m-access.ts';
import type { PageMover } from './transfer.ts';

/** For a mapping at `address`; when it ends, what is at `replacement` takes its place, if not 0. */
export const installerOf = (
  hypervisor: Hypervisor,
  vcpu: XenVcpu,
  address: bigint,
  replacement = 0n,
): Installer => {
  if (vcpu.domain.type === 'pv') return directInstaller(hypervisor, vcpu, address, replacement);
  const installer = p2mInstaller(hypervisor, vcpu.domain, address);
  return replacement === 0n ? installer : { ...installer, remove: () => 'general_error' };
};

export const moverOf = (hypervisor: Hypervisor): PageMover => {
  const byP2m = p2mMover(hypervisor);
  return {
    take: (domain, gfn) =>
      (domain.type === 'pv' ? directMover(hypervisor) : byP2m).take(domain, gfn),
    give: (domain, gfn, mfn) =>
      (domain.type === 'pv' ? directMover(hypervisor) : byP2m).give(domain, gfn, mfn),
  };
};
