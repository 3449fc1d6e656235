/**
 * The domain builder for PV: memory, page tables, start_info, the first vCPU.
 * Source: Xen tools/libs/guest/xg_dom_x86.c for the layout; public/xen.h.
 */
import { registerSlot } from '../../cpu/state.ts';
import type { LoadedProgram, PvProgram } from '../../loader/index.ts';
import { type DomainConfig, MachineConfigError } from '../../machine.ts';
import { type Gfn, type Mfn, maddrOf } from '../../memory/addresses.ts';
import { hostAddressOf } from '../../memory/machine-memory.ts';
import type { XenDomain, XenVcpu } from '../domain.ts';
import { vcpuInfoAt } from '../event-channels.ts';
import { FIELD } from '../hardware.ts';
import { type Hypervisor, writeMaddr } from '../hypervisor.ts';
import { dropGdt, dropLdtPages, setLdt } from './descriptor-tables.ts';
import { pvHypercallPage } from './hypercall-page.ts';
import { directPagingOf } from './mmu/direct-paging.ts';
import { pvOf, setKernelSegments } from './mode.ts';
import type { PerDomainArea } from './per-domain.ts';
import { layOutPv, type PvLayout, programEnd } from './pv-layout.ts';
import { setPvRegisters } from './pv-registers.ts';
import {
  COMMAND_LINE_BYTES,
  SIF_MOD_START_PFN,
  SIF_VIRT_P2M_4TOOLS,
  writeStartInfo,
} from './start-info.ts';

/** Present, writable, accessed; and for tables and upper levels. */
const PAGE = 0x23n;
const READ_ONLY = 0x21n;
const UPPER = 0x67n;
const L4 = 4;
const RFLAGS_START = 0x202n;
const UPCALL_MASK = 1;

/** What a PV domain is built of: throws MachineConfigError if the program does not fit. */
export const checkPvProgram = (
  config: DomainConfig,
  program: LoadedProgram,
): { pv: PvProgram; layout: PvLayout } => {
  const what = config.programName ?? `The program of domain "${config.name}"`;
  const { pv } = program;
  if (pv === undefined) {
    throw new MachineConfigError(
      `${what} has no Xen note for 64-bit PV domains (ENTRY, VIRT_BASE).`,
    );
  }
  const pages = config.memoryBytes / 4096;
  const moduleBytes = config.modules?.[0]?.bytes.length ?? 0;
  for (const { address, memoryBytes } of program.segments) {
    const end = address - pv.paddrOffset + memoryBytes;
    if (address < pv.paddrOffset || end > config.memoryBytes) {
      throw new MachineConfigError(
        `${what} needs pseudo-physical memory up to 0x${programEnd(program, pv).toString(16)}; the domain has ${config.memoryBytes} bytes.`,
      );
    }
  }
  if (pv.virtualBase % 4096n !== 0n) {
    throw new MachineConfigError(
      `${what}: VIRT_BASE 0x${pv.virtualBase.toString(16)} is not the start of a page.`,
    );
  }
  const layout = layOutPv(program, pv, pages, moduleBytes);
  if (layout.end > pages) {
    throw new MachineConfigError(
      `${what} with its page tables and start_info needs ${layout.end} pages; the domain has ${pages}.`,
    );
  }
  if ((config.commandLine ?? '').length >= COMMAND_LINE_BYTES) {
    throw new MachineConfigError(
      `The command line of domain "${config.name}" has more than ${COMMAND_LINE_BYTES - 1} characters.`,
    );
  }
  return { pv, layout };
};

/** The ports of the rings, which the toolstack opens. */
export interface PvPorts {
  readonly store: number;
  readonly console: number;
}

/**
 * Fills the memory of a PV domain and starts its first vCPU; frames are allocated here. Gives those of
 * the rings.
 */
