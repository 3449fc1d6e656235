/** The language server as a Node process: over IPC, or with --stdio over standard streams. */
import { readFile } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';
import { createConnection, ProposedFeatures } from 'vscode-languageserver/node';
import { serve } from './server.ts';

serve(createConnection(ProposedFeatures.all), async (uri) =>
  readFile(fileURLToPath(uri)).catch(() => undefined),
);
