/**
 * A domain's memory target, which its balloon driver follows.
 */
import type { XenDomain } from './domain.ts';
import type { Hypervisor } from './hypervisor.ts';

/** Sets how many pages a domain should have; its balloon reads memory/target. */
export const setMemoryTarget = (
  _hypervisor: Hypervisor,
  domain: XenDomain,
  pages: number,
): void => {
  domain.targetPages = pages;
};
