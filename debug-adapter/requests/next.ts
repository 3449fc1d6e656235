/** next: one instruction; calls, REP and software interrupts are crossed, exits are handled. */
import type { DebugProtocol } from '@vscode/debugprotocol';
import { defineRequest } from './request.ts';

export const next = defineRequest<DebugProtocol.NextArguments>({
  command: 'next',
  handle(session, { threadId }) {
    const { domain, id } = session.debuggee.vcpuOf(threadId);
    session.go((budget) => session.debuggee.machine.step(domain, id, 'over', budget));
  },
});
