/**
 * Breakpoints: one table for all of them, whatever carrier they came on. Each kind is one file,
 * listed in catalog.ts.
 */
import type { EventKind, MachineEvent } from '../events.ts';
import type { Machine } from '../machine.ts';

/** Stops before the instruction at an address. */
export interface AddressBreakpoint {
  readonly kind: 'address';
  readonly space: 'gva' | 'gpa' | 'maddr';
  readonly address: bigint;
  /** Only in this domain; default any. */
  readonly domain?: number;
  readonly vcpu?: number;
}

/** Stops at an event of the stream that the filter accepts. */
export interface EventBreakpoint {
  readonly kind: 'event';
  readonly event: EventKind;
  readonly filter?: EventFilter;
}

/** All given parts must hold. */
export interface EventFilter {
  readonly domain?: number;
  readonly vcpu?: number;
  /** Names it may have: exit reason, hypercall or sub-operation, exception; any case. */
  readonly names?: readonly string[];
  /** Numbers it may have: exit reason, hypercall number, vector, port. */
  readonly numbers?: readonly number[];
  /** Guest-physical range [first, last] of an EPT violation; gfn range of balloon and P2M events times 4096. */
  readonly range?: { readonly first: number; readonly last: number };
  readonly access?: readonly ('read' | 'write' | 'execute')[];
  /** Of balloon events. */
  readonly direction?: 'decrease' | 'populate';
  /** Of hypercalls; default 'call'. */
  readonly stage?: 'call' | 'return';
}

/** Stops after an instruction that has accessed the range; see data.ts. */
export interface DataBreakpoint {
  readonly kind: 'data';
  readonly space: 'gva' | 'gpa' | 'maddr';
  readonly address: bigint;
  readonly lengthBytes: number;
  readonly access: 'read' | 'write' | 'readWrite';
  /** Whose address it is; needed for gpa. Accesses of others do not count. */
  readonly domain?: number;
  /** Only accesses of this vCPU; default all of the domain's. */
  readonly vcpu?: number;
}

/** What decides whether a breakpoint can bind. */
export interface BreakpointContext {
  readonly ramBytes: number;
  readonly domains: () => readonly number[];
}

export type BreakpointPlace = AddressBreakpoint | EventBreakpoint | DataBreakpoint;

export interface BreakpointHit {
  readonly machine: Machine;
  readonly domain: number;
  readonly vcpu: number;
  /** Of event and data breakpoints. */
  readonly event: MachineEvent | undefined;
  readonly hits: number;
}

export interface BreakpointOptions {
  /** Asked at each hit of the place; false: not counted, not a stop. */
  readonly condition?: (hit: BreakpointHit) => boolean;
  /** Asked with the number of hits, from 1, whose condition held. */
  readonly hitCondition?: (hits: number) => boolean;
  /** A logpoint: called in place of stopping. */
  readonly log?: (hit: BreakpointHit) => void;
  readonly enabled?: boolean;
}

export interface Breakpoint extends BreakpointOptions {
  readonly id: number;
  readonly place: BreakpointPlace;
  readonly hits: number;
  /** Why it can not bind, in a sentence; undefined if it is bound. */
  readonly problem: string | undefined;
}

export interface BreakpointTable {
  add(place: BreakpointPlace, options?: BreakpointOptions): Breakpoint;
  /** Whether there was one. */
  remove(id: number): boolean;
  setEnabled(id: number, enabled: boolean): void;
  clear(): void;
  list(): readonly Breakpoint[];
}
