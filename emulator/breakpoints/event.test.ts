import { expect, test } from 'vitest';
import { EventStream, type MachineEvent } from '../events.ts';
import type { Machine } from '../machine.ts';
import type { EventBreakpoint } from './breakpoint.ts';
import { matchesEvent } from './event.ts';
import { createBreakpointTable } from './table.ts';

const exit = (reason: string, number: number): MachineEvent =>
  ({ kind: 'vm-exit', reason, number, domain: 1, vcpu: 0 }) as MachineEvent;
const cpuid: EventBreakpoint = { kind: 'event', event: 'vm-exit', filter: { names: ['cpuid'] } };

test('names match whatever their case', () => {
  expect(matchesEvent(cpuid, exit('CPUID', 10))).toBe(true);
  expect(matchesEvent(cpuid, exit('HLT', 12))).toBe(false);
});

test('an EPT violation matches by range and access', () => {
  const seen = { kind: 'ept-violation', gpa: 0x5000, access: 'write', domain: 1, vcpu: 0 };
  const at = (first: number, last: number): EventBreakpoint => ({
    kind: 'event',
    event: 'ept-violation',
    filter: { range: { first, last }, access: ['write'] },
  });
  expect(matchesEvent(at(0x5000, 0x5fff), seen as MachineEvent)).toBe(true);
  expect(matchesEvent(at(0x6000, 0x6fff), seen as MachineEvent)).toBe(false);
});

test('a hit condition counts hits whose condition held, and a logpoint does not stop', () => {
  const events = new EventStream();
  const table = createBreakpointTable(
    events,
    () => ({}) as Machine,
    { ramBytes: 0, domains: () => [] },
    () => {},
  );
  const logged: number[] = [];
  const { id } = table.add(cpuid, { hitCondition: (hits) => hits === 2 });
  table.add(cpuid, { log: ({ hits }) => logged.push(hits) });

  const verdicts = [1, 2, 3].map(() => events.emit(exit('CPUID', 10)));

  expect(verdicts).toEqual([undefined, 'stop', undefined]);
  expect(table.takeStops()).toEqual([id]);
  expect(logged).toEqual([1, 2, 3]);
});

test('a removed breakpoint costs nothing: nobody listens any more', () => {
  const events = new EventStream();
  const table = createBreakpointTable(
    events,
    () => ({}) as Machine,
    { ramBytes: 0, domains: () => [] },
    () => {},
  );
  const { id } = table.add(cpuid);
  table.remove(id);

  expect(events.wants('vm-exit')).toBe(false);
});
