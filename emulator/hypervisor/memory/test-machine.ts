/** For tests: a hypervisor with domains that do not run, and their memory as a guest has it. */
import { EventStream } from '../../events.ts';
import type { DomainConfig, MachineConfig } from '../../machine.ts';
import { type Gfn, gpaOf } from '../../memory/addresses.ts';
import { createMachineMemory, hostAddressOf } from '../../memory/machine-memory.ts';
import { buildDomain } from '../build-domain.ts';
import { createHypervisor } from '../create-hypervisor.ts';
import type { XenDomain } from '../domain.ts';
import { OWNER_FREE, OWNER_SHARED } from '../frames.ts';
import { type Hypervisor, touchGpa, writeMaddr } from '../hypervisor.ts';
import { createMsrBitmap } from '../vcpu-setup.ts';
import { createVmxHardware } from '../vmx-hardware.ts';
import { configureUnits, type MemoryUnits } from './units.ts';

const PAGE = 4096;

export interface TestMachine {
  readonly hypervisor: Hypervisor;
  readonly domains: readonly XenDomain[];
  readonly units: MemoryUnits;
}

export const buildTestMachine = (
  ramBytes: number,
  domainBytes: readonly number[],
  config: Omit<MachineConfig, 'domains'> = {},
): TestMachine => {
  const memory = createMachineMemory(ramBytes);
  const hardware = createVmxHardware(memory, {
    enter: () => undefined,
    run: () => 'budget',
    step: () => 'budget',
    retired: 0,
    setTsc: () => {},
    invalidateTranslations: () => {},
    noteWrite: () => {},
    setBreakpoints: () => {},
    windowChanged: () => {},
  });
  const hypervisor = createHypervisor(hardware, new EventStream(), undefined);
  const configs: DomainConfig[] = domainBytes.map((memoryBytes, index) => ({
    name: `test${index}`,
    program: Uint8Array.of(0xf4, 0, 0, 0),
    memoryBytes,
  }));
  const units = configureUnits(hypervisor, { ...config, domains: configs });
  const bitmap = createMsrBitmap(hardware, hypervisor.frames);
  const domains = configs.map((one, index) => buildDomain(hypervisor, index + 1, one, bitmap));
  return { hypervisor, domains, units };
};

/** Writes the same number all over a page, as its guest would; false if there is no frame. */
export const fillPage = (
  { hypervisor }: TestMachine,
  domain: XenDomain,
  gfn: number,
  value: number,
): boolean => {
  const maddr = touchGpa(hypervisor, domain, gpaOf(gfn as Gfn), 'write');
  if (maddr === undefined) return false;
  writeMaddr(hypervisor, maddr, new Uint8Array(new Uint32Array(PAGE / 4).fill(value).buffer));
  return true;
};

const numberIn = (page: Uint8Array): number | string => {
  const view = new DataView(page.buffer, page.byteOffset, PAGE);
  const first = view.getUint32(0, true);
  for (let at = 4; at < PAGE; at += 4) if (view.getUint32(at, true) !== first) return 'mixed';
  return first;
};

/** The number all over a page, brought in if need be; undefined if there is no memory. */
export const readPage = (
  { hypervisor }: TestMachine,
  domain: XenDomain,
  gfn: number,
): number | string | undefined => {
  const maddr = touchGpa(hypervisor, domain, gpaOf(gfn as Gfn), 'read');
  if (maddr === undefined) return undefined;
  const host = hostAddressOf(maddr);
  return numberIn(hypervisor.hardware.memory.bytes.subarray(host, host + PAGE));
};

/** The same, without a touch. */
export const peekPage = (
  { hypervisor }: TestMachine,
  { p2m }: XenDomain,
  gfn: number,
): number | string | undefined => {
  const mfn = p2m.mfnOf(gfn as Gfn);
  const away = mfn === undefined ? p2m.absentPage(gfn as Gfn) : undefined;
  if (away !== undefined) return numberIn(away);
  if (mfn === undefined) return undefined;
  const host = hostAddressOf((mfn * PAGE) as Parameters<typeof hostAddressOf>[0]);
  return numberIn(hypervisor.hardware.memory.bytes.subarray(host, host + PAGE));
};

/** What is wrong with owners, P2Ms, the machine-to-physical map and the counts; nothing if all fits. */
export const contradictions = ({ hypervisor, domains, units }: TestMachine): string[] => {
  const { frames } = hypervisor;
  const found: string[] = [];
  const uses = new Map<number, number>();
  for (const domain of domains) {
    const counted = { shared: 0, paged: 0, 'on-demand': 0 };
    let pages = 0;
    domain.p2m.eachRun((first, count, type, mfn) => {
      if (type === 'shared' || type === 'paged' || type === 'on-demand') counted[type] += count;
      if (type !== 'special' && type !== 'ballooned') pages += count;
      if (mfn === undefined || type === 'special') return;
      for (let index = 0; index < count; index += 1) {
        const frame = type === 'shared' ? mfn : mfn + index;
        uses.set(frame, (uses.get(frame) ?? 0) + 1);
        const owner = type === 'shared' ? OWNER_SHARED : domain.id;
        if (frames.owners[frame] !== owner) found.push(`frame ${frame} of gfn ${first + index}`);
        if (type !== 'shared' && frames.gfns[frame] !== first + index) {
          found.push(`frame ${frame} is at gfn ${frames.gfns[frame]}, not ${first + index}`);
        }
      }
    });
    const { shared, paged, onDemand } = units.counts.of(domain);
    if (pages !== domain.pages) found.push(`domain ${domain.id} has ${pages} pages`);
    if (shared !== counted.shared) found.push(`${counted.shared} pages are shared, not ${shared}`);
    if (paged !== counted.paged) found.push(`${counted.paged} pages are paged, not ${paged}`);
    if (onDemand !== counted['on-demand']) found.push(`${counted['on-demand']} are on demand`);
  }
  let free = 0;
  for (const [frame, owner] of frames.owners.entries()) {
    const used = uses.get(frame) ?? 0;
    if (owner === OWNER_FREE) free += 1;
    const isGuests = owner === OWNER_SHARED || domains.some(({ id }) => id === owner);
    const expected = owner === OWNER_SHARED ? units.sharing.references(frame as never) : 1;
    if (isGuests && used !== expected) found.push(`frame ${frame}: ${used} uses, not ${expected}`);
    if (!isGuests && used > 0) found.push(`frame ${frame} is used, but owned by ${owner}`);
  }
  if (free !== frames.free) found.push(`${free} frames are free, not ${frames.free}`);
  const paged = domains.reduce((sum, domain) => sum + units.counts.of(domain).paged, 0);
  if (paged !== units.swap.slots.used) found.push(`${units.swap.slots.used} slots, ${paged} pages`);
  return found;
};
