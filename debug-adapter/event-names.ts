/**
 * Spelling of event breakpoints, the same on every carrier: KIND[:FILTER], as in `vmexit:cpuid`,
 * `hypercall:memory_op`, `exception:14`, `ept-violation:write`, `balloon:decrease`.
 */
import type { EventBreakpoint, EventFilter, EventKind } from '../emulator/index.ts';

/** Short and full names; the full ones are those of the event stream. */
const KINDS: ReadonlyMap<string, EventKind> = new Map<string, EventKind>([
  ['vmexit', 'vm-exit'],
  ['vmentry', 'vm-entry'],
  ['ept', 'ept-violation'],
  ['p2m', 'p2m-change'],
  ...(
    [
      'vm-exit',
      'vm-entry',
      'hypercall',
      'ept-violation',
      'balloon',
      'p2m-change',
      'exception',
      'interrupt',
      'event-channel',
      'context-switch',
      'domain',
      'console',
    ] as const
  ).map((kind) => [kind, kind] as const),
]);

export type ParsedEvent = EventBreakpoint | { readonly problem: string };

function filterOf(kind: EventKind, text: string): EventFilter | undefined {
  const words = text.split(',').map((word) => word.trim());
  if (words.some((word) => word === '')) return undefined;
  if (kind === 'balloon') {
    const [direction, ...rest] = words;
    const known = direction === 'decrease' || direction === 'populate';
    return known && rest.length === 0 ? { direction } : undefined;
  }
  if (kind === 'ept-violation') {
    const access = words.filter(
      (word) => word === 'read' || word === 'write' || word === 'execute',
    );
    return access.length === words.length ? { access } : undefined;
  }
  const isNumber = (word: string) => /^(0x[0-9a-f]+|\d+)$/i.test(word);
  if (words.every(isNumber)) return { numbers: words.map(Number) };
  return words.some(isNumber) ? undefined : { names: words };
}

/** Reads KIND[:FILTER]; a filter is words or numbers with commas between them. */
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
  return { kind: 'event', event, filter };
}
