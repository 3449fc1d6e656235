/**
 * A hypervisor without a processor, and on it domain 0, hostile guests of each kind (PVH with EPT and
 * with shadow paging, PV) and a bystander. A guest that is dead is destroyed, and another is built.
 */
import { CODE_WIDTH } from '../../emulator/cpu/state.ts';
import { EventStream } from '../../emulator/events.ts';
import { buildDomain } from '../../emulator/hypervisor/build-domain.ts';
import { createHypervisor } from '../../emulator/hypervisor/create-hypervisor.ts';
import { createDom0 } from '../../emulator/hypervisor/dom0/dom0.ts';
import type { XenDomain, XenVcpu } from '../../emulator/hypervisor/domain.ts';
import { writeControl } from '../../emulator/hypervisor/guest-control.ts';
import { type Hypervisor, writeGpa } from '../../emulator/hypervisor/hypervisor.ts';
import { directPagingOf } from '../../emulator/hypervisor/pv/mmu/direct-paging.ts';
import { runXl } from '../../emulator/hypervisor/toolstack.ts';
import { createMsrBitmap } from '../../emulator/hypervisor/vcpu-setup.ts';
import { createVmxHardware } from '../../emulator/hypervisor/vmx-hardware.ts';
import type { DomainConfig } from '../../emulator/machine.ts';
import { type Mfn, maddrOf, mfnOf } from '../../emulator/memory/addresses.ts';
import { createMachineMemory, hostAddressOf } from '../../emulator/memory/machine-memory.ts';

const MIB = 1 << 20;
const RAM_BYTES = 32 * MIB;
const VCPUS = 2;
export const KINDS = ['pvh', 'shadow', 'pv'] as const;
export type GuestKind = (typeof KINDS)[number];

/** Where the PV guest's pseudo-physical frame 0 is mapped. */
export const VIRTUAL_BASE = 0xffff_ffff_8000_0000n;

export interface HostileGuest {
  readonly kind: GuestKind;
  readonly domain: XenDomain;
  /** The first L4 table of a PV guest. */
  readonly root: number;
  /** Its xenstore and console rings. */
  readonly rings: readonly Mfn[];
}

export interface HostileMachine {
  readonly hypervisor: Hypervisor;
  readonly guests: readonly HostileGuest[];
  readonly bystander: XenDomain;
  /** Destroys a guest and builds another in its place. */
  replace(guest: HostileGuest): void;
  /** Destroys a guest. */
  destroy(guest: HostileGuest): void;
}

export const createHostileMachine = (events = new EventStream()): HostileMachine => {
  const memory = createMachineMemory(RAM_BYTES);
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
    // Selectors of Xen's flat segments, as it were.
    loadSegment: (_segment, selector) => selector >= 0xe000,
  });
  const hypervisor = createHypervisor(hardware, events);
  hypervisor.nowNs = 1000;
  const bitmap = createMsrBitmap(hardware, hypervisor.frames);
  createDom0(hypervisor);
  let nextId = 1;
  const build = (config: Omit<DomainConfig, 'name'>): XenDomain => {
    const id = nextId;
    nextId += 1;
    return buildDomain(hypervisor, id, { name: `domain${id}`, ...config }, bitmap);
  };
  const bystander = build({ program: new Uint8Array(16), memoryBytes: 2 * MIB });
  scribble(hypervisor, bystander);
  const buildGuest = (kind: GuestKind): HostileGuest => {
    const domain = build(CONFIGS[kind]);
    const ringsOf = hypervisor.dom0?.domain.grants.mappings ?? new Map();
    const rings: Mfn[] = [];
    for (const { domain: of, reference } of ringsOf.values()) {
      const mfn = of === domain.id ? domain.grants.active.get(reference)?.mfn : undefined;
      if (mfn !== undefined) rings.push(mfn);
    }
    const [first, second] = domain.vcpus;
    const root = kind === 'pv' && first ? directPagingOf(hypervisor).roots(first).kernel : 0;
    for (const vcpu of domain.vcpus) {
      if (kind === 'pv') hardware.setSlot(vcpu, CODE_WIDTH, 64n);
    }
    if (kind !== 'pv' && second !== undefined) enterLongMode(hypervisor, second);
    return { kind, domain, root, rings };
  };
  const guests = KINDS.map(buildGuest);
  const destroy = ({ domain }: HostileGuest): void => {
    const { ok, text } = runXl(hypervisor, `destroy ${domain.id}`);
    if (!ok) throw new Error(text);
  };
  return {
    hypervisor,
    guests,
    bystander,
    destroy,
    replace(guest) {
      destroy(guest);
      guests[guests.indexOf(guest)] = buildGuest(guest.kind);
    },
  };
};

/** Tables of a guest in long mode that map its first 2 GiB as they are. */
const TABLES = 0x3_0000;
const CR0 = 0x8000_0031n;
const CR4_PAE = 0x20n;
const EFER_LONG = 0x500n;

