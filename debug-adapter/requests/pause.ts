/** pause: stops between two instructions, within one slice. */
import { defineRequest } from './request.ts';

export const pause = defineRequest<unknown>({
  command: 'pause',
  handle: (session) => session.pause(),
});
