/**
 * next: to the next line; calls, REP, software interrupts and the instructions of a macro are
 * crossed, exits are handled. A step by instructions, and one in a listing, is one instruction.
 */
import type { DebugProtocol } from '@vscode/debugprotocol';
import type { StopReason, Vcpu } from '../../emulator/index.ts';
import type { Debuggee } from '../debuggee.ts';
import type { Run } from '../programs/source-map.ts';
import type { Slice } from '../runner.ts';
import { defineRequest } from './request.ts';

export const next = defineRequest<DebugProtocol.NextArguments>({
  command: 'next',
  handle(session, { threadId, granularity }) {
    const { debuggee } = session;
    const { machine } = debuggee;
    const vcpu = debuggee.vcpuOf(threadId);
    const exit = machine.exitInProgress;
    const isExiting = exit?.domain === vcpu.domain && exit.vcpu === vcpu.id;
    const run = debuggee.guestOf(vcpu.domain).sources.runOf(vcpu.rip);
    const step: Slice = (budget) => machine.step(vcpu.domain, vcpu.id, 'over', budget);
    if (granularity === 'instruction' || isExiting || run === undefined) session.go(step);
    else session.go(...stepOutOf(debuggee, vcpu, run, step));
  },
});

/** Steps until the vCPU leaves the run or is at its begin again. */
const stepOutOf = (
  { machine }: Debuggee,
  vcpu: Vcpu,
  { first, end }: Run,
  step: Slice,
): [first: Slice, next: Slice] => {
  const isInside = (): boolean => vcpu.rip > first && vcpu.rip < end;
  let isBetweenSteps = false;
  const goOn = (stop: StopReason, budget: number): StopReason => {
    let last = stop;
    isBetweenSteps = false;
    for (let steps = 1; last.why === 'step' && isInside(); steps += 1) {
      isBetweenSteps = steps >= budget;
      if (isBetweenSteps) return { why: 'budget' };
      last = step(budget);
    }
    return last;
  };
  return [
    (budget) => goOn(step(budget), budget),
    (budget) => goOn(isBetweenSteps ? step(budget) : machine.resume(budget), budget),
  ];
};
