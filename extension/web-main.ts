/**
 * The extension in the web worker extension host: the adapter is a worker made from its text, since
 * workers cannot be loaded from the place where the extension is served.
 */
import * as vscode from 'vscode';
import type { HostToWorker, WorkerToHost } from '../debug-adapter/protocol.ts';
import { activateWith } from './activate.ts';
import type { StartAdapterWorker } from './adapter-worker.ts';

/** What a web worker's global scope has; the library of types is that of Node here. */
interface WebWorker {
  postMessage(message: HostToWorker): void;
  terminate(): void;
  onmessage: ((event: { readonly data: WorkerToHost }) => void) | null;
  onerror: ((event: { readonly message: string }) => void) | null;
}
declare const Worker: new (url: string) => WebWorker;

const startWorker =
  (context: vscode.ExtensionContext): StartAdapterWorker =>
  async (take, failed) => {
    const uri = vscode.Uri.joinPath(context.extensionUri, 'dist/web/debug-adapter-worker.js');
    const text = await vscode.workspace.fs.readFile(uri);
    const url = URL.createObjectURL(new Blob([new Uint8Array(text)], { type: 'text/javascript' }));
    const worker = new Worker(url);
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

export const activate = (context: vscode.ExtensionContext): void =>
  activateWith(context, startWorker(context));
