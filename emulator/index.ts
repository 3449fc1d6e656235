/**
 * The door of the emulator.
 */
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
export type * from './events.ts';
export * from './machine.ts';
export * from './memory/addresses.ts';
export type * from './scenario/scenario.ts';
