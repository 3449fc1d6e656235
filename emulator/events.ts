/**
 * The one stream of events: whatever can be observed of a machine. Breakpoints, logpoints,
 * the event log, statistics and pictures are all its consumers. An event that nobody listens to
 * is not built: emitters ask `wants(kind)` first.
 *
 * Events are vendor-neutral; exits carry the Intel face (reason and qualification) as data.
 */
import type { Gfn, Gpa, Gva, Maddr, Mfn } from './memory/addresses.ts';

interface EventBase {
  readonly domain: number;
  readonly vcpu: number;
  /** Instructions retired by this vCPU. */
  readonly retired: number;
  /** Simulated time in nanoseconds since power-on. */
  readonly timeNs: number;
  readonly rip: bigint;
}

export interface VmExitEvent extends EventBase {
  readonly kind: 'vm-exit';
  /** The SDM's name, "CPUID", and basic exit reason, 10. */
  readonly reason: string;
  readonly number: number;
  readonly qualification: bigint;
  readonly instructionLength: number;
  readonly guestLinear: bigint;
  readonly guestPhysical: Gpa;
  readonly interruptionInformation: number;
  readonly instructionInformation: number;
}
/** A PV guest has entered the hypervisor; `rip` is that of its return frame. */
export interface TrapEvent extends EventBase {
  readonly kind: 'trap';
  readonly source: 'exception' | 'software-interrupt' | 'syscall' | 'sysenter';
  /** "#GP", "INT 80h", "SYSCALL". */
  readonly name: string;
  readonly vector: number;
  readonly errorCode: number | undefined;
  /** CR2, for #PF. */
  readonly address: bigint | undefined;
  /** Whether the guest's kernel ran, or one of its processes. */
  readonly mode: 'kernel' | 'user';
}
export interface VmEntryEvent extends EventBase {
  readonly kind: 'vm-entry';
  readonly injected: number | undefined;
}
export interface HypercallEvent extends EventBase {
  readonly kind: 'hypercall';
  readonly number: number;
  /** "memory_op". */
  readonly name: string;
  /** "XENMEM_decrease_reservation", if the hypercall has sub-operations. */
  readonly operation: string | undefined;
  readonly args: readonly bigint[];
  /** The decoded argument structure, by field. */
  readonly decoded: Readonly<Record<string, bigint | number | string>> | undefined;
  /** Present once it has returned. */
  readonly result: bigint | undefined;
  readonly stage: 'call' | 'return';
}
export interface EptViolationEvent extends EventBase {
  readonly kind: 'ept-violation';
  readonly gpa: Gpa;
  readonly gva: Gva | undefined;
  readonly access: 'read' | 'write' | 'execute';
  readonly qualification: bigint;
  readonly p2mType: string;
}
/** A #PF under shadow paging: whose it is, and what is done about it. */
export interface ShadowFaultEvent extends EventBase {
  readonly kind: 'shadow-fault';
  /**
   * guest: the guest's own tables refuse the access, it gets the #PF; fill: the shadow lacks what the
   * guest's tables say; sync: a write to a table that is shadowed; override: a write of the supervisor
   * to a read-only page while CR0.WP is clear; p2m: the P2M refuses the access.
   */
  readonly cause: 'guest' | 'fill' | 'sync' | 'override' | 'p2m';
  readonly gva: Gva;
  /** Where the guest's tables lead; undefined if they refuse the access. */
  readonly gpa: Gpa | undefined;
  readonly access: 'read' | 'write' | 'execute';
  /** That of the processor. */
  readonly errorCode: number;
  readonly p2mType: string | undefined;
}
/** Shadow page tables follow the guest's. */
export interface ShadowUpdateEvent extends EventBase {
  readonly kind: 'shadow-update';
  /** A table has got a shadow page; it has lost it; an entry has been made anew. */
  readonly action: 'shadow' | 'unshadow' | 'sync';
  /** The guest's table, and the level at which it is one: 4 is a PML4. */
  readonly gfn: Gfn;
  readonly level: number;
  readonly index: number | undefined;
  readonly guestEntry: bigint | undefined;
  readonly shadowEntry: bigint | undefined;
}
export interface BalloonEvent extends EventBase {
  readonly kind: 'balloon';
  readonly direction: 'decrease' | 'populate';
  readonly gfn: Gfn;
  /** Undefined if the page had no frame: it was swapped out, or not touched yet. */
  readonly mfn: Mfn | undefined;
}
export interface P2mChangeEvent extends EventBase {
  readonly kind: 'p2m-change';
  readonly gfn: Gfn;
  readonly oldType: string;
  readonly newType: string;
  readonly mfn: Mfn | undefined;
}
/** The scan gave a gfn a frame that others have, or a write gave it one of its own. */
export interface PageSharingEvent extends EventBase {
  readonly kind: 'page-shared' | 'page-unshared';
  readonly gfn: Gfn;
  readonly oldMfn: Mfn;
  readonly mfn: Mfn;
  /** Uses of the shared frame, after this. */
  readonly references: number;
}
export interface PageSwappedEvent extends EventBase {
  readonly kind: 'page-swapped';
  readonly direction: 'out' | 'in';
  readonly gfn: Gfn;
  /** The frame that is free now, or that the page has come to. */
  readonly mfn: Mfn;
  readonly slot: number;
  /** "lru". */
  readonly policy: string;
}
/** The first write to a page since it was clean, in log-dirty mode. */
export interface LogDirtyEvent extends EventBase {
  readonly kind: 'log-dirty';
  readonly gfn: Gfn;
  readonly mfn: Mfn;
}
export interface ExceptionEvent extends EventBase {
  readonly kind: 'exception';
  readonly vector: number;
  /** "PF". */
  readonly name: string;
  readonly errorCode: number | undefined;
  /** CR2, for #PF. */
  readonly address: bigint | undefined;
}
export interface InterruptEvent extends EventBase {
  readonly kind: 'interrupt';
  readonly vector: number;
  readonly source: string;
}
export interface EventChannelEvent extends EventBase {
  readonly kind: 'event-channel';
  readonly port: number;
  readonly action: 'send' | 'bind' | 'close' | 'upcall';
}
/** A page of another domain is mapped or unmapped by its grant, or goes to another domain. */
export interface GrantEvent extends EventBase {
  readonly kind: 'grant';
  readonly action: 'map' | 'unmap' | 'transfer';
  /** The domain that grants, or gets the page. */
  readonly other: number;
  /** In the grant table of that domain. */
  readonly reference: number;
  readonly mfn: Mfn;
}
/** A domain asks the xenstore daemon for something. */
export interface XenstoreEvent extends EventBase {
  readonly kind: 'xenstore';
  /** "read", "write", "watch", as the message type is called. */
  readonly request: string;
  /** The payload's first text. */
  readonly path: string;
  /** The rest of the payload. */
  readonly value: string;
  /** "OK", a value, or an error's name. */
  readonly answer: string;
}
export interface ContextSwitchEvent extends EventBase {
  readonly kind: 'context-switch';
  readonly pcpu: number;
  readonly from: { readonly domain: number; readonly vcpu: number } | undefined;
}
/** A PV guest's page table has a new entry, which the hypervisor has checked. */
export interface PageTableUpdateEvent extends EventBase {
  readonly kind: 'page-table-update';
  /** The frame with the entry, its type as in 'l1_page_table', and which of its 512 entries it is. */
  readonly mfn: Mfn;
  readonly type: string;
  readonly slot: number;
  readonly oldEntry: bigint;
  /** As it was installed: with the bits that the hypervisor sets. */
  readonly newEntry: bigint;
  /** 'write' is a plain write of the guest's to a page table, which was emulated. */
  readonly by: 'mmu_update' | 'update_va_mapping' | 'write';
  /** The linear address whose mapping it is, where the guest named it. */
  readonly gva: Gva | undefined;
}
/** A PV guest holds a frame to its being a page table, or lets go of it. */
export interface PageTablePinEvent extends EventBase {
  readonly kind: 'page-table-pin';
  readonly action: 'pin' | 'unpin';
  readonly mfn: Mfn;
  /** 'l4_page_table'; when it is unpinned, what it was last. */
  readonly type: string;
}
/** The hypervisor refuses a page table, an entry, or what a PV guest asks for about one. */
export interface MmuRefusalEvent extends EventBase {
  readonly kind: 'mmu-refusal';
  /** 'EINVAL'. */
  readonly error: string;
  /** The frame that it is about: a table, or what an entry leads to; it need not exist. */
  readonly mfn: Mfn;
  /** Level of the table with the entry, 1 to 4; 0 if it is not about an entry. */
  readonly level: number;
  readonly entry: bigint | undefined;
  /** A hypercall returns the error; a write to a table stays a page fault, which the guest gets. */
  readonly by: 'hypercall' | 'write';
  /** A sentence. */
  readonly reason: string;
}
/** An access to watched memory; `rip` is of the instruction that made it. */
export interface AccessEvent extends EventBase {
  readonly kind: 'memory-access';
  /** Id of the data breakpoint. */
  readonly watch: number;
  /** A page walk sets accessed and dirty bits; the hypervisor writes for its own ends. */
  readonly by: 'instruction' | 'page walk' | 'hypervisor';
  /** Undefined for the hypervisor's. */
  readonly gva: Gva | undefined;
  readonly maddr: Maddr;
  readonly lengthBytes: number;
  readonly write: boolean;
  /** What was read or written, little-endian; undefined where it is not known. */
  readonly value: bigint | undefined;
  /** Before a write. */
  readonly oldValue: bigint | undefined;
}
export interface DomainEvent extends EventBase {
  readonly kind: 'domain';
  readonly state: 'created' | 'paused' | 'unpaused' | 'shutdown' | 'crashed' | 'destroyed';
  readonly reason: string | undefined;
}
export interface ConsoleEvent extends EventBase {
  readonly kind: 'console';
  readonly text: string;
}

