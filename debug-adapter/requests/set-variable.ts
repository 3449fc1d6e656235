/** setVariable: a register, a part of one, a flag; the value is an expression. */
import type { DebugProtocol } from '@vscode/debugprotocol';
import { evaluateIn } from '../console.ts';
import { frameOf } from '../frames.ts';
import { defineRequest, RequestError } from './request.ts';

export const setVariable = defineRequest<
  DebugProtocol.SetVariableArguments,
  DebugProtocol.SetVariableResponse['body']
>({
  command: 'setVariable',
  capabilities: { supportsSetVariable: true },
  handle(session, { variablesReference, name, value }) {
    if (session.isRunning) throw new RequestError('The machine runs; pause it first.');
    const container = session.variables.find(variablesReference);
    if (container?.set === undefined) throw new RequestError(`${name} can not be set.`);
    const number = evaluateIn(session.debuggee, frameOf(session.debuggee, undefined), value);
    if (typeof number === 'string') throw new RequestError(`'${value}' is not a number.`);
    const problem = container.set(name, number);
    if (problem !== undefined) throw new RequestError(problem);
    const row = container.rows().find((one) => one.name === name);
    return { value: row?.value ?? value };
  },
  afterwards: (session) => session.touched(),
});
