/**
 * Spelling of event breakpoints, the same on every carrier: KIND[:FILTER], as in `vmexit:cpuid`,
 * `hypercall:memory_op`, `exception:14`, `ept-violation:write,0x1000-0x1fff`, `balloon:decrease`;
 * and of watched memory: `watch:gpa:0x1000-0x1007:write`.
 */
import {
  type DataBreakpoint,
  type EventBreakpoint,
  type EventFilter,
  type EventKind,
  EXIT_REASONS,
  HYPERCALL_NAMES,
  HYPERCALLS,
  P2M_TYPES,
  PAGE_TYPES,
} from '../emulator/index.ts';
import { EXCEPTIONS } from '../isa/index.ts';

/** Short and full names; the full ones are those of the event stream. */
const KINDS: ReadonlyMap<string, EventKind> = new Map<string, EventKind>([
  ['vmexit', 'vm-exit'],
  ['vmentry', 'vm-entry'],
  ['ept', 'ept-violation'],
  ['p2m', 'p2m-change'],
  ['shadow', 'shadow-fault'],
  ...(
    [
      'vm-exit',
      'vm-entry',
      'trap',
      'hypercall',
      'ept-violation',
      'shadow-fault',
      'shadow-update',
      'balloon',
      'p2m-change',
      'page-shared',
      'page-unshared',
      'page-swapped',
      'log-dirty',
      'page-table-update',
      'page-table-pin',
      'mmu-refusal',
      'exception',
      'interrupt',
      'event-channel',
      'grant',
      'xenstore',
      'context-switch',
      'domain',
      'console',
    ] as const
  ).map((kind) => [kind, kind] as const),
]);

export type ParsedEvent = EventBreakpoint | { readonly problem: string };

const NUMBER = /^(0x[0-9a-f]+|\d+)$/i;
const RANGE = /^(0x[0-9a-f]+|\d+)-(0x[0-9a-f]+|\d+)$/i;
/** Kinds whose events happen at addresses, with words of their own. */
const PLACED: ReadonlySet<EventKind> = new Set<EventKind>([
  'balloon',
  'ept-violation',
  'shadow-fault',
  'shadow-update',
]);
const ACCESSES = ['read', 'write', 'execute'] as const;

/** Kinds whose events have names, whatever they are, and happen at an address. */
const NAMED_AND_PLACED: ReadonlySet<EventKind> = new Set<EventKind>([
  'p2m-change',
  'page-shared',
  'page-unshared',
  'page-swapped',
  'log-dirty',
  'page-table-update',
  'page-table-pin',
  'mmu-refusal',
]);

const lower = (names: readonly string[]): readonly string[] => [
  ...new Set(names.map((name) => name.toLowerCase())),
];

/** The names of kinds whose events have some out of a closed set. */
const NAMES: Partial<Readonly<Record<EventKind, readonly string[]>>> = {
  'vm-exit': lower(EXIT_REASONS.map(({ name }) => name)),
  hypercall: lower([...Object.values(HYPERCALL_NAMES), ...HYPERCALLS.map(({ name }) => name)]),
  exception: lower(EXCEPTIONS.flatMap(({ name }) => [`#${name}`, name])),
  'event-channel': ['send', 'bind', 'close', 'upcall'],
  'shadow-fault': ['guest', 'fill', 'sync', 'override', 'p2m'],
  'shadow-update': ['shadow', 'unshadow', 'sync'],
  grant: ['map', 'unmap', 'transfer'],
  domain: ['created', 'paused', 'unpaused', 'shutdown', 'crashed', 'destroyed'],
  trap: lower([
    ...EXCEPTIONS.flatMap(({ name }) => [`#${name}`, name]),
    ...['exception', 'software-interrupt', 'syscall', 'sysenter', 'kernel', 'user'],
  ]),
  'p2m-change': P2M_TYPES,
  'page-shared': [],
  'page-unshared': [],
  'log-dirty': [],
  'page-swapped': ['out', 'in', 'random', 'lru', 'clock'],
  'page-table-update': ['mmu_update', 'update_va_mapping', 'write', ...PAGE_TYPES],
  'page-table-pin': ['pin', 'unpin', ...PAGE_TYPES],
  interrupt: [],
  'vm-entry': [],
  'context-switch': [],
  console: [],
};

/** Kinds whose events have no number. */
const UNNUMBERED: ReadonlySet<EventKind> = new Set<EventKind>([
  'domain',
  'vm-entry',
  'context-switch',
  'console',
]);

