/**
 * initialize: what the adapter can do. Exception filters must be in this answer; clients do not
 * take them later.
 */
import type { DebugProtocol } from '@vscode/debugprotocol';
import { defineRequest } from './request.ts';
import { EXCEPTION_FILTERS } from './set-exception-breakpoints.ts';

export const initialize = defineRequest<
  DebugProtocol.InitializeRequestArguments,
  DebugProtocol.Capabilities
>({
  command: 'initialize',
  handle(session, args) {
    session.client = args;
    const capabilities: DebugProtocol.Capabilities = {
      exceptionBreakpointFilters: EXCEPTION_FILTERS.map(
        ({ filter, label, description, isDefault }) => ({
          filter,
          label,
          description,
          default: isDefault,
          supportsCondition: true,
          conditionDescription: 'For instance: rip == handler || exception.vector == 14',
        }),
      ),
      supportsConditionalBreakpoints: true,
      supportsHitConditionalBreakpoints: true,
      supportsLogPoints: true,
      supportsEvaluateForHovers: true,
      supportsSteppingGranularity: true,
      supportTerminateDebuggee: true,
      supportsClipboardContext: true,
    };
    return { ...capabilities, ...session.capabilities };
  },
});
