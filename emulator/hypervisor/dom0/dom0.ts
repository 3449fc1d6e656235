/**
 * What domain 0 does: it introduces domains to xenstore and to the console daemon, and answers their
 * events. All happens when it is caused: an event is served before the hypercall that has sent it
 * returns. So a run depends on nothing but its configuration and what is typed.
 */
import type { Mfn } from '../../memory/addresses.ts';
import { isRunning, type XenDomain } from '../domain.ts';
import { closePort, connectPorts, openChannel, raisePort, takePending } from '../event-channels.ts';
import {
  CONSOLE_REFERENCE,
  growTable,
  releaseTable,
  restoreGrants,
  type SavedGrants,
  saveGrants,
  seedEntry,
  XENSTORE_REFERENCE,
} from '../grants/grant-table.ts';
import { GNTMAP, type Installer, mapGrant, releaseMappings } from '../grants/map.ts';
import { emit, type Hypervisor, printConsole, type SavedValue } from '../hypervisor.ts';
import { pageOf } from '../shared-page.ts';
import { openRing, serveRing } from '../xenstore/ring.ts';
import { createXenstore, type SavedXenstore } from '../xenstore/xenstore.ts';
import { isUsed, putInput, takeInput, takeOutput } from './console-ring.ts';
import { createDom0Domain } from './create-dom0.ts';
import { describeDom0, describeDomain, forgetDomain } from './domain-entries.ts';
import type { Dom0Services } from './services.ts';

/** A domain whose rings are served. */
interface Guest {
  readonly storeMfn: Mfn;
  readonly storePort: number;
  readonly consoleMfn: Mfn;
  readonly consolePort: number;
  /** Typed bytes that the ring had no room for. */
  readonly typed: number[];
}

/** Domain 0's backends are no guest code: they need no address. */
const UNMAPPED: Installer = { install: () => 'okay', remove: () => 'okay' };

