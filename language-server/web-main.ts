/** The language server as a web worker; files come from the client. */
import {
  BrowserMessageReader,
  BrowserMessageWriter,
  createConnection,
} from 'vscode-languageserver/browser';
import { serve } from './server.ts';

// biome-ignore lint/suspicious/noExplicitAny: a worker's global scope has no type in Node's library
const scope = globalThis as any;
serve(createConnection(new BrowserMessageReader(scope), new BrowserMessageWriter(scope)));
