/**
 * Why the machine stopped, in the words of the SDM and of Xen.
 */
import type {
  AccessEvent,
  EventChannelEvent,
  GrantEvent,
  MachineEvent,
  P2mChangeEvent,
  P2mType,
  ShadowFaultEvent,
  StopReason,
} from '../emulator/index.ts';
import { exceptionOf } from '../isa/index.ts';
import type { Carrier } from './breakpoints/request.ts';
import { hex } from './numbers.ts';
import { P2M_WORDS } from './p2m-words.ts';
import { threadIdOf, vcpuName } from './threads.ts';

/** A stop as DAP's `stopped` event and `exceptionInfo` tell of it. */
export interface Stop {
  readonly threadId: number;
  /** DAP's reason. */
  readonly reason: string;
  /** A few words: the badge at the thread. */
  readonly description: string;
  /** The whole explanation, a line each. */
  readonly explanation: readonly string[];
  readonly hitBreakpointIds: readonly number[];
  readonly event: MachineEvent | undefined;
}

/** `current` is the vCPU that ran last; `hit` maps ids of the machine's table to the client's. */
export const describeStop = (
  stop: StopReason,
  current: { readonly domain: number; readonly vcpu: number },
  hit: (ids: readonly number[]) => { readonly ids: readonly number[]; readonly carrier: Carrier },
): Stop => {
  const place = 'event' in stop ? stop.event : 'vcpu' in stop ? stop : current;
  const threadId = threadIdOf(place.domain, place.vcpu);
  const plain = { threadId, hitBreakpointIds: [], event: undefined };
  switch (stop.why) {
    case 'step':
      return { ...plain, reason: 'step', description: 'Paused on step', explanation: [] };
    case 'budget':
      return { ...plain, reason: 'pause', description: 'Paused', explanation: [] };
    case 'idle':
      return {
        ...plain,
        reason: 'pause',
        description: 'Paused: all vCPUs wait',
        explanation: [
          'Every vCPU is blocked, paused or off line, and no timer is set: nothing can wake them.',
          'In the Debug Console, "xl list" shows the domains and "xl unpause 1" lets one run.',
        ],
      };
    case 'breakpoint': {
      const { ids, carrier } = hit(stop.ids);
      return {
        ...plain,
        hitBreakpointIds: ids,
        reason: carrier,
        description: `Paused on ${carrier === 'event' ? 'breakpoint' : carrier}`,
        explanation: [],
      };
    }
    case 'event':
      return describeEvent(stop.event, threadId, hit(stop.ids));
    case 'end':
      return {
        ...plain,
        threadId: stop.domain === current.domain ? threadId : threadIdOf(stop.domain, 0),
        reason: 'exception',
        description: `Domain ${stop.domain} ended: ${stop.reason}`,
        explanation: [stop.explanation],
      };
  }
};

const describeEvent = (
  event: MachineEvent,
  threadId: number,
  { ids, carrier }: { readonly ids: readonly number[]; readonly carrier: Carrier },
): Stop => {
  const title = titleOf(event);
  // For 'breakpoint' VS Code would leave the side bar with the ticked events for its own.
  const reason =
    event.kind === 'exception' || carrier === 'exception'
      ? 'exception'
      : event.kind === 'memory-access'
        ? 'data breakpoint'
        : carrier;
  return {
    threadId,
    reason,
    description: title,
    explanation: explainEvent(event),
    hitBreakpointIds: ids,
    event,
  };
};

const UPDATES = {
  shadow: 'Table shadowed',
  unshadow: 'Table not shadowed any more',
  sync: 'Shadow entry follows',
} as const;

