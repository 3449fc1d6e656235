/** hyperstep/views: the trees of guest state. */
import type { ViewsResponse } from '../protocol.ts';
import { VIEWS } from '../views/catalog.ts';
import { defineRequest } from './request.ts';

export const views = defineRequest<unknown, ViewsResponse>({
  command: 'hyperstep/views',
  handle: () => ({
    views: VIEWS.map(({ id, title, input }) =>
      input === undefined ? { id, title } : { id, title, input },
    ),
  }),
});
