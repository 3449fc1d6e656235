/** source: generated documents, for clients that do not take them by URI. */
import type { DebugProtocol } from '@vscode/debugprotocol';
import { writeDocument } from '../documents/catalog.ts';
import { defineRequest, RequestError } from './request.ts';

export const source = defineRequest<
  DebugProtocol.SourceArguments,
  DebugProtocol.SourceResponse['body']
>({
  command: 'source',
  handle({ debuggee }, { source: asked }) {
    const uri = asked?.path ?? '';
    const content = writeDocument(debuggee, uri);
    if (content === undefined) throw new RequestError(`There is no generated document ${uri}.`);
    return { content, mimeType: 'text/x-asm' };
  },
});
