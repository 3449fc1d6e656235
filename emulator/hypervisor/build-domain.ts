/**
 * The domain builder: memory, program, start of day, vCPUs.
 */

import { WINDOW_BYTES } from '../cpu/state.ts';
import { type LoadedProgram, loadProgram, ProgramError } from '../loader/index.ts';
import { type DomainConfig, MachineConfigError } from '../machine.ts';
import { type Gfn, type Maddr, type Mfn, maddrOf } from '../memory/addresses.ts';
import { hostAddressOf } from '../memory/machine-memory.ts';
import { hasPageStates, type XenDomain, type XenVcpu } from './domain.ts';
import { FRAMES_PER_LARGE_PAGE, type Frames, OWNER_HYPERVISOR } from './frames.ts';
import { createGrantTable } from './grants/grant-table.ts';
import { type Hypervisor, writeGpa } from './hypervisor.ts';
import { addLocalApics } from './local-apics.ts';
import { unitsOf } from './memory/units.ts';
import { createP2m } from './p2m.ts';
import { checkPvProgram, fillPvDomain, preparePvVcpu } from './pv/build-pv-domain.ts';
import { directPagingOf } from './pv/mmu/direct-paging.ts';
import { createPerDomainArea } from './pv/per-domain.ts';
import { pvPartOf } from './pv/pv-domain.ts';
import { createPvVcpu } from './pv/pv-vcpu.ts';
import { createDomainShadow, createShadowedRegisters } from './shadow/domain-shadow.ts';
import { CONSOLE_GFN, layOut, XENSTORE_GFN } from './start-of-day.ts';
import { setUpVcpu } from './vcpu-setup.ts';

const DEFAULT_LOAD_ADDRESS = 0x10_0000;
export const MAXIMUM_VCPUS = 32;
/** HVM_PARAM_ numbers, Xen public/hvm/params.h. */
const STORE_PFN = 1;
const STORE_EVTCHN = 2;
const CONSOLE_PFN = 17;
const CONSOLE_EVTCHN = 18;

/** Builds a domain and adds it to the hypervisor's; throws MachineConfigError. */
export const buildDomain = (
  hypervisor: Hypervisor,
  id: number,
  config: DomainConfig,
  msrBitmap: Maddr,
): XenDomain => {
  checkConfig(config);
  const program = load(config);
  const type = config.type ?? (program.entry === undefined ? 'pv' : 'pvh');
  return type === 'pv'
    ? buildPv(hypervisor, id, config, program)
    : buildPvh(hypervisor, id, config, program, msrBitmap);
};

const buildPvh = (
  hypervisor: Hypervisor,
  id: number,
  config: DomainConfig,
  program: LoadedProgram,
  msrBitmap: Maddr,
): XenDomain => {
  const { hardware, frames } = hypervisor;
  const { pieces, entry, startInfo } = layOut(config, program);
  const p2m = createP2m(hardware.memory, frames);
  const isShadowed = config.hap === false;
  const shadow = isShadowed ? { shadow: createDomainShadow(hypervisor, id, config, p2m) } : {};
  const domain = newDomain(hypervisor, id, config, { type: 'pvh', p2m, program, ...shadow });
  domain.params.set(STORE_PFN, BigInt(XENSTORE_GFN));
  domain.params.set(CONSOLE_PFN, BigInt(CONSOLE_GFN));
  domain.labels.set(XENSTORE_GFN, 'xenstore ring');
  domain.labels.set(CONSOLE_GFN, 'console ring');
  p2m.absentPage = (gfn) => unitsOf(hypervisor).peek(domain, gfn);
  mapRam(hypervisor, domain, domain.pages);
  const rings = { store: hypervisorFrame(hypervisor), console: hypervisorFrame(hypervisor) };
  p2m.set(XENSTORE_GFN as Gfn, 'special', rings.store);
  p2m.set(CONSOLE_GFN as Gfn, 'special', rings.console);
  for (const { address, bytes } of pieces) {
    if (!writeGpa(hypervisor, domain, address, bytes)) throw shortOf(domain, 'its program');
  }
  hypervisor.domains.set(id, domain);
  for (let index = 0; index < (config.vcpus ?? 1); index += 1) {
    const guest = isShadowed ? { guest: createShadowedRegisters() } : {};
    const vmcs = maddrOf(hypervisorFrame(hypervisor));
    const vcpu = { ...createVcpu(domain, index, vmcs), ...guest };
    domain.vcpus.push(vcpu);
    writeVcpuTime(hypervisor, domain, index);
    hardware.prepareVmcs(vcpu);
    hardware.load(vcpu);
    setUpVcpu(hypervisor, vcpu, msrBitmap, entry, startInfo);
  }
  addLocalApics(hypervisor, domain);
  const ports = hypervisor.dom0?.openPorts(domain);
  if (ports === undefined) return domain;
  domain.params.set(STORE_EVTCHN, BigInt(ports.store));
  domain.params.set(CONSOLE_EVTCHN, BigInt(ports.console));
  const places = { ...rings, storeFrame: XENSTORE_GFN, consoleFrame: CONSOLE_GFN };
  hypervisor.dom0?.introduce(domain, places, ports);
  return domain;
};

