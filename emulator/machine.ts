/**
 * A machine as its users see it: the debug adapter, the command line and tests. It runs domains
 * in slices and says why it stopped; it is looked at without being changed (`peek...`).
 * `createMachine` (create-machine.ts) builds one.
 */
import type { BreakpointTable } from './breakpoints/breakpoint.ts';
import type { EventStream, MachineEvent } from './events.ts';
import type { SwapDevice } from './hypervisor/memory/swap-device.ts';
import type { Gfn, Gpa, Gva, Maddr, Mfn } from './memory/addresses.ts';

export interface ModuleConfig {
  readonly bytes: Uint8Array;
  readonly commandLine?: string;
}

/** How a domain is virtualized, in xl.cfg's words. */
export type DomainType = 'pv' | 'pvh';

/** A domain to build; names and units as in xl.cfg where it has them. */
export interface DomainConfig {
  readonly name: string;
  /** Default: what the notes of the program say; PVH if they say both. */
  readonly type?: DomainType;
  /** An ELF executable with a PVH entry note, or a flat binary. */
  readonly program: Uint8Array;
  /** What messages call the program. */
  readonly programName?: string;
  /** Where a flat binary is loaded and entered; ignored for ELF. Default 0x10_0000. */
  readonly loadAddress?: number;
  readonly memoryBytes: number;
  /** How many of its pages are swapped out; default 0. */
  readonly swappedPages?: number;
  /** How far memory_op may populate; default memoryBytes. */
  readonly maximumMemoryBytes?: number;
  /** Hardware-assisted paging, EPT; false: shadow page tables. Default true. */
  readonly hap?: boolean;
  /** For shadow page tables; default 1 MiB for each vCPU and 8 KiB for each MiB of memory. */
  readonly shadowMemoryBytes?: number;
  readonly vcpus?: number;
  readonly commandLine?: string;
  /** Modules of hvm_start_info; the first is the initial RAM disk. */
  readonly modules?: readonly ModuleConfig[];
  /** Created paused, as `xl create -p`. */
  readonly paused?: boolean;
  /** pCPUs its vCPUs may run on; default all. */
  readonly affinity?: readonly number[];
  readonly weight?: number;
  /** sched_credit2 cap in percent of one pCPU; 0 is none. */
  readonly cap?: number;
}

export type EngineName = 'interpreter' | 'reference';
export type SchedulerName = 'round-robin' | 'credit2';

/** A scan that gives pages of equal content one frame. */
export interface SharingConfig {
  readonly intervalMs: number;
  readonly pagesPerScan: number;
  /** Pages of zeros, or pages of any equal content. */
  readonly mode: 'zero' | 'identical';
}

/** How the next page to be swapped out is chosen. */
export type ReplacementName = 'random' | 'lru' | 'clock';

export interface SwapConfig {
  readonly policy: ReplacementName;
  /** Default: a device in memory, with room for every page of every domain. */
  readonly device?: SwapDevice;
}

/** Domains may have more memory than there is; who reclaims frames, and when. */
export interface OvercommitConfig {
  /** Free frames, in percent of all, under which frames are reclaimed, and up to which. */
  readonly lowPercent: number;
  readonly highPercent: number;
  /** How often the free frames are looked at. */
  readonly intervalMs: number;
}

export interface MachineConfig {
  /** RAM; default: enough for all domains and the hypervisor. */
  readonly memoryBytes?: number;
  readonly pcpus?: number;
  readonly scheduler?: SchedulerName;
  readonly sharing?: SharingConfig;
  readonly swap?: SwapConfig;
  /** RAM of domains then has no frames before it is touched. */
  readonly overcommit?: OvercommitConfig;
  /** Length of a time slice in instructions; default 100,000. */
  readonly sliceInstructions?: number;
  /** Default: the interpreter; the reference engine is its slow definition. */
  readonly engine?: EngineName;
  readonly domains: readonly DomainConfig[];
  /** Receives console output as it is written, by domain. */
  readonly console?: (domain: number, text: string) => void;
}

export type EndReason =
  | 'poweroff'
  | 'reboot'
  | 'suspend'
  | 'crash'
  | 'watchdog'
  | 'triple-fault'
  | 'destroyed';

