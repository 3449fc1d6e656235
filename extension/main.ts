/**
 * The extension in the Node extension host: the adapter is a worker thread, the
 * language server a process.
 */
import { Worker } from 'node:worker_threads';
import * as vscode from 'vscode';
import { LanguageClient, TransportKind } from 'vscode-languageclient/node';
import { activateWith } from './activate.ts';
import type { StartAdapterWorker } from './adapter-worker.ts';
import { clientOptions, startLanguageClient } from './language-client.ts';

const startWorker =
  (context: vscode.ExtensionContext): StartAdapterWorker =>
  async (take, failed) => {
    const { fsPath } = vscode.Uri.joinPath(context.extensionUri, 'dist/debug-adapter-worker.js');
    const worker = new Worker(fsPath);
    let isEnded = false;
    worker.on('message', take);
    worker.on('error', (error) => failed(error instanceof Error ? error.message : String(error)));
    worker.on('exit', (code) => {
      if (!isEnded) failed(`its worker exited with code ${code}`);
    });
    return {
      post: (message) => worker.postMessage(message),
      terminate() {
        isEnded = true;
        worker.terminate().catch(() => {});
      },
    };
  };

export const activate = (context: vscode.ExtensionContext): void => {
  activateWith(context, startWorker(context));
  const module = vscode.Uri.joinPath(context.extensionUri, 'dist/language-server.cjs').fsPath;
  const server = { module, transport: TransportKind.ipc };
  const client = new LanguageClient('hyperstep', 'Hyperstep', server, clientOptions());
  context.subscriptions.push(startLanguageClient(client));
};