export const createDom0 = (hypervisor: Hypervisor): Dom0Services => {
  const domain = createDom0Domain(hypervisor);
  const xenstore = createXenstore();
  const guests = new Map<number, Guest>();
  let isServing = false;

  const page = (mfn: Mfn) => pageOf(hypervisor, mfn);
  /** Sends an event by a port of domain 0. */
  const notify = (port: number): void => {
    const channel = domain.channels.get(port);
    if (channel?.state !== 'interdomain') return;
    const remote = hypervisor.domains.get(channel.remoteDomain);
    if (remote !== undefined) raisePort(hypervisor, remote, channel.remotePort);
  };
  const serveStore = (id: number): void => {
    const guest = guests.get(id);
    const connection = xenstore.connections.get(id);
    if (guest === undefined || connection === undefined) return;
    if (serveRing(xenstore, connection, page(guest.storeMfn))) notify(guest.storePort);
  };
  const deliver = (): void => {
    for (const id of guests.keys()) {
      if ((xenstore.connections.get(id)?.output.length ?? 0) > 0) serveStore(id);
    }
  };
  const serveConsole = (id: number): void => {
    const guest = guests.get(id);
    const vcpu = hypervisor.domains.get(id)?.vcpus[0];
    if (guest === undefined || vcpu === undefined) return;
    const ring = page(guest.consoleMfn);
    const text = takeOutput(ring);
    if (text !== '') printConsole(hypervisor, vcpu, text);
    const taken = guest.typed.splice(0, putInput(ring, Uint8Array.from(guest.typed))).length;
    if (text !== '' || taken > 0) notify(guest.consolePort);
  };
  const serve = (port: number): void => {
    for (const [id, guest] of guests) {
      if (guest.storePort === port) serveStore(id);
      if (guest.consolePort === port) serveConsole(id);
    }
  };
  /** A port of the guest, reserved for domain 0, and one of domain 0 bound to it. */
  const connect = (guest: XenDomain): number => {
    const remote = openChannel(guest, { state: 'unbound', remoteDomain: 0, vcpu: 0 });
    const own = openChannel(domain, { state: 'unbound', remoteDomain: guest.id, vcpu: 0 });
    if (remote === undefined || own === undefined) throw new Error('There is no port left.');
    connectPorts(domain, own, guest, remote);
    return remote;
  };
  const mapRing = (guest: XenDomain, reference: number): void => {
    const request = { domain: guest.id, reference, flags: GNTMAP.host };
    const result = mapGrant(hypervisor, domain, request, UNMAPPED);
    if (typeof result === 'string') throw new Error(`Domain 0 cannot map a ring: ${result}.`);
  };

  xenstore.asTools((client) => describeDom0(client, domain));
  xenstore.observe((id, request) => {
    const vcpu = hypervisor.domains.get(id)?.vcpus[0];
    if (vcpu === undefined || !hypervisor.events.wants('xenstore')) return;
    emit(hypervisor, vcpu, { kind: 'xenstore', ...request });
  });
  const services: Dom0Services = {
    domain,
    xenstore,
    deliver,
    upcall() {
      if (isServing) return;
      isServing = true;
      for (let ports = takePending(hypervisor, domain); ports.length > 0; ) {
        for (const port of ports) serve(port);
        deliver();
        ports = takePending(hypervisor, domain);
      }
      isServing = false;
      // SCHEDOP_block: the scheduler never sees it runnable.
      for (const vcpu of domain.vcpus) vcpu.state = 'blocked';
    },
    openPorts: (guest) => ({ store: connect(guest), console: connect(guest) }),
    introduce(guest, rings, ports) {
      growTable(hypervisor, guest, 1);
      seedEntry(hypervisor, guest, CONSOLE_REFERENCE, 0, rings.consoleFrame);
      seedEntry(hypervisor, guest, XENSTORE_REFERENCE, 0, rings.storeFrame);
      mapRing(guest, XENSTORE_REFERENCE);
      mapRing(guest, CONSOLE_REFERENCE);
      guests.set(guest.id, {
        storeMfn: rings.store,
        storePort: farPort(guest, ports.store),
        consoleMfn: rings.console,
        consolePort: farPort(guest, ports.console),
        typed: [],
      });
      xenstore.asTools((client) => describeDomain(client, guest, rings, ports));
      openRing(page(rings.store));
      xenstore.introduce(guest.id);
      deliver();
    },
    release(guest) {
      for (const port of [...guest.channels.keys()]) closePort(hypervisor, guest, port);
      const known = guests.get(guest.id);
      for (const port of known === undefined ? [] : [known.storePort, known.consolePort]) {
        closePort(hypervisor, domain, port);
      }
      releaseMappings(hypervisor, domain, guest);
      releaseMappings(hypervisor, guest);
      releaseTable(hypervisor, guest);
      guests.delete(guest.id);
      xenstore.asTools((client) => forgetDomain(client, guest.id));
      xenstore.release(guest.id);
      deliver();
    },
    type(guest, bytes) {
      const known = guests.get(guest.id);
      if (known === undefined || !isRunning(guest)) return false;
      known.typed.push(...bytes);
      serveConsole(guest.id);
      return true;
    },
    takeTyped(guest, limit) {
      const known = guests.get(guest.id);
      if (known === undefined) return new Uint8Array();
      const taken = takeInput(page(known.consoleMfn), limit);
      serveConsole(guest.id);
      return taken;
    },
    usesConsole(guest) {
      const known = guests.get(guest.id);
      return known !== undefined && isUsed(page(known.consoleMfn));
    },
  };
  hypervisor.dom0 = services;
  hypervisor.parts.set('dom0', {
    save: () => ({
      xenstore: xenstore.save() as unknown as SavedValue,
      guests: [...guests].map(([id, guest]) => [id, { ...guest, typed: [...guest.typed] }]),
      grants: [...hypervisor.domains].map(([id, one]) => [
        id,
        saveGrants(one.grants) as unknown as SavedValue,
      ]),
    }),
    restore(saved) {
      const { xenstore: store, guests: rings, grants } = saved as unknown as SavedDom0;
      xenstore.restore(store);
      guests.clear();
      for (const [id, guest] of rings) guests.set(id, { ...guest, typed: [...guest.typed] });
      for (const [id, table] of grants) {
        const owner = hypervisor.domains.get(id);
        if (owner !== undefined) restoreGrants(owner.grants, table);
      }
    },
  });
  return services;
};

/** The port at the other end. */
const farPort = ({ channels }: XenDomain, port: number): number => {
  const channel = channels.get(port);
  if (channel?.state !== 'interdomain') throw new Error(`Port ${port} is not connected.`);
  return channel.remotePort;
};

interface SavedDom0 {
  readonly xenstore: SavedXenstore;
  readonly guests: readonly (readonly [number, Guest])[];
  readonly grants: readonly (readonly [number, SavedGrants])[];
}
