/** stepInTargets: where a step into can go from here. */
import type { DebugProtocol } from '@vscode/debugprotocol';
import { frameOf } from '../frames.ts';
import { defineRequest } from './request.ts';
import { STEP_IN_TARGETS } from './step-in.ts';

export const stepInTargets = defineRequest<
  DebugProtocol.StepInTargetsArguments,
  DebugProtocol.StepInTargetsResponse['body']
>({
  command: 'stepInTargets',
  capabilities: { supportsStepInTargetsRequest: true },
  handle({ debuggee }, { frameId }) {
    const isExit = frameOf(debuggee, frameId)?.kind === 'exit';
    return {
      targets: isExit
        ? [
            { id: STEP_IN_TARGETS.exit, label: "The hypervisor's next step" },
            { id: STEP_IN_TARGETS.guest, label: "VM entry, to the guest's next instruction" },
          ]
        : [
            { id: STEP_IN_TARGETS.exit, label: 'The VM exit that the instruction makes' },
            { id: STEP_IN_TARGETS.guest, label: "The guest's next instruction" },
          ],
    };
  },
});