/** An event in a few words: 'VM exit 10 CPUID'. */
export const titleOf = (event: MachineEvent): string => {
  switch (event.kind) {
    case 'vm-exit':
      return `VM exit ${event.number} ${event.reason}`;
    case 'trap':
      return `Trap ${event.name} of the guest's ${event.mode}`;
    case 'vm-entry':
      return event.injected === undefined ? 'VM entry' : `VM entry injecting ${event.injected}`;
    case 'hypercall':
      return `Hypercall ${event.operation ?? event.name}`;
    case 'ept-violation':
      return `EPT violation: ${event.access} of gpa ${hex(event.gpa)}`;
    case 'shadow-fault':
      return `Shadow fault, ${event.cause}: ${event.access} of ${hex(event.gva)}`;
    case 'shadow-update':
      return `${UPDATES[event.action]}: level ${event.level}, gfn ${hex(event.gfn)}`;
    case 'balloon':
      return `Balloon ${event.direction}: gfn ${hex(event.gfn)}`;
    case 'p2m-change':
      return `P2M change: gfn ${hex(event.gfn)}`;
    case 'page-shared':
      return `Page shared: gfn ${hex(event.gfn)}`;
    case 'page-unshared':
      return `Page unshared: gfn ${hex(event.gfn)}`;
    case 'page-swapped':
      return `Page swapped ${event.direction}: gfn ${hex(event.gfn)}`;
    case 'log-dirty':
      return `First write to a clean page: gfn ${hex(event.gfn)}`;
    case 'page-table-update':
      return `Page-table update: ${event.type}, mfn ${hex(event.mfn)}, slot ${event.slot}`;
    case 'page-table-pin':
      return `${event.action === 'pin' ? 'Pin' : 'Unpin'}: mfn ${hex(event.mfn)}, ${event.type}`;
    case 'mmu-refusal':
      return `Direct paging refuses: ${event.error}, mfn ${hex(event.mfn)}`;
    case 'exception':
      return `Exception #${event.name}`;
    case 'interrupt':
      return `Interrupt ${hex(event.vector)}`;
    case 'event-channel':
      return `Event channel ${event.action}: port ${event.port}`;
    case 'grant':
      return `Grant ${event.action}: reference ${event.reference} of domain ${event.other}`;
    case 'xenstore':
      return `XenStore ${event.request}: ${event.path}`;
    case 'context-switch':
      return `Context switch on pCPU ${event.pcpu}`;
    case 'memory-access':
      return `${event.write ? 'Write' : 'Read'} of ${event.gva === undefined ? `maddr ${hex(event.maddr)}` : hex(event.gva)}`;
    case 'domain':
      return `Domain ${event.domain} ${event.state}`;
    case 'console':
      return 'Console output';
  }
};

const argumentsOf = (decoded: Readonly<Record<string, bigint | number | string>>): string =>
  Object.entries(decoded)
    .map(([name, value]) => `${name} = ${typeof value === 'string' ? value : hex(value)}`)
    .join(', ');

/** SDM Vol. 3A 4.7, "Page-Fault Exceptions": the bits of the error code. */
const PAGE_FAULT_BITS: readonly (readonly [string, string])[] = [
  ['the page is not present', 'a protection violation'],
  ['a read', 'a write'],
  ['in supervisor mode', 'in user mode'],
  ['', 'a reserved bit is set in a paging-structure entry'],
  ['', 'an instruction fetch'],
];

const pageFaultWords = (errorCode: number): string =>
  PAGE_FAULT_BITS.map(([clear, set], bit) => ((errorCode >> bit) & 1 ? set : clear))
    .filter((word) => word !== '')
    .join(', ');

const FAULT_CAUSES: Readonly<Record<ShadowFaultEvent['cause'], string>> = {
  guest: "The guest's own tables refuse it: the guest gets the #PF.",
  fill: "The guest's tables allow it: the shadow lacks the entries, or their rights.",
  sync: "It is a write to a table of the guest's that is shadowed: it is emulated, and the shadow follows.",
  override:
    'The page is read-only, and CR0.WP is clear for the guest alone: the write is emulated.',
  p2m: 'The P2M does not allow it.',
};

