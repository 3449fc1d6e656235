/** hyperstep/setEventBreakpoints: what is ticked in the VM Events tree. */
import type { SetEventBreakpointsArguments, SetEventBreakpointsResponse } from '../protocol.ts';
import { defineRequest } from './request.ts';
import { targetOfName } from './set-function-breakpoints.ts';

export const setEventBreakpoints = defineRequest<
  SetEventBreakpointsArguments,
  SetEventBreakpointsResponse
>({
  command: 'hyperstep/setEventBreakpoints',
  handle(session, { breakpoints }) {
    const requests = breakpoints.map((one) => ({
      key: JSON.stringify([one.name, one.condition, one.hitCondition, one.logMessage]),
      condition: one.condition,
      hitCondition: one.hitCondition,
      logMessage: one.logMessage,
      target: () => targetOfName(session, one.name),
    }));
    return { breakpoints: session.breakpoints.replace('event', '', requests) };
  },
});
