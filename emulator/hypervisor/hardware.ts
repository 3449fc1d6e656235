/**
 * What the hypervisor asks of the processor: VMX by its instructions, and the run loop of the
 * engine. The hypervisor is software in root operation; it sees guest state only through the
 * current VMCS and the registers that VM exits leave alone (general registers, CR2, ...).
 */
import type { StandIns } from '../cpu/cpu.ts';
import type { Trap } from '../cpu/traps.ts';
import type { Watch, WatchedAccess } from '../cpu/watches.ts';
import type { Gfn, Mfn } from '../memory/addresses.ts';
import type { MachineMemory } from '../memory/machine-memory.ts';
import type { XenVcpu } from './domain.ts';

/** Why the engine came back. `exit`: a VM exit; `trap`: of a guest that runs without VMX. */
export type EngineStop = 'budget' | 'exit' | 'trap' | 'halted' | 'shutdown' | 'breakpoint' | 'stop';

/**
 * Handles a VM exit whose handler only sets general registers, without a look at events or steps;
 * `record` writes it into the VMCS. False: it is to be handled as every exit.
 */
export type QuickExit = (reason: number, record: () => void) => boolean;

/**
 * Allows an access that EPT does not, without a look at events or steps, and counts it as the VM exit
 * that it is. False: it is to be handled as every exit.
 */
export type ViolationHandler = (gpa: number, qualification: number) => boolean;

export interface Hardware {
  /** Gives the handler of exits that need not leave run(). */
  setQuickExit?(handle: QuickExit): void;
  /** Gives the handler of EPT violations that need not leave run(). */
  setViolationHandler?(handle: ViolationHandler): void;
  readonly memory: MachineMemory;
  /** Makes a vCPU the one whose state the processor holds: VMPTRLD, and its registers. */
  load(vcpu: XenVcpu): void;
  /** The vCPU that is loaded. */
  readonly loaded: XenVcpu | undefined;
  /** VMREAD and VMWRITE on the loaded vCPU's VMCS, by encoding. */
  read(field: number): bigint;
  write(field: number, value: bigint): void;
  /** VMCLEAR of a new region and its revision identifier. */
  prepareVmcs(vcpu: XenVcpu): void;
  /** VMLAUNCH or VMRESUME; a sentence if the entry fails. */
  enter(): string | undefined;
  /**
   * IRET to the loaded vCPU as a program at privilege level 3, in place of VM entry; what enters the
   * hypervisor then is a trap.
   */
  resume?(): void;
  /**
   * Loads a segment register (cpu/state.ts) of the loaded vCPU from its descriptor tables, as the
   * return to privilege level 3 does; false if that faults.
   */
  loadSegment?(segment: number, selector: number): boolean;
  /** What the last 'trap' was. */
  readonly trap?: Trap | undefined;
  /** Runs the entered guest for at most `budget` instructions. */
  run(budget: number): EngineStop;
  /** Runs exactly one instruction of the entered guest, or one iteration of a repeated one. */
  step(iterates?: boolean): EngineStop;
  /** Instructions that the last run or step retired. */
  readonly retired: number;
  /** The time-stamp counter when the next run starts. */
  setTsc(value: number): void;
  /**
   * Until they are taken away, data that EPT has no frame for is read and written in these pages,
   * without a VM exit. Hardware without an engine has none of this.
   */
  setStandIns?(standIns: StandIns | undefined): void;
  /** INVEPT. */
  invalidateTranslations(): void;
  /** INVEPT of one gfn, whose P2M entry has led to this frame. */
  forgetFrame?(gfn: Gfn, mfn: Mfn): void;
  /** Machine memory was written by software: decoded code there is stale. */
  noteWrite(maddr: number, lengthBytes: number): void;
  /** VMREAD on the VMCS of any vCPU. */
  peekField(vcpu: XenVcpu, field: number): bigint;
  /** Linear addresses before whose instruction run() stops, whatever the vCPU. */
  setBreakpoints(addresses: readonly bigint[]): void;
  /**
   * Watches memory; run() returns 'stop' after an instruction that has accessed it. `watchesOf`
   * gives what is watched while a vCPU is loaded; hardware without an engine has none of this.
   */
  setWatches?(watchesOf: (vcpu: XenVcpu) => readonly Watch[]): void;
  /** Misses of a model TLB (cpu/tlb-model.ts); undefined if they are not counted. */
  tlbMissesOf?(vcpu: XenVcpu): number | undefined;
  /** What was accessed since the last call, and the RIP of the instruction that did. */
  takeAccesses?(): { readonly rip: bigint; readonly accesses: readonly WatchedAccess[] };
  /** The whole window of any vCPU, and taking one over. */
  saveWindow(vcpu: XenVcpu): Uint8Array;
  restoreWindow(vcpu: XenVcpu, window: Uint8Array): void;
  /** A slot of the window (cpu/state.ts) of any vCPU, loaded or not. */
  slot(vcpu: XenVcpu, address: number): bigint;
  setSlot(vcpu: XenVcpu, address: number, value: bigint): void;
}

