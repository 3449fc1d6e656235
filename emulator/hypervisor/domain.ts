/**
 * Domains and their vCPUs as the hypervisor keeps them.
 */
import type { LocalApic } from '../devices/local-apic.ts';
import type { LoadedProgram } from '../loader/index.ts';
import type { DomainConfig, DomainState, DomainType, EndReason } from '../machine.ts';
import type { Gfn, Maddr, Mfn } from '../memory/addresses.ts';
import type { GrantTable } from './grants/grant-table.ts';
import type { P2m } from './p2m.ts';
import type { PvDomain } from './pv/pv-domain.ts';
import type { PvVcpu } from './pv/pv-vcpu.ts';
import type { ShadowPaging } from './shadow/shadow-paging.ts';

/** Number of ports of the 2-level event-channel ABI for 64-bit guests. */
export const EVENT_CHANNELS = 4096;

export type Channel = { vcpu: number } & (
  | { readonly state: 'unbound'; readonly remoteDomain: number }
  | { readonly state: 'interdomain'; readonly remoteDomain: number; readonly remotePort: number }
  | { readonly state: 'virq'; readonly virq: number }
  | { readonly state: 'ipi' }
);

export interface XenVcpu {
  readonly id: number;
  readonly domain: XenDomain;
  /** Where its VMCS is; a PV vCPU has none. */
  readonly vmcs: Maddr | undefined;
  /** Its processor state (cpu/state.ts) while another vCPU is loaded. */
  readonly window: Uint8Array;
  state: 'runnable' | 'blocked' | 'offline';
  /** Time of its pCPU when it last ran, in ns. */
  clockNs: number;
  retired: number;
  exits: number;
  /** Absolute; undefined: no single-shot timer is set. */
  timerNs: number | undefined;
  /** By HVMOP_set_evtchn_upcall_vector, an interrupt of its local APIC; 0: none. */
  upcallVector: number;
  /** Its vcpu_info, if VCPUOP_register_vcpu_info has moved it out of shared_info. */
  infoMaddr: Maddr | undefined;
  pcpu: number | undefined;
  /** Not of a PV vCPU. */
  apic?: LocalApic;
  /** Of a PV vCPU. */
  readonly pv?: PvVcpu;
  /**
   * Under shadow paging, registers as the guest believes them to be where the processor holds others;
   * CR0 and CR4 are the VMCS's read shadows.
   */
  readonly guest?: ShadowedRegisters;
}

export interface ShadowedRegisters {
  cr3: bigint;
  efer: bigint;
  /** The PDPTE registers. */
  pointers: readonly bigint[];
}

export interface XenDomain {
  readonly id: number;
  readonly type: DomainType;
  /** Of a PV domain. */
  readonly pv?: PvDomain;
  readonly config: DomainConfig;
  readonly p2m: P2m;
  /** Shadow page tables, for a domain without EPT. */
  readonly shadow?: ShadowPaging;
  readonly program: LoadedProgram;
  readonly vcpus: XenVcpu[];
  readonly sharedInfo: Mfn;
  sharedInfoGfn: Gfn | undefined;
  /** Vector of HVM_PARAM_CALLBACK_IRQ type 2; 0: none. */
  callbackVector: number;
  readonly params: Map<number, bigint>;
  readonly channels: Map<number, Channel>;
  readonly grants: GrantTable;
  state: DomainState;
  shutdownReason: EndReason | undefined;
  explanation: string | undefined;
  pages: number;
  maximumPages: number;
  targetPages: number;
  /** Writes to the guest's page tables that the hypervisor has checked or followed. */
  tableUpdates: number;
  readonly exitCounts: Map<string, number>;
  readonly hypercallCounts: Map<string, number>;
  consoleText: string;
  /** Names of special frames. */
  readonly labels: Map<number, string>;
}

/** Whether its memory can be shared, swapped out or populated on demand: Xen does that with EPT alone. */
export const hasPageStates = ({ type, config }: XenDomain): boolean =>
  type !== 'pv' && config.hap !== false;

/** Whether its vCPUs may run. */
export const isRunning = ({ state }: XenDomain): boolean =>
  state === 'running' || state === 'blocked';

/** Adds one to a counter by name. */
export const count = (counts: Map<string, number>, name: string): void => {
  counts.set(name, (counts.get(name) ?? 0) + 1);
};
