/**
 * The session behind a pair of message functions, as both kinds of worker have them.
 */
import type { DebugProtocol } from '@vscode/debugprotocol';
import type { AdapterHost } from './host.ts';
import type { HostToWorker, WorkerToHost } from './protocol.ts';
import { HyperstepSession } from './session.ts';

/** Gives the function that takes the host's messages. */
export const serveMessages = (
  post: (message: WorkerToHost) => void,
  yieldNow: () => Promise<void>,
): ((message: HostToWorker) => void) => {
  const waiting = new Map<
    number,
    { resolve(bytes: Uint8Array): void; reject(error: Error): void }
  >();
  let nextFile = 1;
  const host: AdapterHost = {
    readFile: (path) =>
      new Promise((resolve, reject) => {
        const id = nextFile;
        nextFile += 1;
        waiting.set(id, { resolve, reject });
        post({ kind: 'readFile', id, path });
      }),
    now: () => performance.now(),
    yieldNow,
  };
  const session = new HyperstepSession(host);
  session.onDidSendMessage((message) =>
    post({ kind: 'dap', message: message as DebugProtocol.ProtocolMessage }),
  );
  return (message) => {
    if (message.kind === 'dap') {
      session.handleMessage(message.message);
      return;
    }
    const file = waiting.get(message.id);
    waiting.delete(message.id);
    if (message.bytes === undefined) file?.reject(new Error(message.problem ?? 'not found'));
    else file?.resolve(message.bytes);
  };
};