/** Why no event of the kind has such a name or number; undefined if one may. */
function objectionTo(
  kind: EventKind,
  { names = [], numbers = [] }: EventFilter,
): string | undefined {
  if (numbers.length > 0 && UNNUMBERED.has(kind)) return `events of kind ${kind} have no numbers`;
  const vector = kind === 'exception' ? numbers.find((number) => number > 31) : undefined;
  if (vector !== undefined) return `exceptions have vectors from 0 to 31, not ${vector}`;
  const known = NAMES[kind];
  const strange = known === undefined ? undefined : names.find((name) => !known.includes(name));
  if (strange === undefined) return undefined;
  return known?.length === 0
    ? `events of kind ${kind} have no names`
    : `'${strange}' is no event of kind ${kind}; there are ${known?.join(', ')}`;
}

function rangeOf(words: readonly string[]): EventFilter['range'] {
  for (const word of words) {
    const [, first, last] = RANGE.exec(word) ?? (NUMBER.test(word) ? [word, word, word] : []);
    if (first !== undefined && last !== undefined) {
      return { first: Number(first), last: Number(last) };
    }
  }
  return undefined;
}

/** Kinds whose events happen at addresses take a range; other words are checked by kind. */
function placedFilter(kind: EventKind, words: readonly string[]): EventFilter | undefined {
  const range = rangeOf(words);
  const rest = words.filter((word) => !RANGE.test(word) && !NUMBER.test(word));
  if (words.length - rest.length > 1) return undefined;
  const placed: EventFilter = range === undefined ? {} : { range };
  if (rest.length === 0) return placed;
  if (kind === 'balloon') {
    const [direction, ...more] = rest;
    const isKnown = direction === 'decrease' || direction === 'populate';
    return isKnown && more.length === 0 ? { ...placed, direction } : undefined;
  }
  if (NAMED_AND_PLACED.has(kind)) return { ...placed, names: rest };
  const known = NAMES[kind] ?? [];
  const names = rest.filter((word) => known.includes(word));
  const access = ACCESSES.filter((word) => rest.includes(word));
  if (access.length + names.length !== rest.length) return undefined;
  return {
    ...placed,
    ...(access.length === 0 ? {} : { access }),
    ...(names.length === 0 ? {} : { names }),
  };
}

function filterOf(kind: EventKind, text: string): EventFilter | undefined {
  const words = text.split(',').map((word) => word.trim());
  if (words.some((word) => word === '')) return undefined;
  if (PLACED.has(kind) || NAMED_AND_PLACED.has(kind)) return placedFilter(kind, words);
  if (words.every((word) => NUMBER.test(word))) return { numbers: words.map(Number) };
  return words.some((word) => NUMBER.test(word)) ? undefined : { names: words };
}

/** Whether the text begins as the name of an event does. */
export const isEventName = (text: string): boolean =>
  KINDS.has((text.split(':')[0] ?? '').trim().toLowerCase());

/** Reads KIND[:FILTER]; a filter is words, numbers or a range with commas between them. */
export function parseEventName(text: string): ParsedEvent {
  const [head = '', ...tail] = text.split(':');
  const event = KINDS.get(head.trim().toLowerCase());
  if (event === undefined) {
    return { problem: `'${head}' is no kind of event; there are ${[...KINDS.keys()].join(', ')}` };
  }
  if (tail.length === 0) return { kind: 'event', event };
  const filter = filterOf(event, tail.join(':').toLowerCase());
  if (filter === undefined) {
    return { problem: `'${tail.join(':')}' does not filter events of kind ${event}` };
  }
  const problem = objectionTo(event, filter);
  if (problem !== undefined) return { problem };
  return { kind: 'event', event, filter };
}

const WATCH =
  /^watch:(?:d(\d+):)?(gva|gpa|maddr):(0x[0-9a-f]+|\d+)(?:-(0x[0-9a-f]+|\d+))?(?::(read|write|readwrite))?$/i;

/**
 * Reads `watch:[dDOMAIN:]SPACE:FIRST[-LAST][:ACCESS]`; undefined if it does not begin with `watch:`.
 * The addresses are those of `domain` unless it says otherwise.
 */
export function parseWatchName(
  text: string,
  domain: number,
): DataBreakpoint | { readonly problem: string } | undefined {
  if (!/^\s*watch:/i.test(text)) return undefined;
  const [, own, space, first = '0', last = first, access = 'write'] = WATCH.exec(text.trim()) ?? [];
  const lengthBytes = Number(BigInt(last) - BigInt(first) + 1n);
  if (space === undefined || lengthBytes <= 0) {
    return { problem: `'${text}' is no watch; expected is watch:gpa:0x1000-0x1007:write` };
  }
  return {
    kind: 'data',
    space: space.toLowerCase() as DataBreakpoint['space'],
    address: BigInt(first),
    lengthBytes,
    access: access.toLowerCase() === 'readwrite' ? 'readWrite' : (access.toLowerCase() as 'read'),
    ...(space.toLowerCase() === 'maddr' ? {} : { domain: Number(own ?? domain) }),
  };
}
