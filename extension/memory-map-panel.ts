/**
 * The picture of machine memory in an editor: a webview that gets the map when the machine stops,
 * and some times a second while it runs.
 */
import * as vscode from 'vscode';
import type { MachineFrameResponse, MemoryMapResponse } from '../debug-adapter/protocol.ts';
import { DEBUG_TYPE } from './debug-launcher.ts';
import type { FromWebview, ToWebview } from './webviews/memory-map/messages.ts';

const REFRESH_MS = 500;
/** Answers to these are told while the machine already runs. */
const RESUMING = ['continue', 'next', 'stepIn', 'stepOut', 'goto', 'configurationDone'];
const NOTHING = 'No guest is debugged. Open a guest program and press F5.';

const sessionOf = (): vscode.DebugSession | undefined => {
  const session = vscode.debug.activeDebugSession;
  return session?.type === DEBUG_TYPE ? session : undefined;
};

class MemoryMapPanel {
  readonly #panel: vscode.WebviewPanel;
  #isReady = false;
  #isAsking = false;
  #isAskedAgain = false;
  #timer: ReturnType<typeof setTimeout> | undefined;

  constructor(context: vscode.ExtensionContext, closed: () => void) {
    const folder = vscode.Uri.joinPath(context.extensionUri, 'dist/webviews');
    this.#panel = vscode.window.createWebviewPanel(
      'hyperstep.memoryMap',
      'Machine Memory',
      { viewColumn: vscode.ViewColumn.Active },
      { enableScripts: true, localResourceRoots: [folder] },
    );
    const { webview } = this.#panel;
    webview.onDidReceiveMessage((message: FromWebview) => this.#take(message));
    this.#panel.onDidDispose(() => {
      clearTimeout(this.#timer);
      this.#isReady = false;
      closed();
    });
    // Hidden, its page is gone; shown again, it is a new one that says when it is ready.
    this.#panel.onDidChangeViewState(({ webviewPanel }) => {
      if (!webviewPanel.visible) this.#isReady = false;
    });
    webview.html = pageOf(webview, folder);
  }

  reveal(): void {
    this.#panel.reveal();
  }

  /** Asks for the map; once more afterwards if that is called meanwhile. */
  async refresh(): Promise<void> {
    if (!this.#isReady) return;
    this.#isAskedAgain = true;
    if (this.#isAsking) return;
    this.#isAsking = true;
    clearTimeout(this.#timer);
    let isRunning = false;
    while (this.#isAskedAgain) {
      this.#isAskedAgain = false;
      isRunning = await this.#showMap();
    }
    this.#isAsking = false;
    if (isRunning) this.#timer = setTimeout(() => this.refresh(), REFRESH_MS);
  }

  /** Whether the machine runs on. */
  async #showMap(): Promise<boolean> {
    const session = sessionOf();
    if (session === undefined) {
      this.#post({ kind: 'nothing', reason: NOTHING });
      return false;
    }
    try {
      const map: MemoryMapResponse = await session.customRequest('hyperstep/memoryMap', {});
      this.#post({ kind: 'map', map });
      return map.isRunning;
    } catch {
      // The session is starting or ending; a change will be told.
      return false;
    }
  }

  async #take(message: FromWebview): Promise<void> {
    if (message.kind === 'ready') {
      this.#isReady = true;
      await this.refresh();
      return;
    }
    const { mfn } = message;
    try {
      const frame: MachineFrameResponse | undefined = await sessionOf()?.customRequest(
        'hyperstep/machineFrame',
        { mfn },
      );
      if (frame !== undefined) this.#post({ kind: 'frame', mfn, frame });
    } catch {
      // The session has ended.
    }
  }

  #post(message: ToWebview): void {
    if (this.#isReady) this.#panel.webview.postMessage(message).then(undefined, () => {});
  }
}

const pageOf = (webview: vscode.Webview, folder: vscode.Uri): string => {
  const nonce = crypto.randomUUID();
  const uri = (name: string): vscode.Uri => webview.asWebviewUri(vscode.Uri.joinPath(folder, name));
  return `<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="UTF-8">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src ${webview.cspSource}; script-src 'nonce-${nonce}';">
<meta name="viewport" content="width=device-width, initial-scale=1">
<link rel="stylesheet" href="${uri('memory-map.css')}">
<title>Machine Memory</title>
</head>
<body class="empty">
<header>
<span id="summary" role="status"></span>
<span id="notice"></span>
<button id="farther" title="Zoom out (-)" aria-label="Zoom out">−</button>
<button id="nearer" title="Zoom in (+)" aria-label="Zoom in">+</button>
<button id="all" title="Show all frames (0)">All</button>
</header>
<div id="scroller" tabindex="0" role="application" aria-label="Machine frames. Arrow keys, Home, End, Page Up and Page Down move the cursor; Enter shows the frame; plus and minus zoom." aria-describedby="summary">
<div id="spacer"></div><div id="numbers" aria-hidden="true"></div><canvas id="cells" aria-hidden="true"></canvas>
</div>
<aside>
<h2>Legend</h2>
<div id="legend"></div>
<section aria-live="polite"><h2 id="detail-title"></h2><dl id="detail-rows"></dl></section>
<p class="hint">Enter or a click shows a frame. An outline marks what has changed.</p>
</aside>
<div id="tip" hidden></div>
<script nonce="${nonce}" src="${uri('memory-map.js')}"></script>
</body>
</html>`;
};

/** The command that opens the picture, and what refreshes it. */
export const registerMemoryMap = (context: vscode.ExtensionContext): vscode.Disposable => {
  let panel: MemoryMapPanel | undefined;
  const refresh = (): void => {
    panel?.refresh().catch(() => {});
  };
  return vscode.Disposable.from(
    vscode.commands.registerCommand('hyperstep.showMemoryMap', () => {
      if (panel !== undefined) return panel.reveal();
      panel = new MemoryMapPanel(context, () => {
        panel = undefined;
      });
    }),
    vscode.debug.registerDebugAdapterTrackerFactory(DEBUG_TYPE, {
      createDebugAdapterTracker: () => ({
        onDidSendMessage({ type, command, event }) {
          if (type === 'response' && RESUMING.includes(command)) refresh();
          if (type === 'event' && event === 'hyperstep/viewsChanged') refresh();
        },
      }),
    }),
    vscode.debug.onDidChangeActiveDebugSession(refresh),
    vscode.debug.onDidTerminateDebugSession(refresh),
  );
};
