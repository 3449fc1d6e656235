/**
 * What the hypervisor and the toolstack want of domain 0.
 */
import type { Mfn } from '../../memory/addresses.ts';
import type { XenDomain } from '../domain.ts';
import type { Xenstore } from '../xenstore/xenstore.ts';

/** The rings of a domain, by machine frame, and as its own frame numbers name them. */
export interface Rings {
  readonly store: Mfn;
  readonly storeFrame: number;
  readonly console: Mfn;
  readonly consoleFrame: number;
}

/** The domain's own ports of its rings. */
export interface RingPorts {
  readonly store: number;
  readonly console: number;
}

export interface Dom0Services {
  readonly domain: XenDomain;
  readonly xenstore: Xenstore;
  /** Serves all pending events. */
  upcall(): void;
  /** Opens the ports of a new domain's rings. */
  openPorts(domain: XenDomain): RingPorts;
  /** Grants the rings of a new domain to domain 0, writes what xenstore says of it, and serves it. */
  introduce(domain: XenDomain, rings: Rings, ports: RingPorts): void;
  /** A domain is gone. */
  release(domain: XenDomain): void;
  /** Delivers what xenstore has to say, after a change by the toolstack. */
  deliver(): void;
  /** Types text on a domain's console; false if it has none. */
  type(domain: XenDomain, bytes: Uint8Array): boolean;
  /** What was typed and not read, for a domain that asks the hypervisor: CONSOLEIO_read. */
  takeTyped(domain: XenDomain, limit: number): Uint8Array;
  /** Whether the domain has ever used the ring of its console. */
  usesConsole(domain: XenDomain): boolean;
}
