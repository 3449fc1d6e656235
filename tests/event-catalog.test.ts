/**
 * Every kind of event can be ticked, named and is explained in words.
 */
import { expect, test } from 'vitest';
import { EVENT_CATALOG } from '../debug-adapter/event-catalog.ts';
import { parseEventName } from '../debug-adapter/event-names.ts';
import { explainEvent, titleOf } from '../debug-adapter/stops.ts';
import { matchesEvent } from '../emulator/breakpoints/event.ts';
import type { EventKind, MachineEvent } from '../emulator/index.ts';

const place = { domain: 1, vcpu: 0, retired: 7, timeNs: 9, rip: 0x10_0000n };

/** One event of each kind, without its place: the compiler asks for those of new kinds. */
const SAMPLES: Readonly<Record<EventKind, object>> = {
  'vm-exit': {
    reason: 'CPUID',
    number: 10,
    qualification: 0n,
    instructionLength: 2,
    guestLinear: 0n,
    guestPhysical: 0,
    interruptionInformation: 0,
    instructionInformation: 0,
  },
  trap: {
    source: 'exception',
    name: '#PF',
    vector: 14,
    errorCode: 2,
    address: 0x1234n,
    mode: 'kernel',
  },
  'vm-entry': { injected: 0x20 },
  hypercall: {
    number: 12,
    name: 'memory_op',
    operation: 'XENMEM_decrease_reservation',
    args: [1n],
    decoded: undefined,
    result: undefined,
    stage: 'call',
  },
  'ept-violation': {
    gpa: 0x5000,
    gva: 0x5000n,
    access: 'write',
    qualification: 2n,
    p2mType: 'hole',
  },
  'shadow-fault': {
    cause: 'fill',
    gva: 0x5000n,
    gpa: 0x5000,
    access: 'write',
    errorCode: 2,
    p2mType: 'ram',
  },
  'shadow-update': {
    action: 'sync',
    gfn: 5,
    level: 1,
    index: 3,
    guestEntry: 0x7n,
    shadowEntry: 0x9027n,
  },
  balloon: { direction: 'decrease', gfn: 5, mfn: 6 },
  'p2m-change': { gfn: 5, oldType: 'ram', newType: 'shared', mfn: 6 },
  'page-shared': { gfn: 5, oldMfn: 6, mfn: 7, references: 2 },
  'page-unshared': { gfn: 5, oldMfn: 7, mfn: 8, references: 1 },
  'page-swapped': { direction: 'out', gfn: 5, mfn: 6, slot: 1, policy: 'lru' },
  'log-dirty': { gfn: 5, mfn: 6 },
  exception: { vector: 14, name: 'PF', errorCode: 2, address: 0x1234n },
  interrupt: { vector: 0x20, source: 'event-channel upcall' },
  'event-channel': { port: 3, action: 'send' },
  grant: { action: 'map', other: 2, reference: 8, mfn: 6 },
  xenstore: { request: 'read', path: 'memory/target', value: '', answer: '1024' },
  'context-switch': { pcpu: 0, from: { domain: 2, vcpu: 0 } },
  'page-table-update': {
    mfn: 6,
    type: 'l1_page_table',
    slot: 3,
    oldEntry: 0n,
    newEntry: 0x7027n,
    by: 'mmu_update',
    gva: undefined,
  },
  'page-table-pin': { action: 'pin', mfn: 6, type: 'l4_page_table' },
  'mmu-refusal': {
    error: 'EINVAL',
    mfn: 6,
    level: 1,
    entry: 7n,
    by: 'hypercall',
    reason: 'Not its frame.',
  },
  'memory-access': {
    watch: 1,
    by: 'instruction',
    gva: 0x5000n,
    maddr: 0x6000,
    lengthBytes: 8,
    write: true,
    value: 1n,
    oldValue: 0n,
  },
  domain: { state: 'paused', reason: undefined },
  console: { text: 'Hello' },
};

const KINDS = Object.keys(SAMPLES) as EventKind[];
const sampleOf = (kind: EventKind): MachineEvent =>
  ({ ...place, ...SAMPLES[kind], kind }) as unknown as MachineEvent;

/** Kinds that are no group to tick, and why. */
const NOT_TICKED: Partial<Readonly<Record<EventKind, string>>> = {
  'memory-access': 'data breakpoints watch memory',
};

test.each(KINDS)('%s can be ticked and named', (kind) => {
  const isTicked = EVENT_CATALOG.some(({ name }) => name === kind);

  expect(isTicked).toBe(NOT_TICKED[kind] === undefined);
  if (isTicked) {
    const parsed = parseEventName(kind);
    expect(parsed).toEqual({ kind: 'event', event: kind });
    if ('kind' in parsed) expect(matchesEvent(parsed, sampleOf(kind))).toBe(true);
  }
});

/** The machine explains them itself, with the steps of their handler. */
const EXPLAINED_ELSEWHERE: readonly EventKind[] = ['vm-exit'];

test.each(KINDS)('%s has a title and is explained', (kind) => {
  const event = sampleOf(kind);
  const lines = explainEvent(event);

  expect(titleOf(event).length).toBeGreaterThan(5);
  expect(lines.length).toBeGreaterThan(EXPLAINED_ELSEWHERE.includes(kind) ? 0 : 1);
  for (const line of lines) {
    expect(line).toMatch(/[.!?]$/);
    expect(line).not.toMatch(/undefined|\[object|NaN/);
  }
});

const groups = EVENT_CATALOG.flatMap(({ name, filterHint, events }) => [
  ...events.flatMap((event) => [event, ...(event.children ?? [])]).map((event) => event.name),
  ...(filterHint === undefined ? [] : [`${name}:${filterHint}`]),
]);

test.each(groups)('%s is a name that is understood', (name) => {
  expect(parseEventName(name)).toMatchObject({ kind: 'event' });
});

test.each(EVENT_CATALOG.map((group) => [group.name, group] as const))(
  'an event of kind %s is ticked by one of its names',
  (kind, { events }) => {
    if (events.length === 0) return;
    const seen = sampleOf(kind as EventKind);
    const names = events.flatMap((event) => [event, ...(event.children ?? [])]);
    const matching = names.filter(({ name }) => {
      const parsed = parseEventName(name);
      return 'kind' in parsed && matchesEvent(parsed, seen);
    });

    expect(matching.length).toBeGreaterThan(0);
    expect(matching.length).toBeLessThan(names.length);
  },
);
