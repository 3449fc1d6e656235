/**
 * For tests: a machine without a processor, and PV domains of bare frames. The frames of a domain
 * are not in a row, and none has its own number.
 */
import { WINDOW_BYTES } from '../../../cpu/state.ts';
import { EventStream } from '../../../events.ts';
import type { Mfn } from '../../../memory/addresses.ts';
import { createMachineMemory } from '../../../memory/machine-memory.ts';
import { hypervisorFrame } from '../../build-domain.ts';
import { createHypervisor } from '../../create-hypervisor.ts';
import type { XenDomain, XenVcpu } from '../../domain.ts';
import { createGrantTable } from '../../grants/grant-table.ts';
import type { Hypervisor } from '../../hypervisor.ts';
import { createVmxHardware } from '../../vmx-hardware.ts';
import { dropGdt, dropLdtPages, setLdt } from '../descriptor-tables.ts';
import { createPerDomainArea } from '../per-domain.ts';
import { createPvVcpu } from '../pv-vcpu.ts';
import { type DirectPaging, directPagingOf } from './direct-paging.ts';
import { wordOf } from './mmu.ts';

export interface TestDomain {
  readonly domain: XenDomain;
  readonly vcpu: XenVcpu;
  /** Its frames, by guest frame number. */
  readonly mfns: Mfn[];
}

export interface TestMachine {
  readonly hypervisor: Hypervisor;
  readonly paging: DirectPaging;
  addDomain(id: number, pages: number): TestDomain;
  read(mfn: number, slot: number): bigint;
  write(mfn: number, slot: number, value: bigint): void;
}

export const createTestMachine = (ramBytes = 8 << 20): TestMachine => {
  const memory = createMachineMemory(ramBytes);
  const hardware = createVmxHardware(memory, {
    enter: () => undefined,
    resume: () => {},
    trap: undefined,
    run: () => 'budget',
    step: () => 'budget',
    retired: 0,
    setTsc: () => {},
    invalidateTranslations: () => {},
    noteWrite: () => {},
    setBreakpoints: () => {},
    windowChanged: () => {},
  });
  const hypervisor = createHypervisor(hardware, new EventStream());
  const paging = directPagingOf(hypervisor);
  return {
    hypervisor,
    paging,
    addDomain(id, pages) {
      const mfns: Mfn[] = [];
      const p2m = paging.createP2m(id);
      for (let gfn = 0; gfn < pages; gfn += 1) {
        const mfn = hypervisor.frames.allocate(id);
        if (mfn === undefined) throw new Error('The test machine is too small.');
        mfns.push(mfn);
      }
      mfns.reverse();
      for (const [gfn, mfn] of mfns.entries()) p2m.set(gfn as never, 'ram', mfn);
      const area = createPerDomainArea(memory, 1, () => hypervisorFrame(hypervisor));
      const domain = { ...bareDomain(id, pages, p2m), pv: { area, assists: new Set<number>() } };
      const vcpu = { ...bareVcpu(domain), pv: createPvVcpu() };
      domain.vcpus.push(vcpu);
      hypervisor.domains.set(id, domain);
      paging.addDomain(domain, {
        perDomainTable: area.root,
        setLdt: (whose, base, entries) => setLdt(hypervisor, whose, base, entries),
        forgetLdt: (whose) => dropLdtPages(hypervisor, whose),
        relinquish: () => {
          dropGdt(hypervisor, vcpu);
          dropLdtPages(hypervisor, vcpu);
        },
      });
      return { domain, vcpu, mfns };
    },
    read: (mfn, slot) => memory.quads[wordOf(mfn, slot) >>> 1] ?? 0n,
    write(mfn, slot, value) {
      memory.quads[wordOf(mfn, slot) >>> 1] = value;
    },
  };
};

const bareDomain = (id: number, pages: number, p2m: XenDomain['p2m']): XenDomain => ({
  id,
  type: 'pv',
  config: { name: `test${id}`, type: 'pv', program: new Uint8Array(), memoryBytes: pages * 4096 },
  p2m,
  program: { entry: 0, startAddress: 0, pieces: [], symbols: [], lines: [], notes: [] } as never,
  vcpus: [],
  sharedInfo: 0 as Mfn,
  sharedInfoGfn: undefined,
  callbackVector: 0,
  tableUpdates: 0,
  params: new Map(),
  channels: new Map(),
  grants: createGrantTable(),
  state: 'running',
  shutdownReason: undefined,
  explanation: undefined,
  pages,
  maximumPages: pages,
  targetPages: pages,
  exitCounts: new Map(),
  hypercallCounts: new Map(),
  consoleText: '',
  labels: new Map(),
});

const bareVcpu = (domain: XenDomain): XenVcpu => ({
  id: 0,
  domain,
  vmcs: undefined,
  window: new Uint8Array(WINDOW_BYTES),
  state: 'runnable',
  clockNs: 0,
  retired: 0,
  exits: 0,
  timerNs: undefined,
  upcallVector: 0,
  infoMaddr: undefined,
  pcpu: undefined,
});
