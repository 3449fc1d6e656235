/** evaluate: expressions of watches, hovers and the console; the console takes commands too. */
import type { DebugProtocol } from '@vscode/debugprotocol';
import { evaluateIn, runCommand } from '../console.ts';
import { frameOf } from '../frames.ts';
import { hex } from '../numbers.ts';
import { vcpuName } from '../threads.ts';
import { defineRequest } from './request.ts';

export const evaluate = defineRequest<
  DebugProtocol.EvaluateArguments,
  DebugProtocol.EvaluateResponse['body']
>({
  command: 'evaluate',
  handle(session, { expression, frameId, context }) {
    const { debuggee } = session;
    const frame = frameOf(debuggee, frameId);
    if (context === 'repl') {
      const result = runCommand(debuggee, frame, expression);
      if (result?.hasEffect === true) session.touched();
      if (result !== undefined) return { result: result.text, variablesReference: 0 };
    }
    const value = evaluateIn(debuggee, frame, expression);
    if (typeof value === 'string') return { result: value, variablesReference: 0 };
    const vcpu = frame?.vcpu ?? debuggee.vcpuOf(undefined);
    const name = debuggee.guestOf(vcpu.domain).symbols.nameOf(value);
    const words = [
      hex(value),
      ...(value > 9n ? [`= ${value}`] : []),
      ...(name === undefined ? [] : [`<${name}>`]),
    ];
    return {
      result: context === 'clipboard' ? hex(value) : words.join(' '),
      variablesReference: 0,
      memoryReference: `${vcpuName(vcpu.domain, vcpu.id)}:${hex(value)}`,
    };
  },
});
