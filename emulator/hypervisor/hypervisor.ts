/**
 * The hypervisor's services for exits, hypercalls and the toolstack: guest memory, events,
 * the end of domains, the time.
 */
import type { StandIns } from '../cpu/cpu.ts';
import { linearNumber } from '../cpu/paging.ts';
import { CR0, CR3, CR4, EFER, PDPTES } from '../cpu/state.ts';
import type { EventStream, MachineEvent } from '../events.ts';
import type { EndReason } from '../machine.ts';
import { type Gpa, gfnOf, type Maddr } from '../memory/addresses.ts';
import { hostAddressOf } from '../memory/machine-memory.ts';
import type { Dom0Services } from './dom0/services.ts';
import { isRunning, type XenDomain, type XenVcpu } from './domain.ts';
import type { Frames } from './frames.ts';
import {
  MACHINE_FRAMES,
  maddrOfGpa,
  type PagingState,
  type WalkStage,
  walkGuest,
} from './guest-walk.ts';
import { FIELD, type Hardware } from './hardware.ts';
import type { EmptiedFrames } from './memory/emptied-frames.ts';
import type { MemoryUnits } from './memory/units.ts';
import { isGuestAddress } from './pv/layout.ts';
import type { DirectPaging } from './pv/mmu/direct-paging.ts';
import { translate } from './pv/mmu/translate.ts';
import type { Timers } from './timers.ts';

type Distributed<T> = T extends MachineEvent
  ? Omit<T, 'domain' | 'vcpu' | 'retired' | 'timeNs' | 'rip'>
  : never;
/** An event without the parts that every event has. */
export type EventBody = Distributed<MachineEvent>;

/** A value that JSON holds without loss. */
export type SavedValue =
  | null
  | boolean
  | number
  | string
  | readonly SavedValue[]
  | { readonly [name: string]: SavedValue };

/** A component with state of its own, which snapshots hold and state hashes cover. */
export interface SavedPart {
  save(): SavedValue;
  /** Takes what `save` gave, on a machine of the same configuration. */
  restore(saved: SavedValue): void;
}

export interface Hypervisor {
  /** The domain that serves the others; undefined before it is there. */
  dom0?: Dom0Services;
  readonly hardware: Hardware;
  /** Components by name; who adds one needs no other place for its state. */
  readonly parts: Map<string, SavedPart>;
  readonly frames: Frames;
  readonly emptied: EmptiedFrames;
  readonly standIns: Omit<StandIns, 'covers'>;
  /** Of machines with PV domains: directPagingOf(). */
  directPaging?: DirectPaging;
  readonly events: EventStream;
  readonly domains: Map<number, XenDomain>;
  readonly console: (domain: number, text: string) => void;
  /** Set when an observer asked to stop, or a domain ended. */
  stopRequest: StopRequest | undefined;
  /** Time of the pCPU that runs. */
  nowNs: number;
  /** See unitsOf (memory/units.ts) and timersOf (timers.ts), which make them. */
  memory?: MemoryUnits;
  timers?: Timers;
  /** How often a P2M has changed. */
  p2mChanges?: number;
  /** No VM exit is handled within run(): someone stands in them, or watches memory. */
  showsExits?: boolean;
  /** A scheduling decision is due: the current vCPU gives up its turn. */
  yieldRequested: boolean;
  /** The handler of an exit has run the guest, which made another exit; it is in the VMCS. */
  exitIsDue: boolean;
}

export type StopRequest =
  | { readonly why: 'event'; readonly event: MachineEvent }
  | { readonly why: 'end'; readonly domain: number };

export const RIP_FIELD = FIELD.GUEST_RIP;

/** What a domain's page tables lead to. */
export const stageOf = ({ type, p2m }: XenDomain): WalkStage =>
  type === 'pv' ? MACHINE_FRAMES : p2m;

const ripOf = ({ hardware }: Hypervisor, vcpu: XenVcpu): bigint =>
  hardware.loaded === vcpu ? hardware.read(RIP_FIELD) : 0n;

/** Emits an event of a vCPU, at its RIP; a listener that says 'stop' stops the machine. */
export const emit = (
  hypervisor: Hypervisor,
  vcpu: XenVcpu,
  body: EventBody,
  rip = ripOf(hypervisor, vcpu),
): void => {
  const event = {
    ...body,
    domain: vcpu.domain.id,
    vcpu: vcpu.id,
    retired: vcpu.retired,
    timeNs: hypervisor.nowNs,
    rip,
  } as MachineEvent;
  if (hypervisor.events.emit(event) === 'stop') hypervisor.stopRequest ??= { why: 'event', event };
};