/** Makes a vCPU of a PVH domain one that runs 64-bit code with paging. */
export const enterLongMode = (hypervisor: Hypervisor, vcpu: XenVcpu): boolean => {
  const { hardware } = hypervisor;
  const table = (...entries: readonly number[]): Uint8Array => {
    const bytes = new Uint8Array(16);
    entries.forEach((entry, index) => {
      new DataView(bytes.buffer).setBigUint64(index * 8, BigInt(entry), true);
    });
    return bytes;
  };
  const isWritten =
    writeGpa(hypervisor, vcpu.domain, TABLES, table(TABLES + 0x1007)) &&
    writeGpa(hypervisor, vcpu.domain, TABLES + 0x1000, table(0x87, 0x4000_0087));
  if (!isWritten) return false;
  hardware.load(vcpu);
  hardware.setSlot(vcpu, CODE_WIDTH, 64n);
  writeControl(hypervisor, vcpu, {
    cr0: CR0,
    cr3: BigInt(TABLES),
    cr4: CR4_PAE,
    efer: EFER_LONG,
  });
  return true;
};

/** Gives every byte of a domain's memory a value that is not its neighbor's. */
const scribble = ({ hardware }: Hypervisor, domain: XenDomain): void => {
  const { bytes } = hardware.memory;
  domain.p2m.eachRun((_gfn, pages, type, mfn) => {
    if (type !== 'ram' || mfn === undefined) return;
    const start = hostAddressOf(maddrOf(mfn as Mfn));
    for (let at = 0; at < pages * 4096; at += 1) bytes[start + at] = (at * 7 + (at >> 8)) & 0xff;
  });
};

/**
 * What no guest may change: the memory of the bystander and of domain 0, and what the hypervisor keeps
 * for the bystander.
 */
export const untouchedBytes = ({ hypervisor, bystander }: HostileMachine): Uint8Array => {
  const { frames, hardware } = hypervisor;
  const regions = bystander.vcpus.flatMap(({ vmcs }) => (vmcs === undefined ? [] : mfnOf(vmcs)));
  const found: number[] = [...bystander.p2m.tables(), ...regions, bystander.sharedInfo];
  frames.owners.forEach((owner, mfn) => {
    if (owner === bystander.id || owner === 0) found.push(mfn);
  });
  const bytes = new Uint8Array(found.length * 4096);
  found.forEach((mfn, index) => {
    const at = hostAddressOf(maddrOf(mfn as Mfn));
    bytes.set(hardware.memory.bytes.subarray(at, at + 4096), index * 4096);
  });
  return bytes;
};

/** An executable of one small segment with the notes of a 64-bit PV guest. */
const pvProgram = (): Uint8Array => {
  const bytes = new Uint8Array(0x300);
  const view = new DataView(bytes.buffer);
  bytes.set([0x7f, 0x45, 0x4c, 0x46, 2, 1, 1]);
  view.setUint16(16, 2, true);
  view.setUint16(18, 62, true);
  view.setBigUint64(32, 64n, true);
  view.setUint16(54, 56, true);
  view.setUint16(56, 2, true);
  const header = (at: number, fields: readonly number[]): void => {
    const [type = 0, offset = 0, address = 0, file = 0, memory = 0] = fields;
    view.setUint32(at, type, true);
    view.setBigUint64(at + 8, BigInt(offset), true);
    view.setBigUint64(at + 24, BigInt(address), true);
    view.setBigUint64(at + 32, BigInt(file), true);
    view.setBigUint64(at + 40, BigInt(memory), true);
    view.setBigUint64(at + 48, 4n, true);
  };
  const notes = [
    [1, VIRTUAL_BASE + 0x1000n],
    [3, VIRTUAL_BASE],
  ] as const;
  header(64, [1, 0x200, 0x1000, 0x10, 0x1000]);
  header(120, [4, 0x100, 0, notes.length * 24, notes.length * 24]);
  notes.forEach(([type, value], index) => {
    const at = 0x100 + index * 24;
    view.setUint32(at, 4, true);
    view.setUint32(at + 4, 8, true);
    view.setUint32(at + 8, type, true);
    bytes.set([0x58, 0x65, 0x6e, 0], at + 12);
    view.setBigUint64(at + 16, value, true);
  });
  return bytes;
};

const CONFIGS: Readonly<Record<GuestKind, Omit<DomainConfig, 'name'>>> = {
  pvh: {
    program: new Uint8Array(16),
    memoryBytes: 4 * MIB,
    maximumMemoryBytes: 5 * MIB,
    vcpus: VCPUS,
  },
  shadow: {
    program: new Uint8Array(16),
    memoryBytes: 4 * MIB,
    maximumMemoryBytes: 5 * MIB,
    vcpus: VCPUS,
    hap: false,
    shadowMemoryBytes: 64 * 4096,
  },
  pv: {
    program: pvProgram(),
    type: 'pv',
    memoryBytes: 5 * MIB,
    maximumMemoryBytes: 6 * MIB,
    vcpus: VCPUS,
  },
};