/** Why run() or step() returned. */
export type StopReason =
  | { readonly why: 'budget' }
  | { readonly why: 'step'; readonly domain: number; readonly vcpu: number }
  | {
      readonly why: 'breakpoint';
      readonly domain: number;
      readonly vcpu: number;
      readonly ids: readonly number[];
    }
  | { readonly why: 'event'; readonly event: MachineEvent; readonly ids: readonly number[] }
  /** No vCPU can ever run again without outside help: all wait, and no timer is set. */
  | { readonly why: 'idle' }
  | {
      readonly why: 'end';
      readonly reason: EndReason;
      readonly domain: number;
      /** What happened, in a sentence. */
      readonly explanation: string;
    };

/**
 * - `into`: one instruction; a VM exit it makes stays pending (`exitInProgress`).
 *   While an exit is pending: one step of its handler.
 * - `over`: one instruction, with its VM exit handled, without following a CALL (until the
 *   instruction after it) or REP, INT n, SYSCALL. While an exit is pending: its handler is
 *   finished and the guest stands at its next instruction.
 * - `instruction`: exactly one instruction of the vCPU, with its VM exit handled.
 */
export type StepKind = 'into' | 'over' | 'instruction';

/** Where a step ends: at an instruction, with the stack at this depth or less. */
export interface StepTarget {
  readonly rip: bigint;
  readonly rsp: bigint;
}

/** One thing that the hypervisor does about a VM exit. */
export interface ExitStep {
  readonly title: string;
  readonly detail: string;
  readonly done: boolean;
}

/** A VM exit, or a trap of a PV guest, whose handler has not finished. */
export interface ExitInProgress {
  readonly domain: number;
  readonly vcpu: number;
  /** "VM exit 10 CPUID", "Trap 13 #GP". */
  readonly title: string;
  /** "CPUID", 10; "#GP", 13. */
  readonly reason: string;
  readonly number: number;
  readonly event: MachineEvent;
  /** What happened, in words, a line each: reason, qualification bit by bit, addresses. */
  readonly explanation: readonly string[];
  /** Steps that are done, then the one that comes next; later ones are not known before. */
  readonly steps: readonly ExitStep[];
  /** Index of the step that runs next. */
  readonly next: number;
}

export type DomainState = 'running' | 'blocked' | 'paused' | 'shutdown' | 'crashed' | 'destroyed';
export type VcpuState = 'running' | 'runnable' | 'blocked' | 'offline' | 'paused';

export interface P2mRange {
  readonly first: Gfn;
  readonly count: number;
  readonly type:
    | 'hole'
    | 'ram'
    | 'ballooned'
    | 'mmio'
    | 'special'
    | 'shared'
    | 'paged'
    | 'logdirty'
    | 'grant'
    | 'on-demand';
  /** Machine frame of the first, if the range is mapped; frames follow in step, but for `shared`, which have all the same. */
  readonly mfn: number | undefined;
  /** EPT permissions, 'rwx', 'r-x', '---'. */
  readonly permissions: string;
  /** Size of the EPT leaf that maps it. */
  readonly pageBytes: number | undefined;
  /** "shared_info", "console ring"; for special pages. */
  readonly label: string | undefined;
}

export interface Domain {
  readonly id: number;
  readonly name: string;
  readonly type: DomainType;
  /** How its memory is translated: by EPT, by shadow page tables, or by its own tables alone. */
  readonly paging: 'hap' | 'shadow' | 'direct';
  /** Pages of its shadow tables; undefined if it has none. */
  readonly shadowPages: { readonly used: number; readonly capacity: number } | undefined;
  readonly state: DomainState;
  readonly shutdownReason: EndReason | undefined;
  readonly explanation: string | undefined;
  /** RAM it has now. */
  readonly memoryBytes: number;
  readonly maximumMemoryBytes: number;
  /** Writes to its page tables that the hypervisor has checked or followed; with EPT it sees none. */
  readonly tableUpdates: number;
  /** Misses of a model TLB, which only the reference engine counts. */
  readonly tlbMisses: number | undefined;
  /** What xl mem-set asked for. */
  readonly targetMemoryBytes: number;
  readonly vcpus: readonly Vcpu[];
  /** VM exits so far by SDM name. */
  readonly exitCounts: ReadonlyMap<string, number>;
  /** Hypercalls so far by name. */
  readonly hypercallCounts: ReadonlyMap<string, number>;
  readonly consoleText: string;
  /** The P2M, or the part of it from a gfn up to another. */
  p2m(first?: number, end?: number): readonly P2mRange[];
  readonly memoryCounts: MemoryCounts;
  channels(): readonly EventChannelView[];
  /** Entries of its grant table that are not empty. */
  grants(): readonly GrantView[];
}

