/** exceptionInfo: why the machine stands, in words. */
import type { DebugProtocol } from '@vscode/debugprotocol';
import { defineRequest, RequestError } from './request.ts';

export const exceptionInfo = defineRequest<
  DebugProtocol.ExceptionInfoArguments,
  DebugProtocol.ExceptionInfoResponse['body']
>({
  command: 'exceptionInfo',
  capabilities: { supportsExceptionInfoRequest: true },
  handle({ lastStop, debuggee }) {
    if (lastStop === undefined) throw new RequestError('The machine runs.');
    const exit = debuggee.machine.exitInProgress;
    const lines = [...lastStop.explanation, ...(exit?.explanation ?? [])];
    return {
      exceptionId: lastStop.description,
      description: lines.join('\n'),
      breakMode: 'always',
      details: { message: lines[0] ?? lastStop.description, stackTrace: lines.join('\n') },
    };
  },
});
