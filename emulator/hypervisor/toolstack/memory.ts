/**
 * The memory of a domain: the target that its balloon driver follows, and the most it may have. The
 * only signal to the guest is the watch on memory/target.
 * Source: Xen tools/libs/light/libxl_mem.c.
 */

import { vmPath } from '../dom0/domain-entries.ts';
import type { XenDomain } from '../domain.ts';
import type { Hypervisor } from '../hypervisor.ts';
import { writeNode } from '../xenstore/nodes.ts';
import { domainPath } from '../xenstore/paths.ts';
import { done, failed, forDomain, MIB, memoryBytes } from './verb.ts';

const KIB_PER_PAGE = 4;

/** A number of xenstore, in KiB. */
const readKib = ({ dom0 }: Hypervisor, { id }: XenDomain, name: string): number =>
  Number(dom0?.xenstore.view.get(`${domainPath(id)}/memory/${name}`)?.value ?? 0);

/** libxl_set_memory_target: false if it is above static-max. */
export const setMemoryTarget = (
  hypervisor: Hypervisor,
  domain: XenDomain,
  pages: number,
): boolean => {
  if (pages * KIB_PER_PAGE > readKib(hypervisor, domain, 'static-max')) return false;
  const target = pages * KIB_PER_PAGE - readKib(hypervisor, domain, 'videoram');
  hypervisor.dom0?.xenstore.asTools((client) => {
    writeNode(client, `${domainPath(domain.id)}/memory/target`, `${target}`);
    writeNode(client, `${vmPath(domain.id)}/memory`, `${Math.floor((pages * 4096) / MIB)}`);
  });
  domain.targetPages = pages;
  hypervisor.dom0?.deliver();
  return true;
};

export const memSet = forDomain(
  'mem-set <domain> <MemorySize>',
  "Set the current memory usage for a domain; the guest's balloon follows",
  (hypervisor, domain, [size]) => {
    const bytes = memoryBytes(size);
    if (bytes === undefined || bytes === 0) return failed(`invalid memory size: ${size ?? ''}`);
    if (setMemoryTarget(hypervisor, domain, Math.floor(bytes / 4096))) return done();
    const most = readKib(hypervisor, domain, 'static-max') / 1024;
    return failed(
      `memory_dynamic_max must be less than or equal to memory_static_max: domain "${domain.config.name}" may have ${most} MiB`,
    );
  },
);

export const memMax = forDomain(
  'mem-max <domain> <MemorySize>',
  'Set the maximum amount reservation for a domain',
  (hypervisor, domain, [size]) => {
    const bytes = memoryBytes(size);
    if (bytes === undefined || bytes === 0) return failed(`invalid memory size: ${size ?? ''}`);
    if (bytes / 1024 < readKib(hypervisor, domain, 'target')) {
      return failed('memory_static_max must be greater than or or equal to memory_dynamic_max');
    }
    domain.maximumPages = Math.floor(bytes / 4096);
    return done();
  },
);
