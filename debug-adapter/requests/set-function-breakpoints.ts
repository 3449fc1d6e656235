/** setFunctionBreakpoints: symbols, addresses, and events by name, `vmexit:cpuid`. */
import type { DebugProtocol } from '@vscode/debugprotocol';
import type { BreakpointTarget } from '../breakpoints/request.ts';
import { isEventName, parseEventName, parseWatchName } from '../event-names.ts';
import { defineRequest, type Session } from './request.ts';

export const setFunctionBreakpoints = defineRequest<
  DebugProtocol.SetFunctionBreakpointsArguments,
  DebugProtocol.SetFunctionBreakpointsResponse['body']
>({
  command: 'setFunctionBreakpoints',
  capabilities: { supportsFunctionBreakpoints: true },
  handle(session, { breakpoints }) {
    const requests = breakpoints.map(({ name, condition, hitCondition }) => ({
      key: JSON.stringify([name, condition, hitCondition]),
      condition,
      hitCondition,
      target: () => targetOfName(session, name),
    }));
    return { breakpoints: session.breakpoints.replace('function breakpoint', '', requests) };
  },
});

/** What a name means: an event, watched memory, an address, or a symbol of any domain. */
export const targetOfName = ({ debuggee }: Session, text: string): BreakpointTarget => {
  const name = text.trim();
  const { machine, guests } = debuggee;
  const watch = parseWatchName(name, machine.current.domain);
  const event = watch ?? (isEventName(name) ? parseEventName(name) : undefined);
  if (event !== undefined) {
    return 'problem' in event ? { places: [], problem: event.problem } : { places: [event] };
  }
  if (/^(0x[0-9a-f]+|\d+)$/i.test(name)) {
    return { places: [{ kind: 'address', space: 'gva', address: BigInt(name) }] };
  }
  const places = guests.flatMap(({ domain, symbols }) => {
    const address = symbols.addressOf(name);
    return address === undefined
      ? []
      : [{ kind: 'address' as const, space: 'gva' as const, address, domain }];
  });
  return places.length > 0
    ? { places }
    : { places, problem: `No program has a symbol '${name}', and no event is spelled so.` };
};
