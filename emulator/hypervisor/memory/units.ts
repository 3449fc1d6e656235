/**
 * The memory of guests beyond plain frames: pages that are shared, swapped out, not yet touched, or
 * watched for their first write. Whoever accesses guest memory asks `prepare` first.
 */

import type { MachineConfig, ReplacementName } from '../../machine.ts';
import { type Gfn, type Mfn, maddrOf, mfnOf } from '../../memory/addresses.ts';
import { hostAddressOf } from '../../memory/machine-memory.ts';
import type { XenDomain } from '../domain.ts';
import type { Hypervisor } from '../hypervisor.ts';
import { EPT_WRITE, type P2mType } from '../p2m.ts';
import { changeP2m } from '../p2m-changes.ts';
import { type Balance, createBalance } from './balance.ts';
import { createMemoryClock } from './clock.ts';
import { type CountsByDomain, createCounts } from './counts.ts';
import { createLogDirty, type LogDirty } from './log-dirty.ts';
import { createSharing, type Sharing } from './sharing.ts';
import { createSwap, type Swap } from './swap.ts';
import { createMemoryDevice, type SwapDevice } from './swap-device.ts';
import { createSwapSlots, deviceBytesFor } from './swap-slots.ts';

export type PageAccess = 'read' | 'write' | 'execute';

/**
 * - `ready`: EPT allows the access now.
 * - `missing`: the page is no RAM, or not for this access.
 * - `no-frame`: there is no frame for it.
 * - `lost`: the swap device does not give what was stored.
 */
export type Readiness = 'ready' | 'missing' | 'no-frame' | 'lost';

export interface MemoryUnits {
  readonly counts: CountsByDomain;
  readonly logDirty: LogDirty;
  readonly swap: Swap;
  readonly sharing: Sharing;
  readonly balance: Balance;
  /** Gets a page ready for an access: pages it in, populates, unshares, notes the write. */
  prepare(domain: XenDomain, gfn: Gfn, access: PageAccess): Readiness;
  /** What a page of RAM without a frame holds; undefined if it is none. Changes nothing. */
  peek(domain: XenDomain, gfn: Gfn): Uint8Array | undefined;
  /** Whether so many frames can be given; makes room for them if need be. */
  hasRoom(pages: number): boolean;
  /** A zeroed frame for a gfn that had none; undefined if there is none. */
  populate(domain: XenDomain, gfn: Gfn): Mfn | undefined;
  /**
   * Takes a page of RAM, in whatever state, from its domain; the frame that is free now, if it had
   * one of its own. `missing` if no RAM is there, `no-frame` without one for an EPT table.
   */
  remove(domain: XenDomain, gfn: Gfn, type: P2mType): Mfn | 'no-own' | 'missing' | 'no-frame';
  /** Frees all that a domain has. */
  drop(domain: XenDomain): void;
}

const ZEROS = new Uint8Array(4096);

const IS_RAM: Readonly<Record<P2mType, boolean>> = {
  hole: false,
  ram: true,
  ballooned: false,
  mmio: false,
  special: false,
  shared: true,
  paged: true,
  logdirty: true,
  grant: false,
  'on-demand': true,
};

export const isRam = (type: P2mType): boolean => IS_RAM[type];

/** The units of a hypervisor; made when they are first asked for. */
export const unitsOf = (hypervisor: Hypervisor): MemoryUnits => {
  hypervisor.memory ??= createUnits(hypervisor, undefined);
  return hypervisor.memory;
};

/** The size of a swap device that has room for every page of the domains. */
export const swapBytesOf = (domains: MachineConfig['domains']): number =>
  deviceBytesFor(
    domains.reduce(
      (sum, { memoryBytes, maximumMemoryBytes = memoryBytes }) => sum + maximumMemoryBytes / 4096,
      0,
    ),
  );

/** Makes the units as a machine is configured; once, before its domains are built. */
export const configureUnits = (hypervisor: Hypervisor, config: MachineConfig): MemoryUnits => {
  const device = config.swap?.device ?? createMemoryDevice(swapBytesOf(config.domains));
  const units = createUnits(hypervisor, device, config.swap?.policy);
  hypervisor.memory = units;
  // A device from outside may hold what another machine has left.
  if (config.swap?.device !== undefined) units.swap.slots.format();
  units.sharing.configure(config.sharing);
  units.balance.configure(config.overcommit);
  return units;
};