export const fillPvDomain = (
  hypervisor: Hypervisor,
  domain: XenDomain,
  area: PerDomainArea,
  ports: PvPorts,
): { readonly store: Mfn; readonly console: Mfn } => {
  const { config, program } = domain;
  const { pv, layout } = checkPvProgram(config, program);
  const paging = directPagingOf(hypervisor);
  const frames = allocate(hypervisor, domain);
  const frameOf = (pfn: number): Mfn => {
    const mfn = frames[pfn];
    if (mfn === undefined) throw new Error(`Domain ${domain.id} has no frame ${pfn}.`);
    return mfn;
  };
  const write = (address: number, bytes: Uint8Array): void => {
    for (let done = 0; done < bytes.length; ) {
      const at = address + done;
      const piece = Math.min(bytes.length - done, 4096 - (at % 4096));
      const maddr = maddrOf(frameOf(Math.floor(at / 4096)), at % 4096);
      writeMaddr(hypervisor, maddr, bytes.subarray(done, done + piece));
      done += piece;
    }
  };
  for (const { address, bytes } of program.segments) write(address - pv.paddrOffset, bytes);
  if (pv.hypercallPage !== undefined) {
    write(Number(pv.hypercallPage - pv.virtualBase), pvHypercallPage());
  }
  const module = config.modules?.[0];
  if (module !== undefined && layout.module !== undefined) {
    write(layout.module.pfn * 4096, module.bytes);
  }
  const list = new Uint8Array(layout.p2mPages * 4096);
  const view = new DataView(list.buffer);
  frames.forEach((mfn, pfn) => {
    view.setBigUint64(pfn * 8, BigInt(mfn), true);
  });
  write(layout.p2mPfn * 4096, list);
  const addressOf = (pfn: number): bigint => layout.virtualBase + BigInt(pfn) * 4096n;
  write(
    layout.startInfo * 4096,
    writeStartInfo({
      pages: frames.length,
      sharedInfo: maddrOf(domain.sharedInfo),
      flags: SIF_VIRT_P2M_4TOOLS | (layout.module?.isMapped === false ? SIF_MOD_START_PFN : 0),
      storeMfn: frameOf(layout.xenstore),
      storePort: ports.store,
      consoleMfn: frameOf(layout.console),
      consolePort: ports.console,
      tables: addressOf(layout.tables),
      tableCount: layout.tableCount,
      p2m: layout.p2mAddress,
      module:
        layout.module === undefined
          ? 0n
          : layout.module.isMapped
            ? addressOf(layout.module.pfn)
            : BigInt(layout.module.pfn),
      moduleBytes: module?.bytes.length ?? 0,
      commandLine: config.commandLine ?? '',
      firstP2mPfn: layout.p2mTables === 0 ? 0 : layout.p2mPfn,
      p2mFrames: layout.p2mTables === 0 ? 0 : layout.p2mPages + layout.p2mTables,
    }),
  );
  writeTables(hypervisor, layout, frameOf);
  domain.labels.set(layout.startInfo, 'start_info');
  domain.labels.set(layout.xenstore, 'xenstore ring');
  domain.labels.set(layout.console, 'console ring');
  paging.shareFrame(domain.sharedInfo, domain.id, 'read-write');
  paging.addDomain(domain, {
    perDomainTable: area.root,
    setLdt: (vcpu, base, entries) => setLdt(hypervisor, vcpu, base, entries),
    forgetLdt: (vcpu) => dropLdtPages(hypervisor, vcpu),
    relinquish: () => {
      for (const vcpu of domain.vcpus) {
        dropGdt(hypervisor, vcpu);
        dropLdtPages(hypervisor, vcpu);
      }
    },
  });
  const first = domain.vcpus[0];
  if (first !== undefined) startFirst(hypervisor, first, pv, layout, frameOf);
  return { store: frameOf(layout.xenstore), console: frameOf(layout.console) };
};

const allocate = ({ frames, hardware }: Hypervisor, domain: XenDomain): Mfn[] => {
  const { bytes } = hardware.memory;
  return Array.from({ length: domain.pages }, (_, pfn) => {
    const mfn = frames.allocate(domain.id);
    if (mfn === undefined) {
      throw new MachineConfigError(
        `The machine has not enough memory for domain "${domain.config.name}": ${pfn} of ${domain.pages} pages are there.`,
      );
    }
    const host = hostAddressOf(maddrOf(mfn));
    bytes.fill(0, host, host + 4096);
    domain.p2m.set(pfn as Gfn, 'ram', mfn);
    return mfn;
  });
};

