/**
 * What there is to break on: exit reasons, hypercalls, exceptions and the other kinds of event,
 * from the emulator's own catalogs.
 */
import {
  EXIT_HANDLERS,
  EXIT_REASONS,
  HYPERCALL_NAMES,
  HYPERCALLS,
  P2M_TYPES,
  PAGE_TYPES,
} from '../emulator/index.ts';
import { EXCEPTIONS } from '../isa/index.ts';
import { P2M_WORDS } from './p2m-words.ts';
import type { EventCatalogEntry, EventCatalogGroup } from './protocol.ts';

const handled = new Set(EXIT_HANDLERS.map(({ number }) => number));

const exits: EventCatalogEntry[] = EXIT_REASONS.filter(({ number }) => handled.has(number)).map(
  ({ number, name, title }) => ({
    name: `vm-exit:${name.toLowerCase()}`,
    label: name,
    number,
    description: `Basic exit reason ${number}: ${title}.`,
  }),
);

const hypercalls: EventCatalogEntry[] = Object.entries(HYPERCALL_NAMES).flatMap(([key, label]) => {
  const number = Number(key);
  const own = HYPERCALLS.filter((one) => one.number === number);
  if (own.length === 0) return [];
  // What differs by the type of the domain is one operation.
  const operations = own.filter(
    ({ command }, index) =>
      command !== undefined && own.findIndex((one) => one.command === command) === index,
  );
  const entry = {
    name: `hypercall:${label}`,
    label,
    number,
    description: operations.length === 0 ? (own[0]?.title ?? label) : `All operations of ${label}.`,
  };
  if (operations.length === 0) return [entry];
  const children = operations.map(({ name, title, command }) => ({
    name: `hypercall:${name}`,
    label: name,
    number: command ?? 0,
    description: title,
  }));
  return [{ ...entry, children }];
});

const exceptions: EventCatalogEntry[] = EXCEPTIONS.map(({ name, vector, title }) => ({
  name: `exception:${vector}`,
  label: `#${name}`,
  number: vector,
  description: `${title}, vector ${vector}.`,
}));

const entry = (name: string, label: string, description: string): EventCatalogEntry => ({
  name,
  label,
  description,
});

/** L1 to L4 of a PV guest's page tables. */
const pageTypes = (kind: string, what: string): EventCatalogEntry[] =>
  PAGE_TYPES.filter((type) => type.endsWith('_page_table')).map((type) =>
    entry(`${kind}:${type}`, type, `${what}.`),
  );

