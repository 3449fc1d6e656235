/**
 * The processor that runs guests for the hypervisor: VM entry with its injection, or the return to a
 * program at privilege level 3; the run loop, breakpoints, and the VM exit or trap when a guest
 * instruction makes one.
 * VM entry: SDM Vol. 3C ch. 26; checks on the host-state area do not apply, since the hypervisor
 * that is returned to is no code of this machine.
 */
import type { Cpu } from './cpu/cpu.ts';
import { quad, setQuad, setWord, word } from './cpu/cpu.ts';
import {
  deliverEvent,
  deliverPendingDebug,
  deliverPendingFault,
  deliverSoftware,
} from './cpu/exceptions.ts';
import { linearOfNumber, noSecondStage, type SecondStage } from './cpu/paging.ts';
import { OUTCOME } from './cpu/processor.ts';
import { updateMode } from './cpu/segmentation.ts';
import * as state from './cpu/state.ts';
import { createTlbModel } from './cpu/tlb-model.ts';
import { createTrapSink, loadLevel3Segment } from './cpu/traps.ts';
import { createWatches } from './cpu/watches.ts';
import { createFastEngine, createReferenceEngine } from './engine/engine.ts';
import type { EngineStop, QuickExit, ViolationHandler } from './hypervisor/hardware.ts';
import type { GuestProcessor } from './hypervisor/vmx-hardware.ts';
import type { EngineName } from './machine.ts';
import type { Maddr } from './memory/addresses.ts';
import { hostAddressOf, type MachineMemory } from './memory/machine-memory.ts';
import type { BoundaryExits } from './vmx/boundary-exits.ts';
import { INVALID_CONTROLS } from './vmx/control-rules.ts';
import { BAD_POINTERS, type EntryRefusal, refusalOfEntry } from './vmx/entry.ts';
import { exitReasonNumber } from './vmx/exit-reasons.ts';
import { loadGuestState } from './vmx/load-guest-state.ts';
import { createGuestOperation, type GuestOperation } from './vmx/non-root.ts';
import { vmcsEncodingOf } from './vmx/vmcs-fields.ts';

const INJECTION = vmcsEncodingOf('ENTRY_INTERRUPTION_INFORMATION');
const INJECTION_CODE = vmcsEncodingOf('ENTRY_EXCEPTION_ERROR_CODE');
const INJECTION_LENGTH = vmcsEncodingOf('ENTRY_INSTRUCTION_LENGTH');
const INSTRUCTION_ERROR = vmcsEncodingOf('VM_INSTRUCTION_ERROR');
const EXIT_REASON = vmcsEncodingOf('EXIT_REASON');
const EXIT_QUALIFICATION = vmcsEncodingOf('EXIT_QUALIFICATION');
/** Types 4 to 6 are those of INT n, INT1, INT3 and INTO. */
const isOfInstruction = (information: bigint): boolean => ((information >> 8n) & 7n) >= 4n;
/** Bit 31 of an exit reason: VM entry failed. */
const ENTRY_FAILURE = 0x8000_0000n | BigInt(exitReasonNumber('ENTRY_FAILURE_GUEST_STATE'));
const VALID = 1n << 31n;
const HAS_CODE = 1n << 11n;
const EVENT_TYPE_BITS = 0x700n;
const OTHER_EVENT = 0x700n;
const CPUID_EXIT = 10;
const CPUID_BYTES = 2;
/** Halves of guest state that the checks of VM entry look at, or that entry derives the mode from. */
const CHECKED = [
  ...[state.CR0, state.CR3 + 4, state.CR4, state.EFER, state.RFLAGS_REST, state.RFLAGS_REST + 4],
  ...[state.CS, state.SS, state.TR].map(state.segmentAccess),
  ...[state.ACTIVITY, state.INTERRUPTIBILITY],
];
/** RF, which exits set and clear, and DF and AC, which programs do: entry does not ask for them. */
const UNCHECKED_RFLAGS = 0x5_0400;
/** Iterations of one REP instruction after which the run loop looks up. */
const ITERATIONS_AT_ONCE = 65_536;

