/** restart: the program is assembled again and the machine built anew; breakpoints stay. */
import type { DebugProtocol } from '@vscode/debugprotocol';
import { checkLaunch } from './launch.ts';
import { defineRequest } from './request.ts';

export const restart = defineRequest<DebugProtocol.RestartArguments>({
  command: 'restart',
  capabilities: { supportsRestartRequest: true },
  async handle(session, { arguments: launch }) {
    await session.restart(launch === undefined ? undefined : checkLaunch(launch));
  },
  afterwards: (session) => session.begin(),
});
