/**
 * The machine that is debugged, with what the debugger knows of its programs.
 */
import { createMachine, type Machine, type Vcpu } from '../emulator/index.ts';
import { createListing, type Listing } from './listing.ts';
import type { OpenedGuests } from './programs/open-guests.ts';
import type { OpenedProgram } from './programs/open-program.ts';
import { createSourceMap, type SourceMap } from './programs/source-map.ts';
import { createSymbolTable, type SymbolTable } from './programs/symbols.ts';
import { findVcpu, vcpuOfThread } from './threads.ts';

export interface GuestProgram {
  readonly domain: number;
  readonly program: OpenedProgram;
  readonly sources: SourceMap;
  readonly symbols: SymbolTable;
  readonly listing: Listing;
}

export interface Debuggee {
  readonly machine: Machine;
  readonly guests: readonly GuestProgram[];
  guestOf(domain: number): GuestProgram;
  /** The thread's vCPU, or the one that stopped. Throws RangeError if there is no such thread. */
  vcpuOf(threadId: number | undefined): Vcpu;
}

/** Throws MachineConfigError. `console` gets what guests print. */
export const createDebuggee = (
  { config, programs }: OpenedGuests,
  console: (domain: number, text: string) => void,
): Debuggee => {
  const machine = createMachine({ ...config, console });
  const guests = machine.domains.flatMap(({ id }, index): GuestProgram[] => {
    const program = programs[index];
    if (program === undefined) return [];
    const view = machine.program(id);
    const sources = createSourceMap(program, view);
    const symbols = createSymbolTable(view.symbols);
    const boundaries = [...sources.boundaries, ...symbols.symbols.map(({ address }) => address)];
    const listing = createListing(machine, boundaries);
    return [{ domain: id, program, sources, symbols, listing }];
  });
  return {
    machine,
    guests,
    guestOf(domain) {
      const guest = guests.find((one) => one.domain === domain);
      if (guest === undefined) throw new RangeError(`There is no domain ${domain}.`);
      return guest;
    },
    vcpuOf(threadId) {
      const { domain, vcpu } = threadId === undefined ? machine.current : vcpuOfThread(threadId);
      const found = findVcpu(machine, domain, vcpu);
      if (found === undefined)
        throw new RangeError(`There is no vCPU ${vcpu} in domain ${domain}.`);
      return found;
    },
  };
};
