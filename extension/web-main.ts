/**
 * The extension in the web worker extension host: the adapter and the language server
 * are workers made from their text, since workers cannot be loaded from the place where the extension is served.
 */
import * as vscode from 'vscode';
import { LanguageClient } from 'vscode-languageclient/browser';
import type { HostToWorker, WorkerToHost } from '../debug-adapter/protocol.ts';
import { activateWith } from './activate.ts';
import type { StartAdapterWorker } from './adapter-worker.ts';
import { clientOptions, startLanguageClient } from './language-client.ts';

/** What a web worker's global scope has; the library of types is that of Node here. */
interface WebWorker {
  postMessage(message: HostToWorker): void;
  terminate(): void;
  onmessage: ((event: { readonly data: WorkerToHost }) => void) | null;
  onerror: ((event: { readonly message: string }) => void) | null;
}
declare const Worker: new (url: string) => WebWorker;

/** Reads the text of a bundle and runs it in a worker; `url` is to be revoked in the end. */
const createWorker = async (
  context: vscode.ExtensionContext,
  path: string,
): Promise<{ readonly worker: WebWorker; readonly url: string }> => {
  const text = await vscode.workspace.fs.readFile(vscode.Uri.joinPath(context.extensionUri, path));
  const url = URL.createObjectURL(new Blob([new Uint8Array(text)], { type: 'text/javascript' }));
  return { worker: new Worker(url), url };
};

const startWorker =
  (context: vscode.ExtensionContext): StartAdapterWorker =>
  async (take, failed) => {
    const { worker, url } = await createWorker(context, 'dist/web/debug-adapter-worker.js');
    worker.onmessage = ({ data }) => take(data);
    worker.onerror = ({ message }) => failed(message);
    return {
      post: (message) => worker.postMessage(message),
      terminate() {
        worker.terminate();
        URL.revokeObjectURL(url);
      },
    };
  };

export const activate = async (context: vscode.ExtensionContext): Promise<void> => {
  activateWith(context, startWorker(context));
  const { worker } = await createWorker(context, 'dist/web/language-server.js');
  type ClientWorker = ConstructorParameters<typeof LanguageClient>[3];
  const server = worker as unknown as ClientWorker;
  const client = new LanguageClient('hyperstep', 'Hyperstep', clientOptions(), server);
  context.subscriptions.push(startLanguageClient(client));
};