const createUnits = (
  hypervisor: Hypervisor,
  device: SwapDevice | undefined,
  policy: ReplacementName = 'clock',
): MemoryUnits => {
  const { frames, hardware, parts } = hypervisor;
  const { bytes, ramBytes } = hardware.memory;
  const take = (domain: XenDomain): Mfn | undefined => {
    if (frames.free <= balance.reserve) balance.makeRoom();
    return frames.free > balance.reserve ? frames.allocate(domain.id) : undefined;
  };
  const counts = createCounts();
  const clock = createMemoryClock(hypervisor);
  const logDirty = createLogDirty(hypervisor, counts);
  const slots = createSwapSlots(
    device ?? createMemoryDevice(deviceBytesFor(Math.floor(ramBytes / 4096))),
  );
  const swap = createSwap(hypervisor, slots, counts, logDirty, clock, take, policy);
  const sharing = createSharing(hypervisor, counts, logDirty, take);
  const balance: Balance = createBalance(hypervisor, counts, sharing, swap, clock);
  for (const [name, part] of Object.entries({ clock, counts, logDirty, swap, sharing, balance })) {
    parts.set(`memory/${name}`, part);
  }

  const zeroed = (domain: XenDomain): Mfn | undefined => {
    const mfn = take(domain);
    if (mfn === undefined) return undefined;
    const at = hostAddressOf(maddrOf(mfn));
    bytes.fill(0, at, at + 4096);
    hardware.noteWrite(maddrOf(mfn), 4096);
    return mfn;
  };
  const populate = (domain: XenDomain, gfn: Gfn, isWritten: boolean): Mfn | undefined => {
    const mfn = zeroed(domain);
    if (mfn === undefined) return undefined;
    if (logDirty.map(domain, gfn, mfn, isWritten)) return mfn;
    frames.release(mfn);
    return undefined;
  };
  return {
    counts,
    logDirty,
    swap,
    sharing,
    balance,
    prepare(domain, gfn, access) {
      const isWrite = access === 'write';
      switch (domain.p2m.typeOf(gfn)) {
        case 'ram':
        case 'special':
          return 'ready';
        case 'shared':
          return isWrite ? sharing.unshare(domain, gfn) : 'ready';
        case 'paged':
          return swap.pageIn(domain, gfn, isWrite);
        case 'logdirty':
          if (isWrite) logDirty.note(domain, gfn);
          return 'ready';
        case 'on-demand': {
          if (populate(domain, gfn, isWrite) === undefined) return 'no-frame';
          const own = counts.of(domain);
          own.onDemand -= 1;
          own.populates += 1;
          return 'ready';
        }
        case 'grant':
          return isWrite && (domain.p2m.lookup(gfn).access & EPT_WRITE) === 0 ? 'missing' : 'ready';
        case 'hole':
        case 'ballooned':
        case 'mmio':
          return 'missing';
      }
    },
    peek(domain, gfn) {
      const type = domain.p2m.typeOf(gfn);
      if (type === 'on-demand') return ZEROS;
      return type === 'paged' ? swap.peek(domain, gfn) : undefined;
    },
    hasRoom(pages) {
      while (frames.free < pages + balance.reserve) if (!balance.makeRoom()) return false;
      return true;
    },
    populate: (domain, gfn) => populate(domain, gfn, false),
    remove(domain, gfn, type) {
      const oldType = domain.p2m.typeOf(gfn);
      if (!isRam(oldType)) return 'missing';
      const mfn = domain.p2m.mfnOf(gfn);
      const slot = oldType === 'paged' ? domain.p2m.slotOf(gfn) : 0;
      if (!changeP2m(hypervisor, domain, gfn, type, undefined)) return 'no-frame';
      domain.pages -= 1;
      const own = counts.of(domain);
      if (oldType === 'paged') {
        swap.forget(slot);
        own.paged -= 1;
      }
      if (oldType === 'on-demand') own.onDemand -= 1;
      if (mfn === undefined) return 'no-own';
      if (oldType === 'shared') {
        sharing.forget(mfn);
        own.shared -= 1;
        return 'no-own';
      }
      frames.release(mfn);
      return mfn;
    },
    drop(domain) {
      swap.drop(domain);
      sharing.drop(domain);
      for (const vcpu of domain.vcpus) {
        if (vcpu.infoMaddr !== undefined) frames.letGo(mfnOf(vcpu.infoMaddr));
        vcpu.infoMaddr = undefined;
      }
      domain.p2m.clear();
      frames.releaseAll(domain.id);
      counts.of(domain).onDemand = 0;
      domain.pages = 0;
    },
  };
};