/** What happened, a line each. Exits are explained by the machine itself (`exitInProgress`). */
export const explainEvent = (event: MachineEvent): string[] => {
  const where = `${vcpuName(event.domain, event.vcpu)} at RIP ${hex(event.rip)}, after ${event.retired} instructions.`;
  switch (event.kind) {
    case 'hypercall': {
      const name = event.operation === undefined ? event.name : `${event.name}: ${event.operation}`;
      const call = `Hypercall ${event.number}, ${name}, arguments ${event.args.map(hex).join(', ')}.`;
      const decoded =
        event.decoded === undefined ? [] : [`Its structure: ${argumentsOf(event.decoded)}.`];
      const result =
        event.result === undefined ? [] : [`Result: ${BigInt.asIntN(64, event.result)}.`];
      return [call, ...decoded, ...result, where];
    }
    case 'ept-violation':
      return [
        `A ${event.access} of guest-physical address ${hex(event.gpa)}, which the P2M has as ${event.p2mType}.`,
        ...(event.gva === undefined ? [] : [`Guest-linear address: ${hex(event.gva)}.`]),
        where,
      ];
    case 'shadow-fault':
      return [
        `A ${event.access} of ${hex(event.gva)} faulted: ${pageFaultWords(event.errorCode)}.`,
        FAULT_CAUSES[event.cause],
        ...(event.gpa === undefined
          ? []
          : [`Guest-physical address: ${hex(event.gpa)}, ${event.p2mType ?? 'hole'} in the P2M.`]),
        where,
      ];
    case 'shadow-update':
      return [
        `${titleOf(event)}${event.index === undefined ? '' : `, entry ${event.index}`}.`,
        ...(event.guestEntry === undefined || event.shadowEntry === undefined
          ? []
          : [`Guest entry ${hex(event.guestEntry)}, shadow entry ${hex(event.shadowEntry)}.`]),
        where,
      ];
    case 'balloon':
      return [
        event.direction === 'decrease'
          ? `The guest gives gfn ${hex(event.gfn)} back; ${event.mfn === undefined ? 'it had no frame of its own' : `mfn ${hex(event.mfn)} is free again`}.`
          : `The guest takes gfn ${hex(event.gfn)}; it gets ${event.mfn === undefined ? 'a frame when it touches it' : `mfn ${hex(event.mfn)}`}.`,
        where,
      ];
    case 'page-shared':
      return [
        `gfn ${hex(event.gfn)} has mfn ${hex(event.mfn)} now, read-only, in common with others: ${event.references} in all. mfn ${hex(event.oldMfn)} was its own.`,
        where,
      ];
    case 'page-unshared':
      return [
        `A write to gfn ${hex(event.gfn)} gets it mfn ${hex(event.mfn)} for its own; ${event.references} are left that share mfn ${hex(event.oldMfn)}.`,
        where,
      ];
    case 'page-swapped':
      return [
        event.direction === 'out'
          ? `gfn ${hex(event.gfn)} goes to slot ${event.slot} of the swap device, chosen by ${event.policy}; mfn ${hex(event.mfn)} is free.`
          : `gfn ${hex(event.gfn)} comes back from slot ${event.slot} of the swap device, into mfn ${hex(event.mfn)}.`,
        where,
      ];
    case 'grant':
      return [explainGrant(event), where];
    case 'xenstore':
      return [
        `Request ${event.request} of ${event.path === '' ? 'no path' : event.path}${event.value === '' ? '' : `, ${JSON.stringify(event.value)}`}.`,
        `Answer: ${JSON.stringify(event.answer)}.`,
        where,
      ];
    case 'exception': {
      const known = exceptionOf(event.vector);
      const error = event.errorCode;
      return [
        `Exception ${event.vector}, #${event.name}${known === undefined ? '' : ` ${known.title} (${known.class})`}.`,
        ...(error === undefined
          ? []
          : [
              `Error code: ${hex(error)}${event.vector === 14 ? `, ${pageFaultWords(error)}` : ''}.`,
            ]),
        ...(event.address === undefined ? [] : [`CR2: ${hex(event.address)}.`]),
        where,
      ];
    }
    case 'page-table-update':
      return [
        `Slot ${event.slot} of mfn ${hex(event.mfn)}, ${event.type}, by ${event.by}${event.gva === undefined ? '' : ` for ${hex(event.gva)}`}.`,
        `Before: ${hex(event.oldEntry)}, now: ${hex(event.newEntry)}.`,
        where,
      ];
    case 'mmu-refusal':
      return [
        event.reason,
        ...(event.entry === undefined ? [] : [`L${event.level} entry: ${hex(event.entry)}.`]),
        event.by === 'write' ? 'The guest gets the page fault.' : `The guest gets -${event.error}.`,
        where,
      ];
    case 'memory-access':
      return [...explainAccess(event), where];
    case 'p2m-change':
      return [explainP2mChange(event), where];
    case 'log-dirty':
      return [
        `gfn ${hex(event.gfn)} was read-only to find this write; mfn ${hex(event.mfn)} may be written from now on, and the page is noted as dirty.`,
        where,
      ];
    case 'page-table-pin':
      return [
        event.action === 'pin'
          ? `mfn ${hex(event.mfn)} stays a validated ${event.type} until it is unpinned, whether an entry leads to it or not.`
          : `mfn ${hex(event.mfn)} is no longer held to be a ${event.type}; it is one as long as an entry leads to it.`,
        where,
      ];
    case 'event-channel':
      return [CHANNEL_ACTIONS[event.action](event.port), where];
    case 'interrupt':
      return [`Vector ${hex(event.vector)} is delivered to the guest: ${event.source}.`, where];
    case 'vm-entry':
      return [
        event.injected === undefined
          ? 'The guest goes on.'
          : `The guest goes on in its handler of vector ${hex(event.injected)}.`,
        where,
      ];
    case 'context-switch':
      return [
        `pCPU ${event.pcpu} runs ${vcpuName(event.domain, event.vcpu)} now; before, ${event.from === undefined ? 'it was idle' : `it ran ${vcpuName(event.from.domain, event.from.vcpu)}`}.`,
        where,
      ];
    case 'domain':
      return [
        `Domain ${event.domain} is ${event.state}${event.reason === undefined ? '' : `: ${event.reason}`}.`,
        where,
      ];
    case 'console':
      return [`The guest printed ${JSON.stringify(event.text)}.`, where];
    case 'trap':
      return [
        ...(event.errorCode === undefined
          ? []
          : [
              `Error code: ${hex(event.errorCode)}${event.vector === 14 ? `, ${pageFaultWords(event.errorCode)}` : ''}.`,
            ]),
        ...(event.address === undefined ? [] : [`CR2: ${hex(event.address)}.`]),
        where,
      ];
    case 'vm-exit':
      return [where];
  }
};