/** Fields used here, by the SDM's names; encodings: SDM Vol. 3D Appendix B. */
export const FIELD = {
  VPID: 0x0000,
  GUEST_ES_SELECTOR: 0x0800,
  GUEST_CS_SELECTOR: 0x0802,
  MSR_BITMAPS: 0x2004,
  EPT_POINTER: 0x201a,
  GUEST_PHYSICAL_ADDRESS: 0x2400,
  VMCS_LINK_POINTER: 0x2800,
  GUEST_IA32_PAT: 0x2804,
  GUEST_IA32_EFER: 0x2806,
  GUEST_PDPTE0: 0x280a,
  PIN_BASED_CONTROLS: 0x4000,
  PRIMARY_CONTROLS: 0x4002,
  EXCEPTION_BITMAP: 0x4004,
  CR3_TARGET_COUNT: 0x400a,
  EXIT_CONTROLS: 0x400c,
  ENTRY_CONTROLS: 0x4012,
  ENTRY_INTERRUPTION_INFORMATION: 0x4016,
  ENTRY_EXCEPTION_ERROR_CODE: 0x4018,
  ENTRY_INSTRUCTION_LENGTH: 0x401a,
  SECONDARY_CONTROLS: 0x401e,
  EXIT_REASON: 0x4402,
  EXIT_INTERRUPTION_INFORMATION: 0x4404,
  EXIT_INTERRUPTION_ERROR_CODE: 0x4406,
  IDT_VECTORING_INFORMATION: 0x4408,
  IDT_VECTORING_ERROR_CODE: 0x440a,
  EXIT_INSTRUCTION_LENGTH: 0x440c,
  EXIT_INSTRUCTION_INFORMATION: 0x440e,
  GUEST_ES_LIMIT: 0x4800,
  GUEST_GDTR_LIMIT: 0x4810,
  GUEST_IDTR_LIMIT: 0x4812,
  GUEST_ES_ACCESS_RIGHTS: 0x4814,
  GUEST_INTERRUPTIBILITY: 0x4824,
  GUEST_ACTIVITY: 0x4826,
  CR0_MASK: 0x6000,
  CR4_MASK: 0x6002,
  CR0_READ_SHADOW: 0x6004,
  CR4_READ_SHADOW: 0x6006,
  EXIT_QUALIFICATION: 0x6400,
  GUEST_LINEAR_ADDRESS: 0x640a,
  GUEST_CR0: 0x6800,
  GUEST_CR3: 0x6802,
  GUEST_CR4: 0x6804,
  GUEST_ES_BASE: 0x6806,
  GUEST_GDTR_BASE: 0x6816,
  GUEST_IDTR_BASE: 0x6818,
  GUEST_DR7: 0x681a,
  GUEST_RSP: 0x681c,
  GUEST_RIP: 0x681e,
  GUEST_RFLAGS: 0x6820,
  GUEST_PENDING_DEBUG: 0x6822,
} as const;

export const CR8_LOAD_EXITING = 1n << 19n;
export const INTERRUPT_WINDOW_EXITING = 1n << 2n;
export const ENTRY_IA32E_GUEST = 1n << 9n;
export const RFLAGS_IF = 1n << 9n;
