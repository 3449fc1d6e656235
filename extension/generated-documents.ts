/**
 * The adapter's generated documents, listings and pages of VM exits, as read-only editors.
 */
import * as vscode from 'vscode';
import type { DocumentResponse } from '../debug-adapter/protocol.ts';
import { DEBUG_TYPE } from './debug-launcher.ts';

const SCHEMES = ['hyperstep-asm', 'hyperstep-exit'] as const;

export const registerGeneratedDocuments = (): vscode.Disposable => {
  const changed = new vscode.EventEmitter<vscode.Uri>();
  const provider: vscode.TextDocumentContentProvider = {
    onDidChange: changed.event,
    async provideTextDocumentContent(uri) {
      const session = vscode.debug.activeDebugSession;
      if (session?.type !== DEBUG_TYPE) return 'The debug session of this page has ended.\n';
      try {
        const { text }: DocumentResponse = await session.customRequest('hyperstep/document', {
          uri: uri.toString(true),
        });
        return text;
      } catch (error) {
        return `${error instanceof Error ? error.message : String(error)}\n`;
      }
    },
  };
  const refreshListings = (): void => {
    for (const { uri } of vscode.workspace.textDocuments) {
      if (SCHEMES.some((scheme) => scheme === uri.scheme)) changed.fire(uri);
    }
  };
  return vscode.Disposable.from(
    changed,
    ...SCHEMES.map((scheme) =>
      vscode.workspace.registerTextDocumentContentProvider(scheme, provider),
    ),
    vscode.debug.onDidReceiveDebugSessionCustomEvent(({ session, event, body }) => {
      if (session.type !== DEBUG_TYPE) return;
      if (event === 'hyperstep/documentChanged') changed.fire(vscode.Uri.parse(body.uri, true));
      if (event === 'hyperstep/viewsChanged') refreshListings();
    }),
  );
};
