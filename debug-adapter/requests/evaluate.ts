/** evaluate: expressions of watches, hovers and the console; the console takes commands too. */
import type { DebugProtocol } from '@vscode/debugprotocol';
import { assign } from '../assignment.ts';
import { evaluateIn, runCommand } from '../console.ts';
import { type Frame, frameOf } from '../frames.ts';
import { hex } from '../numbers.ts';
import { vcpuName } from '../threads.ts';
import { defineRequest, RequestError, type Session } from './request.ts';

/** `rax = 5`, `set dword [rsp] = 1`; comparisons have no single `=`. */
const ASSIGNMENT = /^\s*(?:set\s+)?([^=<>!]+?)\s*=(?!=)\s*(.+)$/;

const setByHand = (
  session: Session,
  frame: Frame | undefined,
  target: string,
  text: string,
): DebugProtocol.EvaluateResponse['body'] => {
  if (session.isRunning) throw new RequestError('The machine runs; pause it first.');
  const value = evaluateIn(session.debuggee, frame, text);
  if (typeof value === 'string') throw new RequestError(`'${text}' is not a number.`);
  const problem = assign(session.debuggee, frame, target, value);
  if (problem !== undefined) throw new RequestError(problem);
  session.touched();
  return { result: `${target} = ${hex(value)}`, variablesReference: 0 };
};

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
      const [, target = '', value = ''] = ASSIGNMENT.exec(expression) ?? [];
      if (target !== '') return setByHand(session, frame, target, value);
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
