/**
 * The processor that runs guests for the hypervisor: VM entry with its injection, the run loop,
 * breakpoints, and the VM exit when a guest instruction makes one.
 * VM entry: SDM Vol. 3C ch. 26; checks on the host-state area do not apply, since the hypervisor
 * that is returned to is no code of this machine.
 */
import type { Cpu } from './cpu/cpu.ts';
import { quad, setWord, word } from './cpu/cpu.ts';
import { deliverEvent } from './cpu/exceptions.ts';
import { noSecondStage } from './cpu/paging.ts';
import { OUTCOME } from './cpu/processor.ts';
import { updateMode } from './cpu/segmentation.ts';
import * as state from './cpu/state.ts';
import { createWatches } from './cpu/watches.ts';
import { createInterpreter } from './engine/interpreter/interpreter.ts';
import { createPreciseEngine } from './engine/precise.ts';
import type { EngineStop, QuickExit } from './hypervisor/hardware.ts';
import type { GuestProcessor } from './hypervisor/vmx-hardware.ts';
import type { EngineName } from './machine.ts';
import type { Maddr } from './memory/addresses.ts';
import { hostAddressOf, type MachineMemory } from './memory/machine-memory.ts';
import { objectionToEntry } from './vmx/entry.ts';
import { createGuestOperation, type GuestOperation } from './vmx/non-root.ts';
import { vmcsEncodingOf } from './vmx/vmcs-fields.ts';

const INJECTION = vmcsEncodingOf('ENTRY_INTERRUPTION_INFORMATION');
const INJECTION_CODE = vmcsEncodingOf('ENTRY_EXCEPTION_ERROR_CODE');
const INJECTION_LENGTH = vmcsEncodingOf('ENTRY_INSTRUCTION_LENGTH');
const PRIMARY = vmcsEncodingOf('PRIMARY_PROCESSOR_BASED_CONTROLS');
const VALID = 1n << 31n;
const HAS_CODE = 1n << 11n;
const WINDOW_EXITING = 4n;
const RFLAGS_IF = 0x200;
const RFLAGS_TF = 0x100;
const CPUID_EXIT = 10;
const CPUID_BYTES = 2;
/** Halves of guest state that the checks of VM entry look at, or that entry derives the mode from. */
const CHECKED = [
  ...[state.CR0, state.CR3 + 4, state.CR4, state.EFER, state.RFLAGS_REST, state.RFLAGS_REST + 4],
  ...[state.CS, state.SS, state.TR].map(state.segmentAccess),
  ...[state.ACTIVITY, state.INTERRUPTIBILITY],
];
/** Iterations of one REP instruction after which the run loop looks up. */
const ITERATIONS_AT_ONCE = 65_536;

/**
 * Told of the exceptions that guests take, after the exception bitmap has let them pass. 'stop'
 * makes the run loop return once the exception has been delivered.
 */
export type ExceptionObserver = (
  vector: number,
  errorCode: number | undefined,
) => 'stop' | undefined;

