/** setExceptionBreakpoints: the coarse filters that every client shows. */
import type { DebugProtocol } from '@vscode/debugprotocol';
import type { EventBreakpoint } from '../../emulator/index.ts';
import { defineRequest } from './request.ts';

interface ExceptionFilter {
  readonly filter: string;
  readonly label: string;
  readonly description: string;
  readonly isDefault: boolean;
  /** undefined: not an event; the session itself stops. */
  readonly place: EventBreakpoint | undefined;
  /** Added to what the user demands. */
  readonly condition?: string;
}

const exception = (
  filter: string,
  label: string,
  description: string,
  vector?: number,
): ExceptionFilter => ({
  filter,
  label,
  description,
  isDefault: false,
  place: {
    kind: 'event',
    event: 'exception',
    ...(vector === undefined ? {} : { filter: { numbers: [vector] } }),
  },
});

/** VS Code remembers a choice by id, label and description: they are not to be reworded. */
export const EXCEPTION_FILTERS: readonly ExceptionFilter[] = [
  {
    filter: 'guest-crash',
    label: 'Guest Crashes',
    description: 'Triple faults, failed VM entries, SHUTDOWN_crash',
    isDefault: true,
    place: undefined,
  },
  exception('guest-exception', 'Guest Exceptions', 'Any exception delivered to a guest'),
  exception('page-fault', 'Page Faults', 'Exception 14, #PF', 14),
  exception('general-protection', 'General Protection Faults', 'Exception 13, #GP', 13),
  exception('invalid-opcode', 'Invalid Opcodes', 'Exception 6, #UD', 6),
  exception('double-fault', 'Double Faults', 'Exception 8, #DF', 8),
  {
    filter: 'ept-violation',
    label: 'EPT Violations',
    description: 'Accesses that the P2M does not allow',
    isDefault: false,
    place: { kind: 'event', event: 'ept-violation' },
  },
  {
    filter: 'unknown-hypercall',
    label: 'Unknown Hypercalls',
    description: 'Hypercalls that return -ENOSYS',
    isDefault: false,
    place: { kind: 'event', event: 'hypercall', filter: { stage: 'return' } },
    condition: 'hypercall.result == -38',
  },
];

export const setExceptionBreakpoints = defineRequest<
  DebugProtocol.SetExceptionBreakpointsArguments,
  DebugProtocol.SetExceptionBreakpointsResponse['body']
>({
  command: 'setExceptionBreakpoints',
  capabilities: { supportsExceptionFilterOptions: true },
  handle(session, { filters, filterOptions = [] }) {
    const asked = [
      ...filters.map((filterId) => ({ filterId, condition: undefined })),
      ...filterOptions,
    ];
    session.stopsAtCrash = asked.some(({ filterId }) => filterId === 'guest-crash');
    const requests = asked.map(({ filterId, condition }) => {
      const known = EXCEPTION_FILTERS.find(({ filter }) => filter === filterId);
      const both = [known?.condition, condition].filter((one) => one !== undefined && one !== '');
      return {
        key: JSON.stringify([filterId, condition]),
        condition: both.map((one) => `(${one})`).join(' && '),
        target: () => ({
          places: known?.place === undefined ? [] : [known.place],
          ...(known === undefined ? { problem: `There is no filter '${filterId}'.` } : {}),
        }),
      };
    });
    const breakpoints = session.breakpoints.replace('exception', '', requests);
    return {
      breakpoints: breakpoints.map((one, index) =>
        asked[index]?.filterId === 'guest-crash' ? { ...one, verified: true } : one,
      ),
    };
  },
});
