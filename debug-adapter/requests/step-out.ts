/** stepOut: to the caller; from a VM exit, to the guest. */
import type { DebugProtocol } from '@vscode/debugprotocol';
import { unwind } from '../unwind.ts';
import { defineRequest, RequestError } from './request.ts';

export const stepOut = defineRequest<DebugProtocol.StepOutArguments>({
  command: 'stepOut',
  handle(session, { threadId }) {
    const { machine, guestOf, vcpuOf } = session.debuggee;
    const vcpu = vcpuOf(threadId);
    const { domain, id } = vcpu;
    const exit = machine.exitInProgress;
    if (exit?.domain === domain && exit.vcpu === id) {
      session.go((budget) => machine.step(domain, id, 'over', budget));
      return;
    }
    const caller = unwind(machine, vcpu, guestOf(domain).symbols)[1];
    if (caller === undefined) {
      throw new RequestError('There is no caller: no return address of a CALL is on the stack.');
    }
    session.go((budget) => machine.stepTo(domain, id, caller, budget));
  },
});