export const createGuestProcessor = (
  memory: MachineMemory,
  onException: ExceptionObserver,
  engine: EngineName = 'interpreter',
): GuestProcessor => {
  let tscAtStart = 0;
  let retired = 0;
  let breakpoints: ReadonlySet<bigint> = new Set();
  let guest: GuestOperation | undefined;
  let quickExit: QuickExit | undefined;
  const atEntry = new Int32Array(CHECKED.length);
  /** An exit that happened while an event was injected; the next run reports it. */
  let exitIsDue = false;
  let stopIsDue = false;
  let watched = false;
  const watches = createWatches(memory);
  /** RIP of the instruction that the noted accesses belong to. */
  let accessRip = 0n;
  const cpu: Cpu = {
    memory,
    watches,
    stage: noSecondStage,
    nonRoot: undefined,
    instructionLength: 0,
    delivering: 0,
    deliveringErrorCode: 0,
    timeStamp: () => BigInt(tscAtStart + retired),
    invalidate: () => undefined,
    noteWrite: (host, lengthBytes) => fast?.noteWrite(host, lengthBytes),
    remembered: (linear, access) => fast?.remembered(linear, access) ?? 0,
  };
  const step = createPreciseEngine(cpu);
  const fast = engine === 'interpreter' ? createInterpreter(cpu) : undefined;

  /** Whether nothing but the plain execution of instructions is to be done. */
  const mayRunFast = (): boolean =>
    word(cpu, state.CODE_WIDTH) === 64 &&
    word(cpu, state.ACTIVITY) === 0 &&
    (word(cpu, state.RFLAGS_REST) & RFLAGS_TF) === 0 &&
    (word(cpu, state.INTERRUPTIBILITY) & 3) === 0;

  const enter = (vmcs: number, isChecked: boolean): string | undefined => {
    if (isChecked && guest !== undefined && isAsAtEntry()) {
      setWord(cpu, state.VMX_MODE, 2);
      exitIsDue = inject(guest);
      return undefined;
    }
    const operation = createGuestOperation(cpu, vmcs as Maddr);
    const objection = objectionToEntry(operation.read);
    if (objection !== undefined) return objection;
    guest = operation;
    for (const [i, slot] of CHECKED.entries()) atEntry[i] = word(cpu, slot);
    cpu.stage = {
      ...operation.stage,
      beforeEntryWrite: (maddr, linear) => watches.noteWalk(linear, maddr),
    };
    const { nonRoot } = operation;
    cpu.nonRoot = {
      ...nonRoot,
      interceptsException: (vector, errorCode) => {
        const exits = nonRoot.interceptsException(vector, errorCode);
        if (!exits && onException(vector, errorCode) === 'stop') stopIsDue = true;
        return exits;
      },
    };
    setWord(cpu, state.VMX_MODE, 2);
    setWord(cpu, state.CPL, (word(cpu, state.segmentAccess(state.SS)) >> 5) & 3);
    updateMode(cpu);
    exitIsDue = inject(operation);
    return undefined;
  };

  /** Whether the registers that the checks look at are as at the last entry that was checked. */
  const isAsAtEntry = (): boolean => {
    for (let i = 0; i < CHECKED.length; i += 1) {
      if (atEntry[i] !== memory.words[(CHECKED[i] ?? 0) >>> 2]) return false;
    }
    return true;
  };

  /** Delivers the event of the VM-entry controls; true if that made a VM exit. */
  const inject = (operation: GuestOperation): boolean => {
    const information = operation.read(INJECTION);
    if ((information & VALID) === 0n) return false;
    operation.write(INJECTION, information & ~VALID);
    if (watched) accessRip = quad(cpu, state.RIP);
    cpu.instructionLength = Number(operation.read(INJECTION_LENGTH));
    const outcome = deliverEvent(cpu, {
      vector: Number(information & 0xffn),
      type: Number((information >> 8n) & 7n),
      errorCode:
        (information & HAS_CODE) === 0n ? undefined : Number(operation.read(INJECTION_CODE)),
    });
    return outcome === OUTCOME.exit;
  };

  /** An exit for an open interrupt window comes before the next instruction. */
  const windowIsOpen = (operation: GuestOperation): boolean =>
    (word(cpu, state.RFLAGS_REST) & RFLAGS_IF) !== 0 &&
    (operation.read(PRIMARY) & WINDOW_EXITING) !== 0n &&
    (word(cpu, state.INTERRUPTIBILITY) & 3) === 0;

  /** A CPUID whose VM exit is handled at once; no breakpoint lies there. */
  const passCpuid = (operation: GuestOperation): boolean => {
    if (quickExit === undefined) return false;
    if (breakpoints.size > 0 && breakpoints.has(quad(cpu, state.RIP))) return false;
    cpu.instructionLength = CPUID_BYTES;
    if (!quickExit(CPUID_EXIT, operation.exitCpuid)) return false;
    const low = (word(cpu, state.RIP) >>> 0) + CPUID_BYTES;
    setWord(cpu, state.RIP, low);
    if (low >= 2 ** 32) setWord(cpu, state.RIP + 4, word(cpu, state.RIP + 4) + 1);
    retired += 1;
    return true;
  };

  const leave = (): EngineStop => {
    exitIsDue = false;
    watches.dropUnfinished();
    setWord(cpu, state.VMX_MODE, 1);
    return 'exit';
  };

  const run = (budget: number, ignoresBreakpoint: boolean): EngineStop => {
    retired = 0;
    if (guest === undefined) throw new Error('No guest has been entered.');
    if (exitIsDue) return leave();
    let isFirst = ignoresBreakpoint;
    let iterations = 0;
    // A handler that faults at once retires nothing: deliveries count against the budget too.
    let deliveries = 0;
    fast?.refresh();
    while (retired + deliveries < budget) {
      if (watches.isPending) return 'stop';
      if (windowIsOpen(guest)) {
        cpu.instructionLength = 0;
        guest.exit('INTERRUPT_WINDOW');
        return leave();
      }
      if (breakpoints.size > 0 && !isFirst && breakpoints.has(quad(cpu, state.RIP))) {
        return 'breakpoint';
      }
      if (fast !== undefined && mayRunFast()) {
        const count = fast.run(budget - retired - deliveries);
        retired += count;
        if (count > 0) isFirst = false;
        if (retired + deliveries >= budget) continue;
        if (fast.atCpuid && count > 0 && !windowIsOpen(guest) && passCpuid(guest)) continue;
        if (count > 0) continue;
        fast.repeat();
      }
      if (watched) accessRip = quad(cpu, state.RIP);
      const result = step();
      fast?.refresh();
      switch (result) {
        case 'retired':
          retired += 1;
          iterations = 0;
          isFirst = false;
          break;
        case 'unfinished':
          iterations += 1;
          isFirst = true;
          if (iterations > ITERATIONS_AT_ONCE) return 'budget';
          break;
        case 'delivered':
          deliveries += 1;
          isFirst = false;
          if (stopIsDue) {
            stopIsDue = false;
            return 'stop';
          }
          break;
        case 'exit':
          return leave();
        default:
          return result;
      }
    }
    return 'budget';
  };

  return {
    get retired() {
      return retired;
    },
    enter,
    setQuickExit: (handle) => {
      quickExit = handle;
    },
    run: (budget) => run(budget, false),
    step: () => run(1, true),
    setWatches: (list) => {
      watched = list.length > 0;
      watches.set(list);
      fast?.forget();
    },
    takeAccesses: () => ({ rip: accessRip, accesses: watches.take() }),
    setTsc: (value) => {
      tscAtStart = value;
    },
    setBreakpoints: (addresses) => {
      breakpoints = new Set(addresses);
      fast?.setBreakpoints(breakpoints);
    },
    // The precise engine keeps no translations, and compares code bytes before it uses them.
    invalidateTranslations: () => fast?.forget(),
    noteWrite: (maddr, lengthBytes) => {
      watches.noteSoftware(maddr, lengthBytes);
      fast?.noteWrite(hostAddressOf(maddr as Maddr), lengthBytes);
    },
    windowChanged: () => {
      fast?.forget();
      guest = undefined;
      cpu.nonRoot = undefined;
      exitIsDue = false;
    },
  };
};
