/** setExpression: a register by name, or memory: `dword [rsp+8]`, `gpa(0x1000)`. */
import type { DebugProtocol } from '@vscode/debugprotocol';
import { assign } from '../assignment.ts';
import { evaluateIn } from '../console.ts';
import { frameOf } from '../frames.ts';
import { hex } from '../numbers.ts';
import { defineRequest, RequestError } from './request.ts';

export const setExpression = defineRequest<
  DebugProtocol.SetExpressionArguments,
  DebugProtocol.SetExpressionResponse['body']
>({
  command: 'setExpression',
  capabilities: { supportsSetExpression: true },
  handle(session, { expression, value, frameId }) {
    if (session.isRunning) throw new RequestError('The machine runs; pause it first.');
    const frame = frameOf(session.debuggee, frameId);
    const number = evaluateIn(session.debuggee, frame, value);
    if (typeof number === 'string') throw new RequestError(`'${value}' is not a number.`);
    const problem = assign(session.debuggee, frame, expression, number);
    if (problem !== undefined) throw new RequestError(problem);
    return { value: hex(number) };
  },
  afterwards: (session) => session.touched(),
});