const buildPv = (
  hypervisor: Hypervisor,
  id: number,
  config: DomainConfig,
  program: LoadedProgram,
): XenDomain => {
  const { hardware } = hypervisor;
  checkPvProgram(config, program);
  const vcpus = config.vcpus ?? 1;
  const area = createPerDomainArea(hardware.memory, vcpus, () => hypervisorFrame(hypervisor));
  const domain = newDomain(hypervisor, id, config, {
    type: 'pv',
    pv: { area, assists: new Set() },
    p2m: directPagingOf(hypervisor).createP2m(id),
    program,
  });
  hypervisor.domains.set(id, domain);
  for (let index = 0; index < vcpus; index += 1) {
    const vcpu = { ...createVcpu(domain, index, undefined), pv: createPvVcpu() };
    domain.vcpus.push(vcpu);
    writeVcpuTime(hypervisor, domain, index);
    hardware.load(vcpu);
    preparePvVcpu(hypervisor, vcpu);
  }
  const first = domain.vcpus[0];
  if (first !== undefined) hardware.load(first);
  hypervisor.parts.set(`pv ${id}`, pvPartOf(domain));
  const ports = hypervisor.dom0?.openPorts(domain);
  const rings = fillPvDomain(hypervisor, domain, area, ports ?? { store: 0, console: 0 });
  if (ports === undefined) return domain;
  const { store, console } = rings;
  const places = { store, storeFrame: store, console, consoleFrame: console };
  hypervisor.dom0?.introduce(domain, places, ports);
  return domain;
};

/** A domain without memory and vCPUs. */
export const newDomain = (
  hypervisor: Hypervisor,
  id: number,
  config: DomainConfig,
  given: Pick<XenDomain, 'type' | 'pv' | 'p2m' | 'shadow' | 'program'>,
): XenDomain => {
  const pages = config.memoryBytes / 4096;
  return {
    id,
    ...given,
    config,
    vcpus: [],
    sharedInfo: hypervisorFrame(hypervisor),
    sharedInfoGfn: undefined,
    callbackVector: 0,
    params: new Map(),
    channels: new Map(),
    grants: createGrantTable(),
    state: config.paused === true ? 'paused' : 'running',
    shutdownReason: undefined,
    explanation: undefined,
    pages,
    maximumPages: (config.maximumMemoryBytes ?? config.memoryBytes) / 4096,
    targetPages: pages,
    tableUpdates: 0,
    exitCounts: new Map(),
    hypercallCounts: new Map(),
    consoleText: '',
    labels: new Map(),
  };
};

