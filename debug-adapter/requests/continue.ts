/** continue: all vCPUs run. */
import type { DebugProtocol } from '@vscode/debugprotocol';
import { defineRequest } from './request.ts';

export const resume = defineRequest<
  DebugProtocol.ContinueArguments,
  DebugProtocol.ContinueResponse['body']
>({
  command: 'continue',
  handle(session) {
    session.go(session.debuggee.machine.run);
    return { allThreadsContinued: true };
  },
});
