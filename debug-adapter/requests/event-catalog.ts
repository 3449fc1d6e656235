/** hyperstep/eventCatalog: what there is to break on. */
import { EVENT_CATALOG } from '../event-catalog.ts';
import type { EventCatalogResponse } from '../protocol.ts';
import { defineRequest } from './request.ts';

export const eventCatalog = defineRequest<unknown, EventCatalogResponse>({
  command: 'hyperstep/eventCatalog',
  handle: () => ({ groups: EVENT_CATALOG }),
});