const checkConfig = (config: DomainConfig): void => {
  const fail = (what: string): never => {
    throw new MachineConfigError(`Domain "${config.name}": ${what}`);
  };
  const vcpus = config.vcpus ?? 1;
  if (!Number.isInteger(vcpus) || vcpus < 1 || vcpus > MAXIMUM_VCPUS) {
    fail(`vcpus is ${vcpus}; 1 to ${MAXIMUM_VCPUS} were expected.`);
  }
  for (const bytes of [config.memoryBytes, config.maximumMemoryBytes ?? config.memoryBytes]) {
    if (!(bytes > 0) || bytes % 4096 !== 0 || bytes > 0xc000_0000) {
      fail(`memory of ${bytes} bytes is not a multiple of 4096 up to 3 GiB.`);
    }
  }
};

const load = (config: DomainConfig) => {
  try {
    return loadProgram(config.program, config.loadAddress ?? DEFAULT_LOAD_ADDRESS);
  } catch (error) {
    if (!(error instanceof ProgramError)) throw error;
    throw new MachineConfigError(
      `${config.programName ?? `The program of domain "${config.name}"`}: ${error.message}`,
    );
  }
};

/** A zeroed frame of the hypervisor's own. */
export const hypervisorFrame = ({ hardware, frames }: Hypervisor): Mfn => {
  const mfn = frames.allocate(OWNER_HYPERVISOR);
  if (mfn === undefined) throw new MachineConfigError('The machine has not enough memory.');
  const at = hostAddressOf(maddrOf(mfn));
  hardware.memory.bytes.fill(0, at, at + 4096);
  return mfn;
};

/** Pages of 1 GiB and 2 MiB where they are whole; the rest by single pages. */
const mapRam = (hypervisor: Hypervisor, domain: XenDomain, pages: number): void => {
  const { frames } = hypervisor;
  const units = unitsOf(hypervisor);
  if (units.balance.config !== undefined && hasPageStates(domain)) {
    if (!domain.p2m.setAbsent(0 as Gfn, pages, 'on-demand')) throw shortOf(domain, 'its P2M');
    units.counts.of(domain).onDemand = pages;
    return;
  }
  for (let gfn = 0; gfn < pages; ) {
    const taken = takeRam(frames, domain, gfn, pages - gfn);
    if (taken === undefined) throw shortOf(domain, `RAM: ${gfn} of ${pages} pages are there`);
    gfn += taken;
  }
};

const shortOf = ({ config }: XenDomain, what: string): MachineConfigError =>
  new MachineConfigError(`The machine has not enough memory for domain "${config.name}": ${what}.`);

/** Maps the largest page that fits at a gfn; its size, or undefined if no frame is left. */
const takeRam = (
  frames: Frames,
  { id, p2m }: XenDomain,
  gfn: number,
  room: number,
): number | undefined => {
  for (const pages of [FRAMES_PER_LARGE_PAGE ** 2, FRAMES_PER_LARGE_PAGE, 1]) {
    const fits = gfn % pages === 0 && pages <= room;
    const mfn = fits ? frames.allocate(id, pages) : undefined;
    if (mfn === undefined) continue;
    const isMapped =
      pages === 1 ? p2m.set(gfn as Gfn, 'ram', mfn) : p2m.setLarge(gfn as Gfn, mfn, pages);
    if (isMapped) return pages;
    frames.release(mfn, pages);
  }
  return undefined;
};

export const createVcpu = (domain: XenDomain, id: number, vmcs: Maddr | undefined): XenVcpu => ({
  id,
  domain,
  vmcs,
  window: new Uint8Array(WINDOW_BYTES),
  state: id === 0 ? 'runnable' : 'offline',
  clockNs: 0,
  retired: 0,
  exits: 0,
  timerNs: undefined,
  upcallVector: 0,
  infoMaddr: undefined,
  pcpu: undefined,
});

/** vcpu_time_info: one tick is one nanosecond, from power-on. */
const writeVcpuTime = ({ hardware }: Hypervisor, domain: XenDomain, vcpu: number): void => {
  const at = hostAddressOf(maddrOf(domain.sharedInfo)) + vcpu * 64 + 32;
  hardware.memory.view.setUint32(at, 2, true);
  hardware.memory.view.setUint32(at + 24, 0x8000_0000, true);
  hardware.memory.view.setInt8(at + 28, 1);
  hardware.memory.view.setUint8(at + 29, 1);
};
