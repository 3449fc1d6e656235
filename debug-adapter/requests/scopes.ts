/** scopes: registers, flags, segments, control registers, VMCS, VM exit. */
import type { DebugProtocol } from '@vscode/debugprotocol';
import { frameOf } from '../frames.ts';
import { present } from '../present.ts';
import { scopesOf } from '../variables/scopes.ts';
import { defineRequest, RequestError } from './request.ts';

export const scopes = defineRequest<
  DebugProtocol.ScopesArguments,
  DebugProtocol.ScopesResponse['body']
>({
  command: 'scopes',
  handle({ debuggee, variables }, { frameId }) {
    const frame = frameOf(debuggee, frameId);
    if (frame === undefined) throw new RequestError(`There is no frame ${frameId}.`);
    return {
      scopes: scopesOf(frame).map(({ name, isExpensive, hint, container }) =>
        present({
          name,
          expensive: isExpensive,
          presentationHint: hint,
          variablesReference: variables.add(container),
        }),
      ),
    };
  },
});
