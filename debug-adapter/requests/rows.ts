/** hyperstep/rows: the children of one row of a view. */
import type { RowsArguments, RowsResponse } from '../protocol.ts';
import { VIEWS } from '../views/catalog.ts';
import { defineRequest, RequestError } from './request.ts';

export const rows = defineRequest<RowsArguments, RowsResponse>({
  command: 'hyperstep/rows',
  handle(session, { view: id, parent, input, threadId }) {
    const view = VIEWS.find((one) => one.id === id);
    if (view === undefined) throw new RequestError(`There is no view '${id}'.`);
    const { debuggee } = session;
    const typed = input === undefined || input.trim() === '' ? view.input?.initial : input;
    const context = { debuggee, vcpu: debuggee.vcpuOf(threadId), input: typed ?? '' };
    return { rows: session.markChanges(id, view.rows(context, parent)) };
  },
});