export type MachineEvent =
  | VmExitEvent
  | TrapEvent
  | VmEntryEvent
  | HypercallEvent
  | EptViolationEvent
  | ShadowFaultEvent
  | ShadowUpdateEvent
  | BalloonEvent
  | P2mChangeEvent
  | PageSharingEvent
  | PageSwappedEvent
  | LogDirtyEvent
  | ExceptionEvent
  | InterruptEvent
  | EventChannelEvent
  | GrantEvent
  | XenstoreEvent
  | ContextSwitchEvent
  | PageTableUpdateEvent
  | PageTablePinEvent
  | MmuRefusalEvent
  | AccessEvent
  | DomainEvent
  | ConsoleEvent;

export type EventKind = MachineEvent['kind'];

/** A consumer; returning 'stop' makes the machine stop at this event, before it goes on. */
export type EventListener = (event: MachineEvent) => 'stop' | undefined;

/** The stream: listeners by kind, in order of subscription. */
export class EventStream {
  #stop: MachineEvent | undefined;
  readonly #listeners = new Map<EventKind, EventListener[]>();
  #changes = 0;

  /** Goes up whenever somebody begins or ceases to listen. */
  get changes(): number {
    return this.#changes;
  }

  /** Whether anybody listens; emitters ask before they build an event. */
  wants(kind: EventKind): boolean {
    return this.#listeners.has(kind);
  }

