/** terminate: all domains are destroyed, as by the toolstack, and the session ends. */
import { TerminatedEvent } from '@vscode/debugadapter';
import { defineRequest } from './request.ts';

export const terminate = defineRequest<unknown>({
  command: 'terminate',
  capabilities: { supportsTerminateRequest: true },
  handle(session) {
    session.end();
    const { machine } = session.debuggee;
    for (const { id, state } of machine.domains) {
      if (state !== 'destroyed') machine.xl(`destroy ${id}`);
    }
  },
  afterwards: (session) => session.sendEvent(new TerminatedEvent()),
});
