/** goto: sets RIP; nothing in between is executed. */

import { StoppedEvent } from '@vscode/debugadapter';
import type { DebugProtocol } from '@vscode/debugprotocol';
import { defineRequest, RequestError } from './request.ts';

export const goTo = defineRequest<DebugProtocol.GotoArguments>({
  command: 'goto',
  handle(session, { threadId, targetId }) {
    if (session.isRunning) throw new RequestError('The machine runs; pause it first.');
    const vcpu = session.debuggee.vcpuOf(threadId);
    const { exitInProgress: exit } = session.debuggee.machine;
    if (exit?.domain === vcpu.domain && exit.vcpu === vcpu.id) {
      throw new RequestError('A VM exit is being handled; step out of it first.');
    }
    const problem = vcpu.setRegister('rip', BigInt(targetId));
    if (problem !== undefined) throw new RequestError(problem);
  },
  afterwards(session, { threadId }) {
    session.variables.clear();
    const event = new StoppedEvent('goto', threadId);
    session.sendEvent({
      ...event,
      body: { ...event.body, allThreadsStopped: true },
    } as StoppedEvent);
    session.touched();
  },
});
