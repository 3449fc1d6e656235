/**
 * The adapter's generated documents, listings and pages of VM exits, as read-only editors.
 */
import * as vscode from 'vscode';
import type { DocumentResponse } from '../debug-adapter/protocol.ts';
import { DEBUG_TYPE } from './debug-launcher.ts';

const SCHEMES = ['hyperstep-asm', 'hyperstep-exit'] as const;

/** How long a stop may wait for the page on which it is shown. */
const REFRESH_LIMIT_MS = 300;

export interface GeneratedDocuments {
  /**
   * Puts a text into an open document, and waits until it is there: an editor marks a line of the
   * text that it has, and the mark would move with a later change.
   */
  refresh(uri: string, text: string): Promise<void>;
}

class DocumentProvider implements vscode.TextDocumentContentProvider, GeneratedDocuments {
  readonly #changed = new vscode.EventEmitter<vscode.Uri>();
  readonly onDidChange = this.#changed.event;
  readonly #known = new Map<string, string>();

  async provideTextDocumentContent(uri: vscode.Uri): Promise<string> {
    const known = this.#known.get(uri.toString());
    this.#known.delete(uri.toString());
    if (known !== undefined) return known;
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
  }

  async refresh(name: string, text: string): Promise<void> {
    const uri = vscode.Uri.parse(name, true);
    const open = vscode.workspace.textDocuments.find(
      (one) => one.uri.toString() === uri.toString(),
    );
    if (open === undefined || open.getText() === text) return;
    this.#known.set(uri.toString(), text);
    await new Promise<void>((resolve) => {
      const done = (): void => {
        clearTimeout(timer);
        listener.dispose();
        resolve();
      };
      const timer = setTimeout(done, REFRESH_LIMIT_MS);
      const listener = vscode.workspace.onDidChangeTextDocument(({ document }) => {
        if (document === open) done();
      });
      this.#changed.fire(uri);
    });
  }

  refreshAll(): void {
    for (const { uri } of vscode.workspace.textDocuments) {
      if (SCHEMES.some((scheme) => scheme === uri.scheme)) this.#changed.fire(uri);
    }
  }

  dispose(): void {
    this.#changed.dispose();
  }
}

export const registerGeneratedDocuments = (
  context: vscode.ExtensionContext,
): GeneratedDocuments => {
  const provider = new DocumentProvider();
  context.subscriptions.push(
    provider,
    ...SCHEMES.map((scheme) =>
      vscode.workspace.registerTextDocumentContentProvider(scheme, provider),
    ),
    vscode.debug.onDidReceiveDebugSessionCustomEvent(({ session, event }) => {
      if (session.type === DEBUG_TYPE && event === 'hyperstep/viewsChanged') provider.refreshAll();
    }),
  );
  return provider;
};