/** The guest's own registers that decide how its linear addresses are translated. */
export const pagingOf = ({ hardware }: Hypervisor, vcpu: XenVcpu): PagingState => {
  const { guest } = vcpu;
  if (guest !== undefined) {
    return {
      ...guest,
      cr0: hardware.peekField(vcpu, FIELD.CR0_READ_SHADOW),
      cr4: hardware.peekField(vcpu, FIELD.CR4_READ_SHADOW),
    };
  }
  return {
    cr0: hardware.slot(vcpu, CR0),
    cr3: hardware.slot(vcpu, CR3),
    cr4: hardware.slot(vcpu, CR4),
    efer: hardware.slot(vcpu, EFER),
    pointers: [0, 1, 2, 3].map((index) => hardware.slot(vcpu, PDPTES + index * 8)),
  };
};

/**
 * The machine address of a guest-physical one, ready for the access: the page is paged in, populated
 * or unshared as a guest's own access would have it. Undefined where there is no memory.
 */
export const touchGpa = (
  { memory }: Hypervisor,
  domain: XenDomain,
  gpa: number,
  access: 'read' | 'write',
): Maddr | undefined => {
  const isReady = memory?.prepare(domain, gfnOf(gpa as Gpa), access) ?? 'ready';
  return isReady === 'ready' ? maddrOfGpa(domain.p2m, gpa) : undefined;
};

/**
 * Translates linear addresses by a vCPU's tables. A PV guest must not write to its page tables by
 * way of the hypervisor: what it may not write itself has no address then.
 */
const translatorOf = (
  hypervisor: Hypervisor,
  vcpu: XenVcpu,
  access: 'read' | 'write',
): ((linear: bigint) => Maddr | undefined) => {
  const { hardware, directPaging } = hypervisor;
  const { domain } = vcpu;
  if (domain.type === 'pv' && directPaging !== undefined) {
    const root = Number(hardware.slot(vcpu, CR3) >> 12n);
    return (linear) => {
      const maddr = translate(directPaging.mmu, root, linearNumber(linear), access === 'write');
      return maddr < 0 ? undefined : (maddr as Maddr);
    };
  }
  const paging = pagingOf(hypervisor, vcpu);
  const stage = stageOf(domain);
  return (linear) => {
    const { gpa, maddr } = walkGuest(hardware.memory, stage, paging, linear);
    return gpa === undefined ? maddr : touchGpa(hypervisor, domain, gpa, access);
  };
};

/**
 * Runs over the pieces of a range of linear addresses; false at the first that is not mapped, or
 * not for writing.
 */
const eachPiece = (
  hypervisor: Hypervisor,
  vcpu: XenVcpu,
  address: bigint,
  lengthBytes: number,
  access: 'read' | 'write',
  use: (maddr: Maddr, offset: number, pieceBytes: number) => void,
): boolean => {
  if (vcpu.domain.type === 'pv' && !isGuestAddress(address, lengthBytes)) return false;
  const machineAddressOf = translatorOf(hypervisor, vcpu, access);
  for (let offset = 0; offset < lengthBytes; ) {
    const maddr = machineAddressOf(address + BigInt(offset));
    if (maddr === undefined || maddr >= hypervisor.hardware.memory.ramBytes) return false;
    const pieceBytes = Math.min(lengthBytes - offset, 4096 - (maddr % 4096));
    use(maddr, offset, pieceBytes);
    offset += pieceBytes;
  }
  return true;
};

/** copy_from_guest: undefined if a part is not mapped. */
export const copyFromGuest = (
  hypervisor: Hypervisor,
  vcpu: XenVcpu,
  address: bigint,
  lengthBytes: number,
): Uint8Array | undefined => {
  const bytes = new Uint8Array(lengthBytes);
  const done = eachPiece(
    hypervisor,
    vcpu,
    address,
    lengthBytes,
    'read',
    (maddr, offset, pieceBytes) => {
      const host = hostAddressOf(maddr);
      bytes.set(hypervisor.hardware.memory.bytes.subarray(host, host + pieceBytes), offset);
    },
  );
  return done ? bytes : undefined;
};

