/**
 * The debug adapter in a worker, whichever kind of worker the extension host has.
 */
import * as vscode from 'vscode';
import type { HostToWorker, WorkerToHost } from '../debug-adapter/protocol.ts';

export interface AdapterWorker {
  post(message: HostToWorker): void;
  terminate(): void;
}

/** Starts a worker; `take` gets its messages, `failed` why it died. */
export type StartAdapterWorker = (
  take: (message: WorkerToHost) => void,
  failed: (reason: string) => void,
) => Promise<AdapterWorker>;

/** Paths are those of the file system, everything with a scheme is a URI. */
export const uriOf = (path: string): vscode.Uri =>
  /^[a-z][a-z0-9+.-]+:/i.test(path) ? vscode.Uri.parse(path, true) : vscode.Uri.file(path);

/** Reads a file for the adapter, through the editor's file systems. */
export const readForWorker = async (id: number, path: string): Promise<HostToWorker> => {
  try {
    return { kind: 'file', id, bytes: await vscode.workspace.fs.readFile(uriOf(path)) };
  } catch (error) {
    const problem =
      error instanceof vscode.FileSystemError && error.code === 'FileNotFound'
        ? 'there is no such file'
        : error instanceof Error
          ? error.message
          : String(error);
    return { kind: 'file', id, bytes: undefined, problem };
  }
};
