/** hyperstep/document: the text of a generated document. */
import { writeDocument } from '../documents/catalog.ts';
import type { DocumentArguments, DocumentResponse } from '../protocol.ts';
import { defineRequest, RequestError } from './request.ts';

export const document = defineRequest<DocumentArguments, DocumentResponse>({
  command: 'hyperstep/document',
  handle({ debuggee }, { uri }) {
    const text = writeDocument(debuggee, uri);
    if (text === undefined) throw new RequestError(`There is no generated document ${uri}.`);
    return { text };
  },
});
