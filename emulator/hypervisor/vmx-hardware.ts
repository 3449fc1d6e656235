/**
 * The hypervisor's hardware: VMCS regions and windows (emulator/vmx, emulator/cpu/state.ts), and
 * a guest processor that enters and runs what is loaded.
 */
import { WINDOW, WINDOW_BYTES } from '../cpu/state.ts';
import type { Watch } from '../cpu/watches.ts';
import type { Maddr } from '../memory/addresses.ts';
import type { MachineMemory } from '../memory/machine-memory.ts';
import {
  clearVmcs,
  readVmcs,
  runningWindow,
  savedWindow,
  type WindowSlots,
  writeVmcs,
} from '../vmx/vmcs.ts';
import type { XenVcpu } from './domain.ts';
import { FIELD, type Hardware } from './hardware.ts';

/** Entry and execution; everything else of the hardware is memory. */
export type GuestProcessor = Pick<
  Hardware,
  | 'run'
  | 'step'
  | 'resume'
  | 'trap'
  | 'loadSegment'
  | 'retired'
  | 'setQuickExit'
  | 'setViolationHandler'
  | 'setTsc'
  | 'setStandIns'
  | 'invalidateTranslations'
  | 'forgetFrame'
  | 'noteWrite'
  | 'setBreakpoints'
  | 'takeAccesses'
> & {
  setWatches?(watches: readonly Watch[]): void;
  /** TLB misses are counted by vCPU, if at all. */
  selectTlb?(tag: number): void;
  tlbMissesOf?(tag: number): number | undefined;
  /**
   * Checks and injection with this VMCS, whose guest state is in the window. `isChecked` tells that
   * software has written none of its fields that matter since the last entry.
   */
  enter(vmcs: number, isChecked: boolean): string | undefined;
  /** The window holds another vCPU now. */
  windowChanged(): void;
};

/** Fields that no check of VM entry looks at, or whose slot is compared (guest-processor.ts). */
const UNCHECKED: ReadonlySet<number> = new Set([
  FIELD.GUEST_RIP,
  FIELD.GUEST_RSP,
  FIELD.GUEST_RFLAGS,
  FIELD.GUEST_CR3,
  FIELD.GUEST_INTERRUPTIBILITY,
  FIELD.IDT_VECTORING_INFORMATION,
]);

const tlbTagOf = ({ domain, id }: XenVcpu): number => domain.id * 64 + id;

export const createVmxHardware = (memory: MachineMemory, processor: GuestProcessor): Hardware => {
  let loaded: XenVcpu | undefined;
  let watchesOf: ((vcpu: XenVcpu) => readonly Watch[]) | undefined;
  /** Whether software has written a field that the checks of VM entry look at. */
  let isChecked = false;
  const { bytes, view } = memory;
  const running = runningWindow(memory);
  const windowOf = (vcpu: XenVcpu): WindowSlots =>
    vcpu === loaded ? running : savedWindow(vcpu.window);
  const required = (): XenVcpu => {
    if (loaded === undefined) throw new Error('No VMCS is current.');
    return loaded;
  };
  const regionOf = ({ vmcs }: XenVcpu): Maddr => {
    if (vmcs === undefined) throw new Error('A PV vCPU has no VMCS.');
    return vmcs;
  };
  const peekField = (vcpu: XenVcpu, field: number): bigint => {
    const value = readVmcs(memory, vcpu.vmcs, windowOf(vcpu), field);
    if (value === undefined) throw new Error(`There is no VMCS field 0x${field.toString(16)}.`);
    return value;
  };
  const saved = (vcpu: XenVcpu): DataView =>
    new DataView(vcpu.window.buffer, vcpu.window.byteOffset, vcpu.window.byteLength);
  return {
    memory,
    get loaded() {
      return loaded;
    },
    get retired() {
      return processor.retired;
    },
    load(vcpu) {
      loaded?.window.set(bytes.subarray(WINDOW, WINDOW + WINDOW_BYTES));
      bytes.set(vcpu.window, WINDOW);
      loaded = vcpu;
      isChecked = false;
      processor.windowChanged();
      processor.selectTlb?.(tlbTagOf(vcpu));
      if (watchesOf !== undefined) processor.setWatches?.(watchesOf(vcpu));
    },
    read: (field) => peekField(required(), field),
    peekField,
    write(field, value) {
      const vcpu = required();
      if (!UNCHECKED.has(field)) isChecked = false;
      if (!writeVmcs(memory, vcpu.vmcs, windowOf(vcpu), field, value)) {
        throw new Error(`There is no VMCS field 0x${field.toString(16)}.`);
      }
    },
    prepareVmcs: (vcpu) => clearVmcs(memory, regionOf(vcpu)),
    enter() {
      const objection = processor.enter(regionOf(required()), isChecked);
      isChecked = objection === undefined;
      return objection;
    },
    resume() {
      isChecked = false;
      processor.resume?.();
    },
    loadSegment: (segment, selector) => processor.loadSegment?.(segment, selector) ?? false,
    get trap() {
      return processor.trap;
    },
    setQuickExit: (handle) => processor.setQuickExit?.(handle),
    setViolationHandler: (handle) => processor.setViolationHandler?.(handle),
    run: (budget) => processor.run(budget),
    step: (iterates) => processor.step(iterates),
    setTsc: (value) => processor.setTsc(value),
    setStandIns: (standIns) => processor.setStandIns?.(standIns),
    invalidateTranslations: () => processor.invalidateTranslations(),
    forgetFrame: (gfn, mfn) => processor.forgetFrame?.(gfn, mfn),
    noteWrite: (maddr, lengthBytes) => processor.noteWrite(maddr, lengthBytes),
    setBreakpoints: (addresses) => processor.setBreakpoints(addresses),
    setWatches(next) {
      watchesOf = next;
      if (loaded !== undefined) processor.setWatches?.(next(loaded));
    },
    tlbMissesOf: (vcpu) => processor.tlbMissesOf?.(tlbTagOf(vcpu)),
    takeAccesses: () => processor.takeAccesses?.() ?? { rip: 0n, accesses: [] },
    slot: (vcpu, address) =>
      vcpu === loaded
        ? view.getBigUint64(address, true)
        : saved(vcpu).getBigUint64(address - WINDOW, true),
    setSlot(vcpu, address, value) {
      if (vcpu === loaded) view.setBigUint64(address, value, true);
      else saved(vcpu).setBigUint64(address - WINDOW, value, true);
    },
    saveWindow: (vcpu) =>
      vcpu === loaded ? bytes.slice(WINDOW, WINDOW + WINDOW_BYTES) : vcpu.window.slice(),
    restoreWindow(vcpu, window) {
      vcpu.window.set(window);
      if (vcpu !== loaded) return;
      bytes.set(window, WINDOW);
      isChecked = false;
      processor.windowChanged();
    },
  };
};
