/**
 * stepIn: one instruction, into the VM exit that it makes; within an exit, one step of its handler.
 */
import type { DebugProtocol } from '@vscode/debugprotocol';
import { defineRequest } from './request.ts';

/** Ids of `stepInTargets`. */
export const STEP_IN_TARGETS = { exit: 1, guest: 2 } as const;

export const stepIn = defineRequest<DebugProtocol.StepInArguments>({
  command: 'stepIn',
  handle(session, { threadId, targetId }) {
    const { domain, id } = session.debuggee.vcpuOf(threadId);
    const kind = targetId === STEP_IN_TARGETS.guest ? 'instruction' : 'into';
    session.go((budget) => session.debuggee.machine.step(domain, id, kind, budget));
  },
});