/** copy_to_guest: false if a part is not mapped. */
export const copyToGuest = (
  hypervisor: Hypervisor,
  vcpu: XenVcpu,
  address: bigint,
  bytes: Uint8Array,
): boolean =>
  eachPiece(hypervisor, vcpu, address, bytes.length, 'write', (maddr, offset, pieceBytes) =>
    writeMaddr(hypervisor, maddr, bytes.subarray(offset, offset + pieceBytes)),
  );

/** Writes machine memory and tells whoever has to know. */
export const writeMaddr = (hypervisor: Hypervisor, maddr: number, bytes: Uint8Array): void => {
  hypervisor.hardware.memory.bytes.set(bytes, hostAddressOf(maddr as Maddr));
  tellOfWrite(hypervisor, maddr, bytes.length);
};

/** Machine memory was written by the hypervisor: the engine and shadow page tables follow. */
export const tellOfWrite = (
  { hardware, domains }: Hypervisor,
  maddr: number,
  lengthBytes: number,
): void => {
  hardware.noteWrite(maddr, lengthBytes);
  for (const { shadow } of domains.values()) shadow?.written(maddr, lengthBytes);
};

/** Writes guest-physical memory of a domain; false where there is none. */
export const writeGpa = (
  hypervisor: Hypervisor,
  domain: XenDomain,
  gpa: number,
  bytes: Uint8Array,
): boolean => {
  for (let offset = 0; offset < bytes.length; ) {
    const maddr = touchGpa(hypervisor, domain, gpa + offset, 'write');
    if (maddr === undefined) return false;
    const pieceBytes = Math.min(bytes.length - offset, 4096 - (maddr % 4096));
    writeMaddr(hypervisor, maddr, bytes.subarray(offset, offset + pieceBytes));
    offset += pieceBytes;
  }
  return true;
};

/** domain_shutdown and domain_crash: ends a domain with a reason and a sentence. */
export const endDomain = (
  hypervisor: Hypervisor,
  vcpu: XenVcpu,
  reason: EndReason,
  explanation: string,
): void => {
  const { domain } = vcpu;
  if (!isRunning(domain) && domain.state !== 'paused') return;
  const crashed = reason === 'crash' || reason === 'triple-fault';
  domain.state = crashed ? 'crashed' : reason === 'destroyed' ? 'destroyed' : 'shutdown';
  domain.shutdownReason = reason;
  domain.explanation = explanation;
  hypervisor.stopRequest ??= { why: 'end', domain: domain.id };
  hypervisor.yieldRequested = true;
  if (hypervisor.events.wants('domain')) {
    emit(hypervisor, vcpu, { kind: 'domain', state: domain.state, reason });
  }
};

/** Pauses a domain that can not go on now, with a sentence. */
export const pauseDomain = (
  hypervisor: Hypervisor,
  domain: XenDomain,
  explanation: string,
): void => {
  if (!isRunning(domain)) return;
  domain.state = 'paused';
  domain.explanation = explanation;
  hypervisor.yieldRequested = true;
  const [first] = domain.vcpus;
  if (first !== undefined && hypervisor.events.wants('domain')) {
    emit(hypervisor, first, { kind: 'domain', state: 'paused', reason: 'memory' });
  }
};

/** Console output of a domain. */
export const printConsole = (hypervisor: Hypervisor, vcpu: XenVcpu, text: string): void => {
  vcpu.domain.consoleText += text;
  hypervisor.console(vcpu.domain.id, text);
  if (hypervisor.events.wants('console')) emit(hypervisor, vcpu, { kind: 'console', text });
};

const DOMID_SELF = 0x7ff0;
/** The toolstack's domain, which is simulated only as far as its verbs. */
const DOMAIN_0 = 0;

/** The domain that a guest names: it may name itself, and gets EPERM for one that is another's. */
export const ownDomain = (
  { domains }: Hypervisor,
  { domain }: XenVcpu,
  domid: bigint,
): XenDomain | 'EPERM' | 'ESRCH' => {
  const id = Number(domid);
  if (id === DOMID_SELF || id === domain.id) return domain;
  const other = domains.get(id);
  const exists = id === DOMAIN_0 || (other !== undefined && other.state !== 'destroyed');
  return exists ? 'EPERM' : 'ESRCH';
};
