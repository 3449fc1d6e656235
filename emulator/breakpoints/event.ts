/**
 * Breakpoints at events of the stream.
 */
import type {
  MachineEvent,
  MmuRefusalEvent,
  PageTablePinEvent,
  PageTableUpdateEvent,
} from '../events.ts';
import type { EventBreakpoint, EventFilter } from './breakpoint.ts';

/** Whether the event is one that the breakpoint is for. */
export const matchesEvent = (
  { event, filter = {} }: EventBreakpoint,
  seen: MachineEvent,
): boolean =>
  seen.kind === event &&
  (filter.domain ?? seen.domain) === seen.domain &&
  (filter.vcpu ?? seen.vcpu) === seen.vcpu &&
  matchesName(filter, seen) &&
  (filter.numbers === undefined || filter.numbers.includes(numberOf(seen) ?? -1)) &&
  matchesRange(filter, seen) &&
  (filter.access === undefined || filter.access.some((access) => access === accessOf(seen))) &&
  (filter.direction === undefined ||
    (seen.kind === 'balloon' && seen.direction === filter.direction)) &&
  (seen.kind !== 'hypercall' || seen.stage === (filter.stage ?? 'call'));

const matchesName = ({ names }: EventFilter, event: MachineEvent): boolean => {
  if (names === undefined) return true;
  const own = namesOf(event).map((name) => name.toLowerCase());
  return names.some((name) => own.includes(name.toLowerCase()));
};

const namesOf = (event: MachineEvent): string[] => {
  switch (event.kind) {
    case 'vm-exit':
      return [event.reason];
    case 'trap':
      return [event.name, event.name.replace(/^#/, ''), event.source, event.mode];
    case 'hypercall':
      return [event.name, ...(event.operation === undefined ? [] : [event.operation])];
    case 'exception':
      return [event.name, `#${event.name}`];
    case 'event-channel':
      return [event.action];
    case 'grant':
      return [event.action];
    case 'xenstore':
      return [event.request, event.path];
    case 'domain':
      return [event.state];
    case 'p2m-change':
      return [event.newType];
    case 'page-swapped':
      return [event.direction, event.policy];
    case 'ept-violation':
      return [event.p2mType];
    case 'page-table-update':
      return [event.by, event.type];
    case 'page-table-pin':
      return [event.action, event.type];
    case 'mmu-refusal':
      return [event.error];
    case 'shadow-fault':
      return [event.cause];
    case 'shadow-update':
      return [event.action];
    default:
      return [];
  }
};

const numberOf = (event: MachineEvent): number | undefined => {
  switch (event.kind) {
    case 'vm-exit':
    case 'hypercall':
      return event.number;
    case 'exception':
    case 'interrupt':
    case 'trap':
      return event.vector;
    case 'event-channel':
      return event.port;
    case 'grant':
      return event.reference;
    default:
      return undefined;
  }
};

const accessOf = (event: MachineEvent): string | undefined => {
  if (event.kind === 'ept-violation' || event.kind === 'shadow-fault') return event.access;
  if (event.kind === 'memory-access') return event.write ? 'write' : 'read';
  return undefined;
};

const isAboutTable = (
  event: MachineEvent,
): event is PageTableUpdateEvent | PageTablePinEvent | MmuRefusalEvent =>
  event.kind === 'page-table-update' ||
  event.kind === 'page-table-pin' ||
  event.kind === 'mmu-refusal';

const matchesRange = ({ range }: EventFilter, event: MachineEvent): boolean => {
  if (range === undefined) return true;
  if (event.kind === 'ept-violation') return event.gpa >= range.first && event.gpa <= range.last;
  if (event.kind === 'shadow-fault') {
    return event.gpa !== undefined && event.gpa >= range.first && event.gpa <= range.last;
  }
  if ('gfn' in event) {
    const first = event.gfn * 4096;
    return first + 4095 >= range.first && first <= range.last;
  }
  if (isAboutTable(event)) {
    const first = event.mfn * 4096;
    return first + 4095 >= range.first && first <= range.last;
  }
  return false;
};
