/**
 * The language client, whichever kind of server the extension host can start: what both need.
 */

import * as vscode from 'vscode';
import type { BaseLanguageClient, LanguageClientOptions } from 'vscode-languageclient';
import type { ReadFileRequest } from '../language-server/protocol.ts';
import { LANGUAGES } from './languages.ts';

const SCHEMES = [
  'file',
  'untitled',
  'vscode-vfs',
  'vscode-remote',
  'vscode-test-web',
  'hyperstep-asm',
];

/** The server looks again when an included file changes on disk. */
export const clientOptions = (): LanguageClientOptions => ({
  documentSelector: LANGUAGES.flatMap((language) =>
    SCHEMES.map((scheme) => ({ language, scheme })),
  ),
  synchronize: {
    fileEvents: vscode.workspace.createFileSystemWatcher('**/*.{asm,nasm,inc,s}'),
  },
});

/** Starts the client; the result ends it. */
export const startLanguageClient = (client: BaseLanguageClient): vscode.Disposable => {
  const method: ReadFileRequest['method'] = 'hyperstep/readFile';
  client.onRequest(method, async ({ uri }: ReadFileRequest['params']) => {
    try {
      const bytes = await vscode.workspace.fs.readFile(vscode.Uri.parse(uri, true));
      return { bytes: [...bytes] };
    } catch {
      return {};
    }
  });
  client.start().catch((error: unknown) => {
    vscode.window.showErrorMessage(
      `The language server of Hyperstep cannot start: ${String(error)}`,
    );
  });
  return new vscode.Disposable(() => {
    client.stop().catch(() => {});
  });
};