  wantsAny(kinds: readonly EventKind[]): boolean {
    return kinds.some((kind) => this.#listeners.has(kind));
  }

  /** Listens to some kinds; the returned function ends it. */
  subscribe(kinds: Iterable<EventKind>, listener: EventListener): () => void {
    const own = [...new Set(kinds)];
    this.#changes += 1;
    for (const kind of own) {
      this.#listeners.set(kind, [...(this.#listeners.get(kind) ?? []), listener]);
    }
    return () => {
      this.#changes += 1;
      for (const kind of own) {
        const rest = (this.#listeners.get(kind) ?? []).filter((other) => other !== listener);
        if (rest.length > 0) this.#listeners.set(kind, rest);
        else this.#listeners.delete(kind);
      }
    };
  }

  /** Hands an event to every listener of its kind; 'stop' if any of them wants to stop. */
  emit(event: MachineEvent): 'stop' | undefined {
    let verdict: 'stop' | undefined;
    for (const listener of this.#listeners.get(event.kind) ?? []) {
      if (listener(event) === 'stop') verdict = 'stop';
    }
    if (verdict === 'stop') this.#stop ??= event;
    return verdict;
  }

  /** The first event since the last call at which a listener wanted to stop. */
  takeStop(): MachineEvent | undefined {
    const event = this.#stop;
    this.#stop = undefined;
    return event;
  }
}
