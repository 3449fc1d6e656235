/** The door of the language server. */
export { serve } from './server.ts';