/** Without VMX nothing comes between two instructions. */
const NO_BOUNDARY: BoundaryExits = {
  enter: () => undefined,
  isFree: true,
  watchesEach: false,
  remaining: () => Number.POSITIVE_INFINITY,
  exitsBefore: () => false,
  exitsAfter: () => false,
  leave: () => undefined,
};

/** Sees the exceptions that guests take, after the exception bitmap has let them pass. */
export interface ExceptionObserver {
  /** Whether anybody wants to know; it stays so while the guest runs. */
  isInterested(): boolean;
  /** 'stop' makes the run loop return once the exception has been delivered. */
  tell(vector: number, errorCode: number | undefined): 'stop' | undefined;
}

export const createGuestProcessor = (
  memory: MachineMemory,
  observer: ExceptionObserver,
  name: EngineName = 'interpreter',
): GuestProcessor => {
  let tscAtStart = 0;
  let breakpoints: ReadonlySet<bigint> = new Set();
  let guest: GuestOperation | undefined;
  /** Its guest runs at privilege level 3, without VMX. */
  let isDeprivileged = false;
  let quickExit: QuickExit | undefined;
  let resolves: ViolationHandler | undefined;
  const atEntry = new Int32Array(CHECKED.length);
  /** An exit that happened while an event was injected; the next run reports it. */
  let exitIsDue = false;
  /** 1 if VM entry has delivered the event of a software interrupt, which so is complete. */
  let completed = 0;
  /** Whether the last check of VM entry found nothing. */
  let isSound = false;
  /** The VMX-preemption timer starts with the next run, when the time is known. */
  let timerIsDue = false;
  let stopIsDue = false;
  const watches = createWatches(memory);
  const tlb = name === 'reference' ? createTlbModel() : undefined;
  const cpu: Cpu = {
    memory,
    watches,
    stage: noSecondStage,
    nonRoot: undefined,
    instructionLength: 0,
    delivering: 0,
    deliveringErrorCode: 0,
    timeStamp: () => BigInt(tscAtStart + engine.retired),
    invalidate: () => undefined,
    noteWrite: (host, lengthBytes) => engine.noteWrite(host, lengthBytes),
    remembered: (linear, access) => engine.remembered(linear, access),
    ...(tlb === undefined ? {} : { tlb }),
  };
  const engine =
    name === 'interpreter'
      ? createFastEngine(cpu, () => stopIsDue || watches.isPending)
      : createReferenceEngine(cpu);

  const sink = createTrapSink(cpu);

  const withoutVmx: SecondStage = {
    ...noSecondStage,
    beforeEntryWrite: (maddr, linear) => watches.noteWalk(linearOfNumber(linear), maddr),
  };
  const resume = (): void => {
    isDeprivileged = true;
    cpu.stage = withoutVmx;
    cpu.nonRoot = sink.nonRoot;
    setWord(cpu, state.VMX_MODE, 1);
    setWord(cpu, state.CPL, 3);
    updateMode(cpu);
  };

  const enter = (vmcs: number, isChecked: boolean): string | undefined => {
    isDeprivileged = false;
    if (isChecked && isSound && guest !== undefined && isAsAtEntry()) {
      if (!loadGuestState(cpu, guest)) return refuse(guest, BAD_POINTERS);
      setWord(cpu, state.VMX_MODE, 2);
      exitIsDue = begin(guest);
      return undefined;
    }
    const operation = createGuestOperation(cpu, vmcs as Maddr);
    const refusal = refusalOfEntry(operation.read);
    if (refusal !== undefined) return refuse(operation, refusal);
    guest = operation;
    for (const [i, slot] of CHECKED.entries()) atEntry[i] = word(cpu, slot);
    cpu.stage = {
      ...operation.stage,
      beforeEntryWrite: (maddr, linear) => watches.noteWalk(linearOfNumber(linear), maddr),
    };
    if (!loadGuestState(cpu, operation)) return refuse(operation, BAD_POINTERS);
    const { nonRoot } = operation;
    cpu.nonRoot = {
      ...nonRoot,
      interceptsException: (vector, errorCode, type) => {
        const exits = nonRoot.interceptsException(vector, errorCode, type);
        if (!exits && observer.tell(vector, errorCode) === 'stop') stopIsDue = true;
        return exits;
      },
      passesPageFaults: () => !observer.isInterested() && nonRoot.passesPageFaults?.() === true,
    };
    setWord(cpu, state.VMX_MODE, 2);
    setWord(cpu, state.CPL, (word(cpu, state.segmentAccess(state.SS)) >> 5) & 3);
    updateMode(cpu);
    isSound = true;
    exitIsDue = begin(operation);
    return undefined;
  };

  /** Fails VM entry: VMfailValid and a sentence, or the VM exit of bad guest state. */
  const refuse = (operation: GuestOperation, refusal: EntryRefusal): string | undefined => {
    isSound = false;
    if (refusal.kind === 'controls') {
      operation.write(INSTRUCTION_ERROR, BigInt(INVALID_CONTROLS));
      return refusal.words;
    }
    // The other fields of exits stay as they are.
    operation.write(EXIT_REASON, ENTRY_FAILURE);
    operation.write(EXIT_QUALIFICATION, refusal.qualification);
    guest = operation;
    exitIsDue = true;
    return undefined;
  };

  /** Whether the registers that the checks look at are as at the last entry that was checked. */
  const isAsAtEntry = (): boolean => {
    for (let i = 0; i < CHECKED.length; i += 1) {
      const slot = CHECKED[i] ?? 0;
      const changed = (atEntry[i] ?? 0) ^ word(cpu, slot);
      if ((slot === state.RFLAGS_REST ? changed & ~UNCHECKED_RFLAGS : changed) !== 0) return false;
    }
    return true;
  };

  const now = (): number => tscAtStart + engine.retired;

  /** The last part of VM entry, events; true if that made a VM exit. */
  const begin = (operation: GuestOperation): boolean => {
    timerIsDue = true;
    const information = operation.read(INJECTION);
    if ((information & VALID) === 0n) return deliverPendingDebug(cpu) === OUTCOME.exit;
    setQuad(cpu, state.PENDING_DEBUG, 0n);
    return inject(operation, information) || operation.boundary.exitsAfter();
  };

  /** Delivers the event of the VM-entry controls; true if that made a VM exit. */
  const inject = (operation: GuestOperation, information: bigint): boolean => {
    operation.write(INJECTION, information & ~VALID);
    if ((information & EVENT_TYPE_BITS) === OTHER_EVENT) {
      operation.exit('MONITOR_TRAP_FLAG');
      return true;
    }
    if (watches.isActive) watches.begin(quad(cpu, state.RIP));
    cpu.instructionLength = Number(operation.read(INJECTION_LENGTH));
    const isSoftware = isOfInstruction(information);
    let outcome = (isSoftware ? deliverSoftware : deliverEvent)(cpu, {
      vector: Number(information & 0xffn),
      type: Number((information >> 8n) & 7n),
      errorCode:
        (information & HAS_CODE) === 0n ? undefined : Number(operation.read(INJECTION_CODE)),
    });
    if (isSoftware && outcome === OUTCOME.jumped) completed = 1;
    if (outcome === OUTCOME.fault) outcome = deliverPendingFault(cpu);
    return outcome === OUTCOME.exit;
  };

  /** A CPUID whose VM exit is handled at once. */
  const passCpuid = (): boolean => {
    if (quickExit === undefined || isDeprivileged || guest === undefined) return false;
    cpu.instructionLength = CPUID_BYTES;
    if (!quickExit(CPUID_EXIT, guest.exitCpuid)) return false;
    engine.skip(CPUID_BYTES);
    return true;
  };

  /** An EPT violation that is resolved at once: the instruction is to be executed again. */
  const passViolation = (): boolean => {
    if (resolves === undefined || isDeprivileged || guest === undefined) return false;
    const made = guest.violation();
    if (made === undefined || !resolves(made.physical, made.qualification)) return false;
    watches.dropUnfinished();
    exitIsDue = begin(guest);
    return true;
  };

  const leave = (): EngineStop => {
    watches.dropUnfinished();
    if (isDeprivileged) return 'trap';
    exitIsDue = false;
    guest?.boundary.leave(now());
    setWord(cpu, state.VMX_MODE, 1);
    return 'exit';
  };

  const run = (budget: number, ignoresBreakpoint: boolean, iterates = false): EngineStop => {
    engine.begin(completed);
    completed = 0;
    if (guest === undefined && !isDeprivileged) throw new Error('No guest has been entered.');
    const boundary = isDeprivileged || guest === undefined ? NO_BOUNDARY : guest.boundary;
    if (timerIsDue) boundary.enter(now());
    timerIsDue = false;
    if (exitIsDue) return leave();
    let isFirst = ignoresBreakpoint;
    let iterations = 0;
    // A handler that faults at once retires nothing: deliveries count against the budget too.
    while (engine.steps < budget) {
      if (watches.isPending) return 'stop';
      if (boundary.exitsBefore(now())) return leave();
      if (breakpoints.size > 0 && !isFirst && breakpoints.has(quad(cpu, state.RIP))) {
        return 'breakpoint';
      }
      const before = engine.steps;
      const isFree = boundary.isFree;
      const limit = boundary.watchesEach ? 1 : Math.min(budget - before, boundary.remaining(now()));
      let result = iterates ? engine.iterate() : engine.advance(limit, isFree);
      if (result === 'cpuid') result = passCpuid() ? 'retired' : engine.finishCpuid();
      if (engine.steps > before) isFirst = false;
      switch (result) {
        case 'ran':
        case 'retired':
          iterations = 0;
          isFirst = false;
          break;
        case 'unfinished':
          iterations += 1;
          isFirst = true;
          if (iterates || iterations > ITERATIONS_AT_ONCE) return 'budget';
          break;
        case 'delivered':
          if (stopIsDue) {
            stopIsDue = false;
            return 'stop';
          }
          break;
        case 'exit':
          if (!passViolation() || exitIsDue) return leave();
          isFirst = true;
          continue;
        default:
          return result;
      }
      if (boundary.exitsAfter()) return leave();
    }
    boundary.leave(now());
    return 'budget';
  };

  return {
    get retired() {
      return engine.retired;
    },
    enter,
    resume,
    loadSegment(segment, selector) {
      cpu.stage = withoutVmx;
      engine.begin();
      return loadLevel3Segment(cpu, segment, selector);
    },
    get trap() {
      return sink.trap;
    },
    setQuickExit: (handle) => {
      quickExit = handle;
    },
    setViolationHandler: (handle) => {
      resolves = handle;
    },
    run: (budget) => run(budget, false),
    step: (iterates) => run(1, true, iterates),
    selectTlb: (tag) => tlb?.select(tag),
    tlbMissesOf: (tag) => tlb?.missesOf(tag),
    setWatches: (list) => {
      watches.set(list);
      engine.forget();
    },
    takeAccesses: watches.take,
    setTsc: (value) => {
      tscAtStart = value;
    },
    setStandIns: (standIns) => {
      cpu.standIns = standIns;
    },
    setBreakpoints: (addresses) => {
      breakpoints = new Set(addresses);
      engine.setBreakpoints(breakpoints);
    },
    invalidateTranslations: () => engine.forget(),
    forgetFrame: engine.forgetFrame,
    noteWrite: (maddr, lengthBytes) => {
      watches.noteSoftware(maddr, lengthBytes);
      engine.noteWrite(hostAddressOf(maddr as Maddr), lengthBytes);
    },
    windowChanged: () => {
      engine.forget();
      guest = undefined;
      isDeprivileged = false;
      cpu.nonRoot = undefined;
      exitIsDue = false;
    },
  };
};
