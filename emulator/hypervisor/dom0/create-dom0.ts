/**
 * Domain 0: the domain that starts first, with the toolstack and the backends that serve the others.
 * It has memory, a vCPU, event channels and a grant table as every domain; what it does is TypeScript
 * in place of guest code, takes no simulated time, and happens when an event comes for it.
 */

import type { LoadedProgram } from '../../loader/index.ts';
import { MachineConfigError } from '../../machine.ts';
import type { Gfn, Mfn } from '../../memory/addresses.ts';
import { createVcpu, newDomain } from '../build-domain.ts';
import type { XenDomain } from '../domain.ts';
import { FRAMES_PER_LARGE_PAGE } from '../frames.ts';
import { growTable } from '../grants/grant-table.ts';
import type { Hypervisor } from '../hypervisor.ts';
import { createP2m } from '../p2m.ts';

export const DOM0_NAME = 'Domain-0';
/** dom0_mem: what backends on real Xen need, they have here in the emulator's own memory. */
export const DOM0_BYTES = 4 << 20;
const PAGES = DOM0_BYTES / 4096;

const NO_PROGRAM: LoadedProgram = {
  format: 'flat',
  segments: [],
  entry: undefined,
  pv: undefined,
  symbols: [],
  lines: [],
  notes: [],
};

/** Builds domain 0 and adds it to the hypervisor's; throws MachineConfigError. */
export const createDom0Domain = (hypervisor: Hypervisor): XenDomain => {
  const { hardware, frames } = hypervisor;
  const p2m = createP2m(hardware.memory, frames);
  const config = { name: DOM0_NAME, program: new Uint8Array(), memoryBytes: DOM0_BYTES };
  const domain = newDomain(hypervisor, 0, config, { type: 'pv', p2m, program: NO_PROGRAM });
  domain.vcpus.push({ ...createVcpu(domain, 0, undefined), state: 'blocked' });
  for (let gfn = 0; gfn < PAGES; gfn += FRAMES_PER_LARGE_PAGE) {
    const mfn: Mfn | undefined = frames.allocate(0, FRAMES_PER_LARGE_PAGE);
    if (mfn === undefined)
      throw new MachineConfigError('The machine has not enough memory for domain 0.');
    p2m.setLarge(gfn as Gfn, mfn);
  }
  growTable(hypervisor, domain, 1);
  hypervisor.domains.set(0, domain);
  return domain;
};
