/**
 * What the debug adapter offers beside DAP: launch arguments, custom requests and events with the
 * prefix `hyperstep/`, and the messages between the adapter's worker and the host that started it.
 * The extension imports this file, as types only; any other DAP client may call these requests too.
 *
 *   request                          before launch
 *   hyperstep/eventCatalog           yes    what event breakpoints there are
 *   hyperstep/setEventBreakpoints    yes    replaces all that came on this carrier
 *   hyperstep/views                  yes    the trees of guest state
 *   hyperstep/rows                   no     the children of one row of a view
 *   hyperstep/document               no     the text of a generated document
 *   hyperstep/memoryMap              no     what every machine frame is used as
 *   hyperstep/machineFrame           no     one machine frame: its owner, who maps it
 */
import type { DebugProtocol } from '@vscode/debugprotocol';

export interface LaunchArguments extends DebugProtocol.LaunchRequestArguments {
  /** NASM source, ELF executable, flat binary or scenario (*.hyperstep.json): a path or a URI. */
  readonly program: string;
  /** Stop before the guest's first instruction; default true. */
  readonly stopOnEntry?: boolean;
  /** Memory of the domain in MiB; default 64. Not for scenarios. */
  readonly memory?: number;
  /** EPT, or, if false, shadow page tables; default true. Not for scenarios. */
  readonly hap?: boolean;
  /** vCPUs of the domain; default 1. Not for scenarios. */
  readonly vcpus?: number;
  /** The guest's command line. Not for scenarios. */
  readonly cmdline?: string;
  /** How the domain is virtualized; absent: by the program's notes. */
  readonly domainType?: 'pv' | 'pvh';
  /** Folders searched for included files, after the including file's own. */
  readonly include?: readonly string[];
  /** Default 'interpreter'. */
  readonly engine?: 'interpreter' | 'reference';
}

/** One event that one can break on; `name` is its spelling as a function breakpoint. */
export interface EventCatalogEntry {
  /** 'vm-exit:cpuid', 'hypercall:memory_op', 'balloon:decrease'. */
  readonly name: string;
  /** 'CPUID'. */
  readonly label: string;
  /** Basic exit reason, hypercall number or vector. */
  readonly number?: number;
  /** What it means, in a sentence. */
  readonly description: string;
  /** Sub-operations of a hypercall. */
  readonly children?: readonly EventCatalogEntry[];
}

export interface EventCatalogGroup {
  /** The kind of event, 'vm-exit'; a breakpoint of this name breaks on all of the group. */
  readonly name: string;
  readonly label: string;
  readonly description: string;
  /** What a filter of this kind may hold, as a hint for an input box: 'write,0x1000-0x1fff'. */
  readonly filterHint?: string;
  readonly events: readonly EventCatalogEntry[];
}

export interface EventCatalogResponse {
  readonly groups: readonly EventCatalogGroup[];
}

export interface EventBreakpointRequest {
  /** 'vm-exit:cpuid', 'ept-violation:write,0x1000-0x1fff'. */
  readonly name: string;
  /** In the expression language, 'exit.leaf == 1'. */
  readonly condition?: string;
  /** '>= 3', '% 10', '5'. */
  readonly hitCondition?: string;
  /** With `{expression}` in it: log and go on. */
  readonly logMessage?: string;
}

export interface SetEventBreakpointsArguments {
  readonly breakpoints: readonly EventBreakpointRequest[];
}

export interface SetEventBreakpointsResponse {
  /** One for each that was asked, in order. */
  readonly breakpoints: readonly DebugProtocol.Breakpoint[];
}

/** A tree of guest state. */
export interface ViewDescription {
  /** 'domains'; the view's id in `contributes.views` is `hyperstep.domains`. */
  readonly id: string;
  readonly title: string;
  /** The view shows something for what the user types, an address for instance. */
  readonly input?: {
    readonly prompt: string;
    readonly placeholder: string;
    /** Shown until the user has typed something. */
    readonly initial: string;
  };
}

export interface ViewsResponse {
  readonly views: readonly ViewDescription[];
}

export interface RowsArguments {
  readonly view: string;
  /** The id of the row whose children are wanted; absent: the top. */
  readonly parent?: string;
  /** For views with an input. */
  readonly input?: string;
  /** The vCPU that has the user's eye; default: the one that stopped. */
  readonly threadId?: number;
}