const CHANNEL_ACTIONS: Readonly<Record<EventChannelEvent['action'], (port: number) => string>> = {
  send: (port) => `An event is sent through port ${port}; the port at its far end is pending.`,
  bind: (port) => `Port ${port} is in use now: it can get events.`,
  close: (port) => `Port ${port} is free again, and gets no more events.`,
  upcall: (port) => `Port ${port} is pending and not masked: the vCPU is told by its upcall.`,
};

const explainP2mChange = ({ gfn, oldType, newType, mfn }: P2mChangeEvent): string => {
  const before = oldType === newType ? 'stays' : `was ${oldType}, and is now`;
  const words = P2M_WORDS[newType as P2mType] ?? newType;
  const frame = mfn === undefined ? 'without a machine frame' : `at mfn ${hex(mfn)}`;
  return `gfn ${hex(gfn)} ${before} ${newType} (${words}), ${frame}.`;
};

const explainGrant = ({ action, other, reference, mfn, domain }: GrantEvent): string => {
  const grant = `reference ${reference} in the grant table of domain ${other}`;
  if (action === 'transfer') {
    return `Domain ${domain} gives mfn ${hex(mfn)} to domain ${other}, by ${grant}.`;
  }
  return `Domain ${domain} ${action}s mfn ${hex(mfn)} of domain ${other}, by ${grant}.`;
};

const originOf = ({ by, rip }: AccessEvent): string =>
  by === 'instruction'
    ? `The instruction at ${hex(rip)}`
    : by === 'page walk'
      ? 'A page walk, setting accessed and dirty bits,'
      : 'The hypervisor';

const explainAccess = (event: AccessEvent): string[] => {
  const { by, gva, maddr, lengthBytes, write, value, oldValue } = event;
  // A walk happens for an address; what it changes is an entry on the way.
  const place =
    by === 'instruction' && gva !== undefined
      ? `${hex(gva)}, machine address ${hex(maddr)}`
      : `machine address ${hex(maddr)}`;
  const bytes = lengthBytes === 1 ? '1 byte' : `${lengthBytes} bytes`;
  const cause = by === 'page walk' && gva !== undefined ? ` on the way to ${hex(gva)}` : '';
  return [
    `${originOf(event)} ${write ? 'wrote' : 'read'} ${bytes} at ${place}${cause}.`,
    ...(value === undefined && oldValue === undefined
      ? []
      : [
          write && oldValue !== undefined
            ? `Before: ${hex(oldValue)}${value === undefined ? '' : `, now: ${hex(value)}`}.`
            : `Value: ${hex(value ?? 0n)}.`,
        ]),
  ];
};
