/**
 * The language server behind a connection, in Node and in a web worker.
 */
import { type Connection, TextDocumentSyncKind, TextDocuments } from 'vscode-languageserver';
import type { ServerCapabilities } from 'vscode-languageserver-protocol';
import { TextDocument } from 'vscode-languageserver-textdocument';
import { createAnalysis } from './analysis.ts';
import { FEATURES } from './features/catalog.ts';
import { diagnose } from './features/diagnostics.ts';
import type { ReadFileRequest } from './protocol.ts';

/** How long after the last change the sources are looked at. */
const QUIET_MS = 150;

/** `readFile` reads what the server's own host can; undefined: the client is asked. */
export const serve = (
  connection: Connection,
  readFile?: (uri: string) => Promise<Uint8Array | undefined>,
): void => {
  const documents = new TextDocuments(TextDocument);
  const askClient = async (uri: string): Promise<Uint8Array | undefined> => {
    try {
      const method: ReadFileRequest['method'] = 'hyperstep/readFile';
      const answer = await connection.sendRequest<ReadFileRequest['result']>(method, { uri });
      return answer.bytes === undefined ? undefined : Uint8Array.from(answer.bytes);
    } catch {
      // A client without this request has no such files.
      return undefined;
    }
  };
  const textOf = (uri: string): string | undefined => documents.get(uri)?.getText();
  const analysis = createAnalysis({
    textOf,
    openUris: () => documents.keys(),
    readFile: (uri) =>
      readFile !== undefined && uri.startsWith('file:') ? readFile(uri) : askClient(uri),
  });
  let published = new Set<string>();
  let timer: ReturnType<typeof setTimeout> | undefined;
  const publish = async (): Promise<void> => {
    const found = await diagnose(analysis, documents.keys());
    for (const uri of published) {
      if (!found.has(uri)) await connection.sendDiagnostics({ uri, diagnostics: [] });
    }
    for (const [uri, diagnostics] of found) {
      await connection.sendDiagnostics({ uri, diagnostics: [...diagnostics] });
    }
    published = new Set(found.keys());
  };
  const changed = (): void => {
    analysis.forget();
    clearTimeout(timer);
    timer = setTimeout(() => {
      publish().catch((error: unknown) => connection.console.error(String(error)));
    }, QUIET_MS);
  };
  connection.onInitialize(() => {
    const capabilities: ServerCapabilities = Object.assign(
      { textDocumentSync: TextDocumentSyncKind.Incremental },
      ...FEATURES.map((feature) => feature.capabilities),
    );
    return { capabilities, serverInfo: { name: 'hyperstep' } };
  });
  documents.onDidChangeContent(changed);
  documents.onDidClose(changed);
  connection.onDidChangeWatchedFiles(changed);
  for (const feature of FEATURES) feature.register(connection, { analysis, textOf });
  documents.listen(connection);
  connection.listen();
};