export interface Row {
  /** Unique in its view, the same after the next stop. */
  readonly id: string;
  readonly label: string;
  /** Shown grey beside the label. */
  readonly detail?: string;
  /** Plain text, may have several lines. */
  readonly tooltip?: string;
  /** A codicon's name, 'vm', 'circuit-board'. */
  readonly icon?: string;
  readonly hasChildren?: boolean;
  readonly expanded?: boolean;
  /** Changed since the last stop. */
  readonly changed?: boolean;
  /** For "copy value" and for the screen reader. */
  readonly value?: string;
  /** Memory at this reference can be read: "view memory". */
  readonly memoryReference?: string;
  /** An expression for a watch. */
  readonly evaluateName?: string;
  /** For `when` clauses of menus: 'domain.running', 'domain.paused', 'vcpu', 'p2mRange'. */
  readonly context?: string;
  /** Of a domain's rows. */
  readonly domain?: number;
}

export interface RowsResponse {
  readonly rows: readonly Row[];
}

export interface DocumentArguments {
  /** 'hyperstep-asm:/d1/0x100000.asm' or 'hyperstep-exit:/d1.v0/10-CPUID.vmexit'. */
  readonly uri: string;
}

export interface DocumentResponse {
  readonly text: string;
}

/** Machine frames that are used alike, for the same domain. */
export interface MachineFrameState {
  /** 'ram', 'page-table', 'free', as in FRAME_KINDS of the emulator. */
  readonly kind: string;
  /** 'Page table'. */
  readonly label: string;
  /** What such a frame is, in a sentence. */
  readonly description: string;
  /** The domain that has it, that it serves, or that had it; absent: nobody's. */
  readonly domain?: number;
  /** 'Domain 1 (polite)', 'Hypervisor'. */
  readonly owner: string;
  /** How many there are. */
  readonly count: number;
}

export interface MemoryMapResponse {
  /** All machine frames, each of 4096 bytes. */
  readonly frames: number;
  readonly states: readonly MachineFrameState[];
  /**
   * From frame 0 on, pairs of an index in `states` and how many frames in a row have it; each number
   * in groups of 7 bits, the lowest first, with bit 7 set in all but the last. In base64.
   */
  readonly runs: string;
  /** It is as of now; while the machine runs, ask again. */
  readonly isRunning: boolean;
}

export interface MachineFrameArguments {
  readonly mfn: number;
}

export interface MachineFrameResponse {
  /** 'mfn 0x123: RAM of domain 1 (polite)'. */
  readonly title: string;
  readonly rows: readonly { readonly name: string; readonly value: string }[];
}

/** Custom requests by command. */
export interface CustomRequests {
  readonly 'hyperstep/eventCatalog': {
    readonly arguments: Readonly<Record<string, never>>;
    readonly body: EventCatalogResponse;
  };
  readonly 'hyperstep/setEventBreakpoints': {
    readonly arguments: SetEventBreakpointsArguments;
    readonly body: SetEventBreakpointsResponse;
  };
  readonly 'hyperstep/views': {
    readonly arguments: Readonly<Record<string, never>>;
    readonly body: ViewsResponse;
  };
  readonly 'hyperstep/rows': { readonly arguments: RowsArguments; readonly body: RowsResponse };
  readonly 'hyperstep/document': {
    readonly arguments: DocumentArguments;
    readonly body: DocumentResponse;
  };
  readonly 'hyperstep/memoryMap': {
    readonly arguments: Readonly<Record<string, never>>;
    readonly body: MemoryMapResponse;
  };
  readonly 'hyperstep/machineFrame': {
    readonly arguments: MachineFrameArguments;
    readonly body: MachineFrameResponse;
  };
}

/** Guest state may have changed: views that show it ask for their rows again. */
export interface ViewsChangedEvent {
  readonly event: 'hyperstep/viewsChanged';
  readonly body: { readonly running: boolean };
}

/** The text of a generated document has changed. */
export interface DocumentChangedEvent {
  readonly event: 'hyperstep/documentChanged';
  readonly body: { readonly uri: string };
}

/** From the adapter's worker to its host. */
export type WorkerToHost =
  | { readonly kind: 'dap'; readonly message: DebugProtocol.ProtocolMessage }
  /** Asks for a file, by path or URI; answered by one 'file'. */
  | { readonly kind: 'readFile'; readonly id: number; readonly path: string };

/** From the host to the adapter's worker. */
export type HostToWorker =
  | { readonly kind: 'dap'; readonly message: DebugProtocol.ProtocolMessage }
  | {
      readonly kind: 'file';
      readonly id: number;
      /** undefined: there is no such file, or it cannot be read, as `problem` says. */
      readonly bytes: Uint8Array | undefined;
      readonly problem?: string;
    };