/** The tables that map the first frames at the virtual base, and the P2M list at its own place. */
const writeTables = (
  { hardware }: Hypervisor,
  layout: PvLayout,
  frameOf: (pfn: number) => Mfn,
): void => {
  const { quads } = hardware.memory;
  let nextTable = layout.tables;
  let tablesEnd = layout.tables + layout.tableCount;
  const take = (): number => {
    if (nextTable >= tablesEnd) throw new Error('The tables of a PV domain were counted too low.');
    nextTable += 1;
    return nextTable - 1;
  };
  const isTable = (pfn: number): boolean =>
    (pfn >= layout.tables && pfn < layout.tables + layout.tableCount) ||
    (layout.p2mTables > 0 &&
      pfn >= layout.p2mPfn + layout.p2mPages &&
      pfn < layout.p2mPfn + layout.p2mPages + layout.p2mTables);
  const root = take();
  const tables = new Map<string, number>();
  const slot = (pfn: number, index: number): number =>
    (hostAddressOf(maddrOf(frameOf(pfn))) >>> 3) + index;
  const map = (linear: bigint, pfn: number): void => {
    let table = root;
    for (const shift of [39n, 30n, 21n]) {
      const index = Number((linear >> shift) & 511n);
      const key = `${shift} ${linear >> shift}`;
      const known = tables.get(key);
      const below = known ?? take();
      if (known === undefined) {
        tables.set(key, below);
        quads[slot(table, index)] = (BigInt(frameOf(below)) << 12n) | UPPER;
      }
      table = below;
    }
    const rights = isTable(pfn) ? READ_ONLY : PAGE;
    quads[slot(table, Number((linear >> 12n) & 511n))] = (BigInt(frameOf(pfn)) << 12n) | rights;
  };
  for (let pfn = 0; pfn < layout.mappedEnd; pfn += 1) {
    map(layout.virtualBase + BigInt(pfn) * 4096n, pfn);
  }
  if (layout.p2mTables === 0) return;
  nextTable = layout.p2mPfn + layout.p2mPages;
  tablesEnd = nextTable + layout.p2mTables;
  for (let page = 0; page < layout.p2mPages; page += 1) {
    map(layout.p2mAddress + BigInt(page) * 4096n, layout.p2mPfn + page);
  }
};

const startFirst = (
  hypervisor: Hypervisor,
  vcpu: XenVcpu,
  pv: PvProgram,
  layout: PvLayout,
  frameOf: (pfn: number) => Mfn,
): void => {
  const { hardware } = hypervisor;
  const paging = directPagingOf(hypervisor);
  const root = frameOf(layout.tables);
  const problem = paging.pin(vcpu, root, L4) ?? paging.setKernelRoot(vcpu, root);
  if (problem !== undefined) {
    throw new Error(`The first page tables of domain ${vcpu.domain.id} are refused: ${problem}.`);
  }
  const addressOf = (pfn: number): bigint => layout.virtualBase + BigInt(pfn) * 4096n;
  pvOf(vcpu).isInitialized = true;
  setKernelSegments(hypervisor, vcpu);
  hardware.write(FIELD.GUEST_RIP, pv.entry);
  hardware.write(FIELD.GUEST_RFLAGS, RFLAGS_START);
  hardware.setSlot(vcpu, registerSlot(4), addressOf(layout.bootStack + 1));
  hardware.setSlot(vcpu, registerSlot(6), addressOf(layout.startInfo));
};

/** Registers and vcpu_info of a vCPU that has not started. */
export const preparePvVcpu = ({ hardware }: Hypervisor, vcpu: XenVcpu): void => {
  setPvRegisters(hardware, vcpu);
  hardware.memory.bytes[vcpuInfoAt(vcpu) + UPCALL_MASK] = 1;
};
