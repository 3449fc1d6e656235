/**
 * VM exits that come between two instructions: the monitor trap flag, the VMX-preemption timer,
 * the windows for NMIs and interrupts.
 * Source: SDM Vol. 3C 25.2 "Other Causes of VM Exits", 25.5.1 "VMX-Preemption Timer", 25.5.2
 * "Monitor Trap Flag", 26.7 "Special Features of VM Entry". The timer counts at the rate of the
 * time-stamp counter: IA32_VMX_MISC[4:0] is 0.
 */
import { type Cpu, word } from '../cpu/cpu.ts';
import * as state from '../cpu/state.ts';
import type { Maddr } from '../memory/addresses.ts';
import { type ControlName, controlOf } from './controls.ts';
import { vmcsSlotOf } from './vmcs.ts';
import type { VmcsAccess } from './vmcs-access.ts';
import { vmcsEncodingOf } from './vmcs-fields.ts';

export interface BoundaryExits {
  /** At VM entry: starts the timer. */
  enter(now: number): void;
  /** Whether no control asks for a look between instructions. */
  readonly isFree: boolean;
  /** Whether every instruction has to be looked at on its own. */
  readonly watchesEach: boolean;
  /** Instructions that may run until the timer has to be looked at. */
  remaining(now: number): number;
  /** Makes the VM exit that is due before the next instruction; false if there is none. */
  exitsBefore(now: number): boolean;
  /** Makes the VM exit of the monitor trap flag, after an instruction or an event. */
  exitsAfter(): boolean;
  /** When the guest stops running: the timer's value, if it is to be saved. */
  leave(now: number): void;
}

const TIMER_VALUE = vmcsEncodingOf('VMX_PREEMPTION_TIMER_VALUE');
const PRIMARY = vmcsEncodingOf('PRIMARY_PROCESSOR_BASED_CONTROLS');
const RFLAGS_IF = 0x200;
const BLOCKED_BY_STI = 1;
const BLOCKED_BY_MOV_SS = 2;
const BLOCKED_NMI = 8;
/** In the shutdown and wait-for-SIPI states no window opens. */
const HLT = 1;

const bitOf = (name: ControlName): number => controlOf(name).bit;

export const createBoundaryExits = (
  cpu: Cpu,
  region: Maddr,
  { read, write, has, exit }: VmcsAccess,
): BoundaryExits => {
  const { words } = cpu.memory;
  const primarySlot = vmcsSlotOf(region, PRIMARY);
  const interruptWindow = bitOf('interrupt-window exiting');
  const nmiWindow = bitOf('NMI-window exiting');
  const trapFlag = bitOf('monitor trap flag');
  let timerEnd = Number.POSITIVE_INFINITY;

  const exitBetween = (reason: string): true => {
    cpu.instructionLength = 0;
    exit(reason);
    return true;
  };
  const windowExit = (primary: number): boolean => {
    const blocking = word(cpu, state.INTERRUPTIBILITY);
    if (word(cpu, state.ACTIVITY) > HLT) return false;
    if ((primary & nmiWindow) !== 0 && (blocking & (BLOCKED_BY_MOV_SS | BLOCKED_NMI)) === 0) {
      return exitBetween('NMI_WINDOW');
    }
    const isOpen =
      (primary & interruptWindow) !== 0 &&
      (word(cpu, state.RFLAGS_REST) & RFLAGS_IF) !== 0 &&
      (blocking & (BLOCKED_BY_STI | BLOCKED_BY_MOV_SS)) === 0;
    return isOpen && exitBetween('INTERRUPT_WINDOW');
  };
  return {
    enter(now) {
      const isActive = has('activate VMX-preemption timer');
      timerEnd = isActive ? now + Number(read(TIMER_VALUE)) : Number.POSITIVE_INFINITY;
    },
    get isFree() {
      return ((words[primarySlot] ?? 0) & (interruptWindow | nmiWindow | trapFlag)) === 0;
    },
    get watchesEach() {
      return ((words[primarySlot] ?? 0) & trapFlag) !== 0;
    },
    remaining: (now) => timerEnd - now,
    exitsBefore(now) {
      if (now >= timerEnd) return exitBetween('PREEMPTION_TIMER');
      const primary = words[primarySlot] ?? 0;
      return (primary & (interruptWindow | nmiWindow)) !== 0 && windowExit(primary);
    },
    exitsAfter: () =>
      ((words[primarySlot] ?? 0) & trapFlag) !== 0 && exitBetween('MONITOR_TRAP_FLAG'),
    leave(now) {
      if (timerEnd === Number.POSITIVE_INFINITY || !has('save VMX-preemption timer value')) return;
      write(TIMER_VALUE, BigInt(Math.max(0, timerEnd - now)));
    },
  };
};
