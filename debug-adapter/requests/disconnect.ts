/** disconnect: the machine is given up. */
import { defineRequest } from './request.ts';

export const disconnect = defineRequest<unknown>({
  command: 'disconnect',
  handle: (session) => session.end(),
});
