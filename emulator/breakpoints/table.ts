/**
 * The table of breakpoints: subscribes to the events that they need, and decides about stops.
 */
import type { EventStream, MachineEvent } from '../events.ts';
import type { Machine } from '../machine.ts';
import { matchesAddress } from './address.ts';
import type {
  AddressBreakpoint,
  Breakpoint,
  BreakpointContext,
  BreakpointHit,
  BreakpointOptions,
  BreakpointPlace,
  BreakpointTable,
} from './breakpoint.ts';
import { BREAKPOINT_KINDS } from './catalog.ts';
import type { PlacedWatch } from './data.ts';
import { matchesEvent } from './event.ts';

interface Entry {
  readonly id: number;
  readonly place: BreakpointPlace;
  readonly options: BreakpointOptions;
  readonly problem: string | undefined;
  enabled: boolean;
  hits: number;
  release: () => void;
}

export interface OwnedBreakpointTable extends BreakpointTable {
  /** Linear addresses that are to stop the engine. */
  addresses(): readonly bigint[];
  /** Data that is to be watched. */
  watches(): readonly PlacedWatch[];
  /** Breakpoints hit before an instruction; ids of those that stop. */
  hitAddress(domain: number, vcpu: number, rip: bigint): readonly number[];
  /** Ids of the breakpoints that stopped at this event; forgets them. */
  takeStops(): readonly number[];
}

/** `changed` is called when the addresses or the watched data may have changed. */
export const createBreakpointTable = (
  events: EventStream,
  machine: () => Machine,
  context: BreakpointContext,
  changed: () => void,
): OwnedBreakpointTable => {
  const entries = new Map<number, Entry>();
  let stops: number[] = [];
  let nextId = 1;

  const decide = (entry: Entry, hit: Omit<BreakpointHit, 'hits' | 'machine'>): boolean => {
    const context = (): BreakpointHit => ({ ...hit, machine: machine(), hits: entry.hits });
    if (entry.options.condition?.(context()) === false) return false;
    entry.hits += 1;
    if (entry.options.hitCondition?.(entry.hits) === false) return false;
    if (entry.options.log === undefined) return true;
    entry.options.log(context());
    return false;
  };
  const listen = (entry: Entry): (() => void) => {
    const { place } = entry;
    if (place.kind === 'address') return () => {};
    const kind = place.kind === 'event' ? place.event : 'memory-access';
    const isOwn = (event: MachineEvent): boolean =>
      place.kind === 'event'
        ? matchesEvent(place, event)
        : event.kind === 'memory-access' && event.watch === entry.id;
    return events.subscribe([kind], (event: MachineEvent) => {
      if (!isOwn(event)) return undefined;
      if (!decide(entry, { domain: event.domain, vcpu: event.vcpu, event })) return undefined;
      stops.push(entry.id);
      return 'stop';
    });
  };
  const view = ({ id, place, options, hits, problem, enabled }: Entry): Breakpoint => ({
    ...options,
    id,
    place,
    hits,
    problem,
    enabled,
  });
  const enable = (entry: Entry, enabled: boolean): void => {
    entry.release();
    entry.release = () => {};
    entry.enabled = enabled;
    if (enabled && entry.problem === undefined) entry.release = listen(entry);
    changed();
  };
  const active = (): Entry[] =>
    [...entries.values()].filter(({ enabled, problem }) => enabled && problem === undefined);
  return {
    add(place, options = {}) {
      const problem = BREAKPOINT_KINDS[place.kind].problemOf(place, context);
      const entry: Entry = {
        id: nextId,
        place,
        options,
        problem,
        enabled: false,
        hits: 0,
        release: () => {},
      };
      nextId += 1;
      entries.set(entry.id, entry);
      enable(entry, options.enabled ?? true);
      return view(entry);
    },
    remove(id) {
      entries.get(id)?.release();
      const was = entries.delete(id);
      changed();
      return was;
    },
    setEnabled(id, enabled) {
      const entry = entries.get(id);
      if (entry !== undefined) enable(entry, enabled);
    },
    clear() {
      for (const id of [...entries.keys()]) this.remove(id);
    },
    list: () => [...entries.values()].map(view),
    addresses: () =>
      active().flatMap(({ place }) =>
        place.kind === 'address' && place.space === 'gva' ? [place.address] : [],
      ),
    watches: () =>
      active().flatMap(({ id, place }) => (place.kind === 'data' ? [{ id, place }] : [])),
    hitAddress(domain, vcpu, rip) {
      const at = (place: BreakpointPlace): place is AddressBreakpoint =>
        place.kind === 'address' && matchesAddress(place, domain, vcpu, rip);
      return active()
        .filter((entry) => at(entry.place) && decide(entry, { domain, vcpu, event: undefined }))
        .map(({ id }) => id);
    },
    takeStops() {
      const taken = [...new Set(stops)];
      stops = [];
      return taken;
    },
  };
};
