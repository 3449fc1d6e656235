/**
 * A scenario: the machine and its domains as a JSON file, `*.hyperstep.json`. Domain options carry
 * the names and units of xl.cfg(5): memory in MiB. `parseScenario` checks a file's text.
 */
import type { DomainType, SharingConfig, SwapConfig } from '../machine.ts';

export interface Scenario {
  readonly machine: ScenarioMachine;
  readonly domains: readonly ScenarioDomain[];
}

export interface ScenarioMachine {
  readonly pcpus: number;
  /** MiB; undefined: enough for the domains. */
  readonly memory: number | undefined;
  readonly scheduler: 'round-robin' | 'credit2';
  readonly sharing: SharingConfig | undefined;
  readonly swap: Pick<SwapConfig, 'policy'> | undefined;
  readonly overcommit: ScenarioOvercommit | undefined;
}

/** Watermarks of free frames, in percent of all. */
export interface ScenarioOvercommit {
  readonly low: number;
  readonly high: number;
  readonly intervalMs: number;
}

export interface ScenarioDomain {
  readonly name: string;
  /** Undefined: what the notes of the kernel say. */
  readonly type: DomainType | undefined;
  /** Path of the program, relative to the scenario's folder: NASM source, ELF or flat binary. */
  readonly kernel: string;
  readonly ramdisk: string | undefined;
  readonly cmdline: string;
  /** MiB. */
  readonly memory: number;
  readonly maxmem: number;
  /** MiB that are kept in memory; the rest is swapped out. Undefined: all. */
  readonly mem_target_paging: number | undefined;
  /** False: shadow page tables in place of EPT. */
  readonly hap: boolean;
  /** MiB for shadow page tables; undefined: by memory and vCPUs. */
  readonly shadow_memory: number | undefined;
  readonly vcpus: number;
  /** xl.cfg's CPU list, '0-3,^1' or 'all', as numbers; undefined: all. */
  readonly cpus: readonly number[] | undefined;
  readonly cpu_weight: number;
  readonly cap: number;
  readonly on_create: 'running' | 'paused';
}

/** A mistake in a scenario, with its place in the text. */
export interface ScenarioProblem {
  readonly message: string;
  /** 'domains[1].memory'. */
  readonly path: string;
  /** From 1. */
  readonly line: number;
  readonly column: number;
}

export type ScenarioResult =
  | { readonly scenario: Scenario; readonly problems: readonly [] }
  | { readonly scenario: undefined; readonly problems: readonly ScenarioProblem[] };