export interface GrantView {
  readonly reference: number;
  /** "frame", "part of frame", "place for a page at", "grant of another domain". */
  readonly kind: string;
  /** The domain that may use it. */
  readonly grantee: number;
  /** Its own frame number of the page. */
  readonly frame: number;
  /** "read-only", "being read", "being written", "transferred". */
  readonly marks: readonly string[];
  /** How often it is mapped or being copied. */
  readonly uses: number;
}

/** What has become of a domain's pages: those in each state now, and what happened so far. */
export interface MemoryCounts {
  readonly shared: number;
  readonly paged: number;
  readonly onDemand: number;
  /** Times that a page was shared, and got a frame of its own again. */
  readonly shares: number;
  readonly unshares: number;
  readonly pageOuts: number;
  readonly pageIns: number;
  /** Pages that got their first frame when they were touched. */
  readonly populates: number;
  /** First writes of pages in log-dirty mode. */
  readonly dirtied: number;
}

export interface EventChannelView {
  readonly port: number;
  readonly state: 'unbound' | 'interdomain' | 'virq' | 'ipi';
  /** "VIRQ_TIMER", "domain 2 port 3". */
  readonly detail: string;
  readonly vcpu: number;
  readonly pending: boolean;
  readonly masked: boolean;
}

/** Registers are named as NASM does, in lower case: 'rax', 'rip', 'rflags', 'cr3', 'efer'. */
export type RegisterName = string;

export interface SegmentView {
  readonly name: 'es' | 'cs' | 'ss' | 'ds' | 'fs' | 'gs' | 'ldtr' | 'tr';
  readonly selector: number;
  readonly base: bigint;
  readonly limit: number;
  /** In VMCS format, SDM Vol. 3C 24.4.1, Table 24-2. */
  readonly accessRights: number;
}

export interface VmcsFieldView {
  readonly name: string;
  readonly encoding: number;
  readonly value: bigint;
  readonly widthBits: 16 | 32 | 64;
}

export interface VmcsGroupView {
  readonly title: string;
  readonly fields: readonly VmcsFieldView[];
}

export interface Vcpu {
  readonly id: number;
  readonly domain: number;
  readonly state: VcpuState;
  readonly pcpu: number | undefined;
  readonly retired: number;
  readonly exits: number;
  /** 'ring 0 long', 'ring 3 long', 'ring 0 protected, no paging', ... */
  readonly mode: string;
  readonly codeWidth: 16 | 32 | 64;
  readonly privilege: number;
  readonly rip: bigint;
  register(name: RegisterName): bigint | undefined;
  /** An error sentence, or undefined if it is done. */
  setRegister(name: RegisterName, value: bigint): string | undefined;
  segments(): readonly SegmentView[];
  /** Fields of the VMCS by group of SDM Vol. 3C chapter 24; a PV vCPU has none. */
  vmcs(): readonly VmcsGroupView[];
  /** What the hypervisor keeps of a PV vCPU; undefined for others. */
  paravirtual(): readonly PvGroupView[] | undefined;
}

export interface PvGroupView {
  readonly title: string;
  readonly rows: readonly { readonly name: string; readonly value: bigint | string }[];
}

export type AddressSpace =
  | { readonly kind: 'gva'; readonly domain: number; readonly vcpu: number }
  | { readonly kind: 'gpa'; readonly domain: number }
  | { readonly kind: 'maddr' };

export interface PeekedMemory {
  readonly bytes: Uint8Array;
  /** Parts of `bytes` that are not there (they read as 0), in order, not touching. */
  readonly holes: readonly { readonly offset: number; readonly lengthBytes: number }[];
}

