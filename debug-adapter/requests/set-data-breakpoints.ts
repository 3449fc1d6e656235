/** setDataBreakpoints: watched memory; ids are those of dataBreakpointInfo. */
import type { DebugProtocol } from '@vscode/debugprotocol';
import type { BreakpointTarget } from '../breakpoints/request.ts';
import { parseReference } from '../memory-reference.ts';
import { defineRequest, type Session } from './request.ts';

export const setDataBreakpoints = defineRequest<
  DebugProtocol.SetDataBreakpointsArguments,
  DebugProtocol.SetDataBreakpointsResponse['body']
>({
  command: 'setDataBreakpoints',
  handle(session, { breakpoints }) {
    const requests = breakpoints.map((one) => ({
      key: JSON.stringify(one),
      condition: one.condition,
      hitCondition: one.hitCondition,
      target: () => targetOfData(session, one.dataId, one.accessType ?? 'write'),
    }));
    return { breakpoints: session.breakpoints.replace('data breakpoint', '', requests) };
  },
});

const targetOfData = (
  { debuggee }: Session,
  dataId: string,
  access: DebugProtocol.DataBreakpointAccessType,
): BreakpointTarget => {
  const [, reference = '', bytes = ''] = /^(.*)\+(\d+)$/.exec(dataId) ?? [];
  const place = parseReference(reference, debuggee.machine.current);
  if (place === undefined || Number(bytes) === 0) {
    return { places: [], problem: `'${dataId}' names no memory.` };
  }
  const { space, address } = place;
  const owner = space.kind === 'maddr' ? {} : { domain: space.domain };
  return {
    places: [
      { kind: 'data', space: space.kind, address, lengthBytes: Number(bytes), access, ...owner },
    ],
  };
};
