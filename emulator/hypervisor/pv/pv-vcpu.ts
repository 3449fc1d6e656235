/**
 * What Xen keeps of a PV vCPU beside its registers: where its kernel wants to be called, its stack,
 * its descriptor tables. Its roots of page tables are direct paging's (mmu/roots.ts).
 * Source: Xen public/xen.h (trap_info), callback.h; struct pv_vcpu for what belongs together.
 */
import type { Mfn } from '../../memory/addresses.ts';
import type { SavedValue } from '../hypervisor.ts';

/** Where an exception is bounced to; address 0: nowhere. */
export interface PvGate {
  readonly selector: number;
  readonly address: bigint;
  /** The least privileged level that may raise it by INT n. */
  readonly dpl: number;
  readonly masksEvents: boolean;
}

export interface PvCallback {
  readonly address: bigint;
  readonly masksEvents: boolean;
}

/** CALLBACKTYPE_ by number; the others are of 32-bit guests. */
export const CALLBACK_NAMES = {
  0: 'event',
  1: 'failsafe',
  2: 'syscall',
  4: 'nmi',
  5: 'sysenter',
  7: 'syscall32',
} as const;
export type CallbackName = (typeof CALLBACK_NAMES)[keyof typeof CALLBACK_NAMES];

export interface PvVcpu {
  /** The kernel runs, or one of its processes. */
  isKernel: boolean;
  kernelSs: number;
  kernelSp: bigint;
  readonly gates: Map<number, PvGate>;
  readonly callbacks: Map<CallbackName, PvCallback>;
  gdtFrames: readonly Mfn[];
  gdtEntries: number;
  /** Linear address; 0 entries: there is none. */
  ldtBase: bigint;
  ldtEntries: number;
  /** CR0.TS as the guest has set it. */
  taskSwitched: boolean;
  cr4: bigint;
  /** 0 to 3. */
  iopl: number;
  /** By VCPUOP_initialise, or the domain builder. */
  isInitialized: boolean;
  /** Selector of GS in user mode, by SEGBASE_GS_USER_SEL. */
  userGs: number;
  /** VCPUOP_register_runstate_memory_area; 0: nowhere. */
  runstateArea: bigint;
}

export const createPvVcpu = (): PvVcpu => ({
  isKernel: true,
  kernelSs: 0,
  kernelSp: 0n,
  gates: new Map(),
  callbacks: new Map(),
  gdtFrames: [],
  gdtEntries: 0,
  ldtBase: 0n,
  ldtEntries: 0,
  taskSwitched: false,
  cr4: 0x660n,
  iopl: 0,
  isInitialized: false,
  userGs: 0,
  runstateArea: 0n,
});

export const savePvVcpu = (pv: PvVcpu): SavedValue => ({
  isKernel: pv.isKernel,
  kernelSs: pv.kernelSs,
  kernelSp: `${pv.kernelSp}`,
  gates: [...pv.gates].map(([vector, gate]) => [
    vector,
    gate.selector,
    `${gate.address}`,
    gate.dpl,
    gate.masksEvents,
  ]),
  callbacks: [...pv.callbacks].map(([name, { address, masksEvents }]) => [
    name,
    `${address}`,
    masksEvents,
  ]),
  gdtFrames: [...pv.gdtFrames],
  gdtEntries: pv.gdtEntries,
  ldtBase: `${pv.ldtBase}`,
  ldtEntries: pv.ldtEntries,
  taskSwitched: pv.taskSwitched,
  cr4: `${pv.cr4}`,
  iopl: pv.iopl,
  isInitialized: pv.isInitialized,
  userGs: pv.userGs,
  runstateArea: `${pv.runstateArea}`,
});

/** The shape that savePvVcpu gives. */
interface SavedPvVcpu {
  readonly isKernel: boolean;
  readonly kernelSs: number;
  readonly kernelSp: string;
  readonly gates: readonly (readonly [number, number, string, number, boolean])[];
  readonly callbacks: readonly (readonly [CallbackName, string, boolean])[];
  readonly gdtFrames: readonly number[];
  readonly gdtEntries: number;
  readonly ldtBase: string;
  readonly ldtEntries: number;
  readonly taskSwitched: boolean;
  readonly cr4: string;
  readonly iopl: number;
  readonly isInitialized: boolean;
  readonly userGs: number;
  readonly runstateArea: string;
}

export const restorePvVcpu = (pv: PvVcpu, value: SavedValue): void => {
  const saved = value as unknown as SavedPvVcpu;
  Object.assign(pv, {
    isKernel: saved.isKernel,
    kernelSs: saved.kernelSs,
    kernelSp: BigInt(saved.kernelSp),
    gdtFrames: saved.gdtFrames,
    gdtEntries: saved.gdtEntries,
    ldtBase: BigInt(saved.ldtBase),
    ldtEntries: saved.ldtEntries,
    taskSwitched: saved.taskSwitched,
    cr4: BigInt(saved.cr4),
    iopl: saved.iopl,
    isInitialized: saved.isInitialized,
    userGs: saved.userGs,
    runstateArea: BigInt(saved.runstateArea),
  });
  pv.gates.clear();
  for (const [vector, selector, address, dpl, masksEvents] of saved.gates) {
    pv.gates.set(vector, { selector, address: BigInt(address), dpl, masksEvents });
  }
  pv.callbacks.clear();
  for (const [name, address, masksEvents] of saved.callbacks) {
    pv.callbacks.set(name, { address: BigInt(address), masksEvents });
  }
};