/** What a machine frame is used as. */
export const FRAME_KINDS = [
  'free',
  /** Free, since a balloon gave it back. */
  'ballooned',
  /** Free, since its page was swapped out. */
  'swapped',
  'hypervisor',
  /** A table of a P2M, which is an EPT. */
  'p2m-table',
  'shadow-table',
  /** The machine-to-physical map that PV guests read. */
  'm2p',
  'ram',
  /** A PV guest's page table, or one that is shadowed. */
  'page-table',
  /** A page of a PV guest's GDT or LDT. */
  'descriptors',
  'log-dirty',
  'shared',
  /** Mapped by another domain, by a grant. */
  'granted',
  /** shared_info, a ring, a frame of a grant table. */
  'special',
] as const;
export type FrameKind = (typeof FRAME_KINDS)[number];

/** All machine frames, by mfn. */
export interface MachineMemoryMap {
  /** Indexes in FRAME_KINDS. */
  readonly kinds: Uint8Array;
  /** Whose each is, whom a table serves, or who had a frame that is free now; NO_DOMAIN: nobody. */
  readonly domains: Uint16Array;
}
export const NO_DOMAIN = 0xffff;

export interface MachineFrameView {
  readonly kind: FrameKind;
  readonly owner: number | 'free' | 'hypervisor' | 'shared';
  /** As in the map. */
  readonly domain: number | undefined;
  /** "shared_info", "VMCS of d1.v0". */
  readonly label: string | undefined;
  /** Places in P2Ms that lead here: the first few, and how many there are. */
  readonly gfns: readonly {
    readonly domain: number;
    readonly gfn: number;
    readonly type: string;
    readonly permissions: string;
  }[];
  readonly gfnCount: number;
  /** Grants by which other domains map it. */
  readonly grants: readonly {
    readonly by: number;
    readonly reference: number;
    readonly isReadOnly: boolean;
  }[];
  /** Of a PV domain's frame: its type, the references to it as that, and in all. */
  readonly pageType:
    | { readonly type: string; readonly uses: number; readonly isPinned: boolean }
    | undefined;
  /** Uses by machine address. */
  readonly references: number;
  /** Of a shadow table: the guest's table and its level. */
  readonly shadows: { readonly gfn: number; readonly level: number } | undefined;
  /** Where the page was that a free frame held. */
  readonly former: { readonly domain: number; readonly gfn: number } | undefined;
  /** It has been released, and is free once nobody uses it. */
  readonly isLeaving: boolean;
}

/** One entry read on the way from a linear address to machine memory. */
export interface WalkLevel {
  readonly table:
    | 'PML4E'
    | 'PDPTE'
    | 'PDE'
    | 'PTE'
    | 'EPT PML4E'
    | 'EPT PDPTE'
    | 'EPT PDE'
    | 'EPT PTE'
    | 'shadow PML4E'
    | 'shadow PDPTE'
    | 'shadow PDE'
    | 'shadow PTE';
  /** Where the entry is: a maddr for EPT, shadow tables and a PV guest's tables, else a gpa. */
  readonly entryAddress: number;
  readonly entry: bigint;
  /** Bits that are set, by name: 'P', 'R/W', 'U/S', 'A', 'D', 'PS', 'XD'; 'R', 'W', 'X'. */
  readonly bits: readonly string[];
  /** Of an EPT level: the gpa that is looked up. */
  readonly gpa: Gpa | undefined;
  /** The machine frame with the entry, where the guest's tables hold those: PV. */
  readonly frame?: FrameUse;
}

/** A machine frame, and what direct paging knows of it. */
export interface FrameUse {
  readonly mfn: Mfn;
  /** A domain; undefined: the hypervisor, or nobody. */
  readonly owner: number | undefined;
  /** By the M2P. */
  readonly gfn: Gfn | undefined;
  /** 'l1_page_table', 'writable_page', 'none', as Xen's PGT_ constants. */
  readonly type: string;
  /** Uses as that type, and uses at all. */
  readonly uses: number;
  readonly references: number;
  readonly isPinned: boolean;
}

