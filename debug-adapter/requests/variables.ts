/** variables: the children of a reference. */
import type { DebugProtocol } from '@vscode/debugprotocol';
import { present } from '../present.ts';
import { defineRequest, RequestError } from './request.ts';

export const variables = defineRequest<
  DebugProtocol.VariablesArguments,
  DebugProtocol.VariablesResponse['body']
>({
  command: 'variables',
  handle({ variables: references }, { variablesReference, start = 0, count, filter }) {
    const container = references.find(variablesReference);
    if (container === undefined) {
      throw new RequestError('These values are of an earlier stop; look again.');
    }
    const rows = filter === 'indexed' ? [] : container.rows();
    const end = count === undefined || count === 0 ? rows.length : start + count;
    return {
      variables: rows.slice(start, end).map((row) =>
        present({
          name: row.name,
          value: row.value,
          type: row.type,
          evaluateName: row.evaluateName,
          memoryReference: row.memoryReference,
          variablesReference: row.children === undefined ? 0 : references.add(row.children),
          presentationHint: row.isReadOnly === true ? { attributes: ['readOnly'] } : undefined,
        }),
      ),
    };
  },
});