export const EVENT_CATALOG: readonly EventCatalogGroup[] = [
  {
    name: 'vm-exit',
    label: 'VM exits',
    description: 'The guest does what the VMCS says must exit; stops before it is handled.',
    events: exits,
  },
  {
    name: 'vm-entry',
    label: 'VM entries',
    description: 'The hypervisor is done with an exit, and the guest goes on.',
    events: [],
  },
  {
    name: 'trap',
    label: 'PV traps',
    description: 'A PV guest enters the hypervisor without VMX; stops before it is handled.',
    filterHint: 'user,#PF',
    events: [
      entry('trap:syscall', 'SYSCALL', 'A hypercall of the kernel, or a system call of a process.'),
      entry('trap:sysenter', 'SYSENTER', 'A system call of a 32-bit process.'),
      entry('trap:software-interrupt', 'INT n', 'INT3, INTO or INT 80h.'),
      ...EXCEPTIONS.map(({ name, vector, title }) => ({
        name: `trap:${vector}`,
        label: `#${name}`,
        number: vector,
        description: `${title}, vector ${vector}, before the guest hears of it.`,
      })),
    ],
  },
  {
    name: 'hypercall',
    label: 'Hypercalls',
    description: 'The guest calls the hypervisor; stops before the call is served.',
    events: hypercalls,
  },
  {
    name: 'ept-violation',
    label: 'EPT violations',
    description: 'The guest accesses a guest-physical address in a way that EPT does not allow.',
    filterHint: 'write,0x1000-0x1fff',
    events: [
      entry('ept-violation:read', 'Read', 'A data read.'),
      entry('ept-violation:write', 'Write', 'A data write.'),
      entry('ept-violation:execute', 'Execute', 'An instruction fetch.'),
    ],
  },
  {
    name: 'shadow-fault',
    label: 'Shadow faults',
    description: 'A page fault of a domain without EPT, which shadow page tables have or lack.',
    filterHint: 'sync,0x1000-0x1fff',
    events: [
      entry('shadow-fault:guest', 'Guest', "The guest's own tables refuse the access."),
      entry('shadow-fault:fill', 'Fill', "The shadow lacks what the guest's tables say."),
      entry('shadow-fault:sync', 'Sync', 'The guest writes a table that is shadowed.'),
      entry('shadow-fault:override', 'Override', 'A write that only a clear CR0.WP allows.'),
      entry('shadow-fault:p2m', 'P2M', 'The P2M does not allow the access.'),
    ],
  },
  {
    name: 'shadow-update',
    label: 'Shadow updates',
    description: "Shadow page tables follow the guest's.",
    filterHint: 'sync,0x1000-0x1fff',
    events: [
      entry('shadow-update:shadow', 'Shadow', 'A table of the guest gets a shadow page.'),
      entry('shadow-update:unshadow', 'Unshadow', 'A table of the guest loses its shadow page.'),
      entry('shadow-update:sync', 'Sync', 'An entry has been written, and the shadow follows.'),
    ],
  },
  {
    name: 'balloon',
    label: 'Balloon',
    description: 'The guest gives pages back to the hypervisor, or takes them again.',
    filterHint: 'decrease,0x200000-0x3fffff',
    events: [
      entry('balloon:decrease', 'Decrease', 'The guest gives a page back.'),
      entry('balloon:populate', 'Populate', 'The guest takes a page.'),
    ],
  },
  {
    name: 'page-shared',
    label: 'Page sharing',
    description: 'The scan of Dom0 finds a page of known content, and gives it the common frame.',
    filterHint: '0x200000-0x3fffff',
    events: [],
  },
  {
    name: 'page-unshared',
    label: 'Pages unshared',
    description: 'A guest writes to a page that is shared, and gets a frame of its own.',
    filterHint: '0x200000-0x3fffff',
    events: [],
  },
  {
    name: 'page-swapped',
    label: 'Memory swap',
    description: 'A page goes to the swap device, or comes back.',
    filterHint: 'out,0x200000-0x3fffff',
    events: [
      entry('page-swapped:out', 'Out', 'A page goes to the swap device.'),
      entry('page-swapped:in', 'In', 'A page that was touched comes back.'),
    ],
  },
  {
    name: 'log-dirty',
    label: 'Log-dirty writes',
    description: 'The first write to a page since it was clean, in log-dirty mode.',
    filterHint: '0x200000-0x3fffff',
    events: [],
  },
  {
    name: 'exception',
    label: 'Guest exceptions',
    description: 'An exception is delivered to the guest through its IDT.',
    events: exceptions,
  },
  {
    name: 'interrupt',
    label: 'Interrupts',
    description: 'The hypervisor injects an interrupt.',
    filterHint: '0x20',
    events: [],
  },
  {
    name: 'event-channel',
    label: 'Event channels',
    description: 'An event channel is bound, closed, or an event is sent.',
    events: [
      entry('event-channel:send', 'Send', 'An event is sent.'),
      entry('event-channel:bind', 'Bind', 'A port is bound.'),
      entry('event-channel:close', 'Close', 'A port is closed.'),
      entry('event-channel:upcall', 'Upcall', 'A vCPU is told of pending events.'),
    ],
  },
  {
    name: 'grant',
    label: 'Grants',
    description: 'A page of another domain is mapped or unmapped, or goes to another domain.',
    events: [
      entry('grant:map', 'Map', 'A granted page is mapped.'),
      entry('grant:unmap', 'Unmap', 'A mapping of a granted page ends.'),
      entry('grant:transfer', 'Transfer', 'A page goes to another domain for good.'),
    ],
  },
  {
    name: 'xenstore',
    label: 'XenStore',
    description: 'A domain asks xenstore for something; stops when the answer is on its way.',
    filterHint: 'write',
    events: [
      'read',
      'write',
      'directory',
      'mkdir',
      'rm',
      'getPermissions',
      'setPermissions',
      'watch',
      'unwatch',
      'transactionStart',
      'transactionEnd',
    ].map((request) =>
      entry(`xenstore:${request.toLowerCase()}`, request, `A request of type ${request}.`),
    ),
  },
  {
    name: 'p2m-change',
    label: 'P2M changes',
    description: 'A guest frame gets another machine frame or another type.',
    filterHint: 'shared,0x1000-0x1fff',
    events: P2M_TYPES.map((type) =>
      entry(`p2m-change:${type}`, type, `A guest frame becomes ${type}: ${P2M_WORDS[type]}.`),
    ),
  },
  {
    name: 'page-table-update',
    label: 'Page-table updates',
    description: "A PV guest's page table gets a new entry, which the hypervisor has checked.",
    filterHint: 'l1_page_table,0x12345000',
    events: [
      entry('page-table-update:mmu_update', 'mmu_update', 'By the hypercall mmu_update.'),
      entry(
        'page-table-update:update_va_mapping',
        'update_va_mapping',
        'By the hypercall update_va_mapping.',
      ),
      entry('page-table-update:write', 'Write', 'A plain write, which was emulated.'),
      ...pageTypes('page-table-update', 'An entry of a table of this type changes'),
    ],
  },
  {
    name: 'page-table-pin',
    label: 'Pinned page tables',
    description: 'A PV guest holds a frame to its being a page table, or lets go of it.',
    filterHint: 'l4_page_table',
    events: [
      entry('page-table-pin:pin', 'Pin', 'A frame is pinned.'),
      entry('page-table-pin:unpin', 'Unpin', 'A frame is unpinned.'),
      ...pageTypes('page-table-pin', 'A frame is pinned or unpinned as this type'),
    ],
  },
  {
    name: 'mmu-refusal',
    label: 'Direct paging refuses',
    description: 'A PV guest asks for a page table or an entry that it may not have.',
    filterHint: 'EINVAL',
    events: ['EINVAL', 'EBUSY', 'EPERM'].map((error) =>
      entry(`mmu-refusal:${error}`, error, `The guest gets -${error}.`),
    ),
  },
  {
    name: 'context-switch',
    label: 'Context switches',
    description: 'The scheduler gives a pCPU to another vCPU.',
    events: [],
  },
  {
    name: 'domain',
    label: 'Domain life cycle',
    description: 'A domain is paused, unpaused, shut down, crashes or is destroyed.',
    events: ['paused', 'unpaused', 'shutdown', 'crashed', 'destroyed'].map((state) =>
      entry(`domain:${state}`, state, `The domain is ${state}.`),
    ),
  },
  {
    name: 'console',
    label: 'Console output',
    description: 'A guest prints on its console.',
    events: [],
  },
];
