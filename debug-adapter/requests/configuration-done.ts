/** configurationDone: the machine may execute its first instruction. */
import { defineRequest } from './request.ts';

export const configurationDone = defineRequest<unknown>({
  command: 'configurationDone',
  capabilities: { supportsConfigurationDoneRequest: true },
  handle(session) {
    session.debuggee;
  },
  afterwards: (session) => session.begin(),
});
