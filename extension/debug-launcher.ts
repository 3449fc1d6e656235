/**
 * Debug sessions: each has an adapter in a worker of its own, to which DAP messages are relayed.
 */
import type { DebugProtocol } from '@vscode/debugprotocol';
import * as vscode from 'vscode';
import { type AdapterConnection, connectAdapter } from './adapter-connection.ts';
import type { StartAdapterWorker } from './adapter-worker.ts';
import type { GeneratedDocuments } from './generated-documents.ts';
import type { VmEvents } from './vm-events.ts';

export const DEBUG_TYPE = 'hyperstep';

class RelayAdapter implements vscode.DebugAdapter {
  readonly #messages = new vscode.EventEmitter<vscode.DebugProtocolMessage>();
  readonly onDidSendMessage = this.#messages.event;
  readonly #connection: Promise<AdapterConnection>;
  readonly #vmEvents: VmEvents;
  readonly #documents: GeneratedDocuments;
  #hasEnded = false;
  /** Events that wait for the page on which they are shown. */
  #held: DebugProtocol.ProtocolMessage[] | undefined;

  constructor(start: StartAdapterWorker, vmEvents: VmEvents, documents: GeneratedDocuments) {
    this.#vmEvents = vmEvents;
    this.#documents = documents;
    this.#connection = connectAdapter(
      start,
      (message) => this.#relay(message),
      (reason) => this.#fail(reason),
    );
    this.#connection.catch((error: unknown) => this.#fail(String(error)));
  }

  handleMessage(message: vscode.DebugProtocolMessage): void {
    this.#connection.then(
      (connection) => connection.send(message as DebugProtocol.ProtocolMessage),
      () => {},
    );
  }

  #relay(message: DebugProtocol.ProtocolMessage): void {
    const { type, event, body } = message as DebugProtocol.Event;
    if (type === 'event' && this.#held !== undefined) this.#held.push(message);
    else if (type === 'event' && event === 'hyperstep/documentChanged') {
      this.#held = [];
      this.#refresh(body.uri).then(() => this.#release());
    } else this.#pass(message);
  }

  async #refresh(uri: string): Promise<void> {
    try {
      const connection = await this.#connection;
      const { text } = await connection.request('hyperstep/document', { uri });
      await this.#documents.refresh(uri, text);
    } catch {
      // The session is ending, and with it its pages.
    }
  }

  #release(): void {
    const held = this.#held ?? [];
    this.#held = undefined;
    for (const message of held) this.#relay(message);
  }

  /** The events that are ticked go first when the adapter is ready for breakpoints. */
  #pass(message: DebugProtocol.ProtocolMessage): void {
    const { type, event } = message as DebugProtocol.Event;
    if (type === 'event' && event === 'terminated') this.#hasEnded = true;
    if (type === 'event' && event === 'initialized') {
      this.#connection.then(
        (connection) => this.#vmEvents.attach(connection),
        () => {},
      );
    }
    const words = explanationOf(message);
    if (words !== undefined) this.#messages.fire(words as vscode.DebugProtocolMessage);
    this.#messages.fire(message as vscode.DebugProtocolMessage);
  }

  #fail(reason: string): void {
    if (this.#hasEnded) return;
    this.#hasEnded = true;
    vscode.window.showErrorMessage(`The debug adapter of Hyperstep ended: ${reason}`);
    this.#messages.fire({
      type: 'event',
      seq: 0,
      event: 'terminated',
    } as vscode.DebugProtocolMessage);
  }

  dispose(): void {
    this.#hasEnded = true;
    this.#connection.then(
      (connection) => {
        this.#vmEvents.detach(connection);
        connection.close();
      },
      () => {},
    );
    this.#messages.dispose();
  }
}

/**
 * VS Code shows the text of a stop as a tool tip only, except for exceptions: the Debug Console has
 * it too.
 */
const explanationOf = (message: DebugProtocol.ProtocolMessage): DebugProtocol.Event | undefined => {
  const { type, event, body } = message as DebugProtocol.StoppedEvent;
  if (type !== 'event' || event !== 'stopped') return undefined;
  if (body.text === undefined || body.reason === 'exception') return undefined;
  const output = `${body.description}\n${body.text.replaceAll(/^/gm, '    ')}\n`;
  return { seq: 0, type: 'event', event: 'output', body: { category: 'console', output } };
};

export const registerDebugLauncher = (
  start: StartAdapterWorker,
  vmEvents: VmEvents,
  documents: GeneratedDocuments,
): vscode.Disposable =>
  vscode.debug.registerDebugAdapterDescriptorFactory(DEBUG_TYPE, {
    createDebugAdapterDescriptor: () =>
      new vscode.DebugAdapterInlineImplementation(new RelayAdapter(start, vmEvents, documents)),
  });
