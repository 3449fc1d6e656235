/** The kinds of event, and how they are filtered, for `--help`. */
import type { EventKind } from '../../emulator/index.ts';

const KINDS: Readonly<Record<EventKind, readonly [example: string, meaning: string]>> = {
  'vm-exit': ['vm-exit:cpuid,hlt', 'by basic exit reason, name or number'],
  'vm-entry': ['vm-entry', ''],
  trap: ['trap:user,#pf', 'a PV guest enters the hypervisor'],
  hypercall: ['hypercall:memory_op', 'by name, sub-operation or number'],
  'ept-violation': ['ept-violation:write,0x1000-0x1fff', 'by access and guest-physical range'],
  'shadow-fault': ['shadow-fault:sync,write', 'by cause, access and guest-physical range'],
  'shadow-update': ['shadow-update:unshadow', 'shadow, unshadow or sync, and a range of the table'],
  balloon: ['balloon:decrease', 'decrease or populate, and a range'],
  'p2m-change': ['p2m-change:ballooned', 'by the new type and a range'],
  'page-shared': ['page-shared:0x200000-0x3fffff', 'by range'],
  'page-unshared': ['page-unshared:0x200000-0x3fffff', 'by range'],
  'page-swapped': ['page-swapped:out,0x200000-0x3fffff', 'in or out, policy, range'],
  'log-dirty': ['log-dirty:0x200000-0x3fffff', 'by range'],
  exception: ['exception:#pf,13', "the guest's, by name or vector"],
  interrupt: ['interrupt:64', 'by vector'],
  'event-channel': ['event-channel:send', 'send, bind, close or upcall, or the port'],
  grant: ['grant:transfer', 'map, unmap or transfer'],
  xenstore: ['xenstore:write', 'by request'],
  'context-switch': ['context-switch', ''],
  'page-table-update': ['page-table-update:write', 'direct paging: by means, type, machine range'],
  'page-table-pin': ['page-table-pin:pin', 'pin or unpin, type, machine range'],
  'mmu-refusal': ['mmu-refusal:einval', 'by error, machine range'],
  domain: ['domain:crashed', 'by the new state'],
  console: ['console', ''],
  'memory-access': ['watch:gva:0x1000-0x1007:write', 'gva, gpa or maddr; read, write or readwrite'],
};

/** A line for each kind. */
export const eventHelp = (): string =>
  Object.values(KINDS)
    .map(([example, meaning]) => `  ${example.padEnd(36)}${meaning}`.trimEnd())
    .join('\n');