export interface WalkResult {
  readonly gva: Gva;
  readonly levels: readonly WalkLevel[];
  readonly gpa: Gpa | undefined;
  readonly maddr: Maddr | undefined;
  readonly pageBytes: number | undefined;
  /** Combined: 'rwx', with 'u' or 's'. */
  readonly permissions: string;
  /** A sentence: where it leads, or which level stops it and with what. */
  readonly verdict: string;
  /** What it leads to, of a PV guest. */
  readonly frame?: FrameUse;
}

/** What is known of a domain's program. */
export interface ProgramView {
  /** Guest-physical address of the PVH entry. */
  readonly entry: number | undefined;
  readonly symbols: readonly ProgramSymbol[];
  readonly lines: readonly ProgramLine[];
  readonly notes: readonly string[];
}

export interface ProgramSymbol {
  readonly name: string;
  readonly address: bigint;
  readonly sizeBytes: number;
  readonly isFunction: boolean;
}

export interface ProgramLine {
  readonly address: bigint;
  readonly file: string;
  readonly line: number;
  readonly column: number;
  readonly isEnd: boolean;
}

export interface Machine {
  readonly events: EventStream;
  readonly breakpoints: BreakpointTable;
  /** The guests, in the order of the configuration. */
  readonly domains: readonly Domain[];
  /** Domain 0, which serves them: it runs no guest code. */
  readonly dom0: Domain | undefined;
  /** Instructions retired by all vCPUs. */
  readonly retired: number;
  readonly timeNs: number;
  /** The vCPU that ran last, or that stopped. */
  readonly current: { readonly domain: number; readonly vcpu: number };
  readonly exitInProgress: ExitInProgress | undefined;
  /**
   * Runs at most `budget` instructions over all vCPUs. At a breakpoint's address the machine stops
   * before the instruction; the next run or step executes it. A pending exit is handled first.
   */
  run(budget: number): StopReason;
  /** Gives 'budget' if the step needs more instructions; `resume` goes on with it. */
  step(domain: number, vcpu: number, kind: StepKind, budget?: number): StopReason;
  /** Until the vCPU is about to execute at the target; the way out of a function. */
  stepTo(domain: number, vcpu: number, target: StepTarget, budget?: number): StopReason;
  /** Goes on with an unfinished step, else as `run`; `run` and a new step forget it. */
  resume(budget: number): StopReason;
  /** Never changes anything; `gva` is translated by the vCPU's tables without accessed bits. */
  peekMemory(space: AddressSpace, address: bigint, lengthBytes: number): PeekedMemory;
  /** The debugger's write: ignores permissions. An error sentence, or undefined. */
  pokeMemory(space: AddressSpace, address: bigint, bytes: Uint8Array): string | undefined;
  walk(domain: number, vcpu: number, address: bigint): WalkResult;
  /** What every machine frame is used as. */
  memoryMap(): MachineMemoryMap;
  /** One machine frame in full; undefined if there is none of this number. */
  frame(mfn: number): MachineFrameView | undefined;
  /** Symbols and lines of a domain's program. */
  program(domain: number): ProgramView;
  /** Runs a toolstack command, 'list', 'mem-set 1 32'; the text it prints. */
  xl(command: string): XlResult;
  /** Types text on a domain's console. An error sentence, or undefined. */
  sendConsole(domain: number, text: string): string | undefined;
  /** Whether a domain has used the ring of its console: what is typed may wake it. */
  readsConsole(domain: number): boolean;
  /** A node of xenstore by its absolute path. */
  xenstore(path: string): XenstoreNodeView | undefined;
  /** The whole machine, a pending exit finished; `restore` takes it on a machine of the same configuration. */
  save(): Uint8Array;
  restore(snapshot: Uint8Array): void;
  /** A hash of everything that a guest can ever see, as 16 hexadecimal digits. */
  stateHash(): string;
}

export interface XenstoreNodeView {
  readonly value: string;
  readonly children: readonly string[];
  readonly permissions: readonly { readonly domain: number; readonly access: string }[];
}

export interface XlResult {
  readonly text: string;
  readonly ok: boolean;
}

/** The user's mistake in a configuration or program: a sentence that names place and value. */
export class MachineConfigError extends Error {
  override readonly name = 'MachineConfigError';
}
