/**
 * The door of the emulator.
 */

export { fromBase64, toBase64 } from './base64.ts';
export type {
  AddressBreakpoint,
  Breakpoint,
  BreakpointHit,
  BreakpointOptions,
  BreakpointPlace,
  BreakpointTable,
  DataBreakpoint,
  EventBreakpoint,
  EventFilter,
} from './breakpoints/breakpoint.ts';
export { BREAKPOINT_KINDS } from './breakpoints/catalog.ts';
export { type Cost, costsOf, totalOf } from './costs.ts';
export { createMachineOn, type HardwareFactory } from './create-machine.ts';
export { createMachine } from './create-vmx-machine.ts';
export type * from './events.ts';
export { EXIT_HANDLERS } from './hypervisor/exits/catalog.ts';
export { HYPERCALL_NAMES, HYPERCALLS } from './hypervisor/hypercalls/catalog.ts';
export type { SwapDevice } from './hypervisor/memory/swap-device.ts';
export { SWAP_MAGIC } from './hypervisor/memory/swap-slots.ts';
export { swapBytesOf } from './hypervisor/memory/units.ts';
export { P2M_TYPES, type P2mType } from './hypervisor/p2m.ts';
export { PAGE_TYPES } from './hypervisor/pv/mmu/page-types.ts';
export * from './machine.ts';
export * from './memory/addresses.ts';
export { parseScenario } from './scenario/parse-scenario.ts';
export type * from './scenario/scenario.ts';
export { EXIT_REASONS } from './vmx/exit-reasons.ts';
