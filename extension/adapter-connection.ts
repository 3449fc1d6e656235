/**
 * A running debug adapter: takes DAP messages, answers its questions for files, and lets the
 * extension ask requests of its own beside those of the editor.
 */
import type { DebugProtocol } from '@vscode/debugprotocol';
import type { CustomRequests } from '../debug-adapter/protocol.ts';
import { readForWorker, type StartAdapterWorker } from './adapter-worker.ts';

export interface AdapterConnection {
  send(message: DebugProtocol.ProtocolMessage): void;
  /** Rejects with the adapter's sentence. */
  request<C extends keyof CustomRequests>(
    command: C,
    args: CustomRequests[C]['arguments'],
  ): Promise<CustomRequests[C]['body']>;
  close(): void;
}

/** Sequence numbers of own requests; the editor's count from 1. */
const FIRST_OWN = 1_000_000_000;

/** `take` gets all messages but the answers to own requests. */
export const connectAdapter = async (
  start: StartAdapterWorker,
  take: (message: DebugProtocol.ProtocolMessage) => void,
  failed: (reason: string) => void,
): Promise<AdapterConnection> => {
  const waiting = new Map<number, (response: DebugProtocol.Response) => void>();
  let next = FIRST_OWN;
  const worker = await start((message) => {
    if (message.kind === 'readFile') {
      readForWorker(message.id, message.path).then((answer) => worker.post(answer), failed);
      return;
    }
    const response = message.message as DebugProtocol.Response;
    const answer = response.type === 'response' ? waiting.get(response.request_seq) : undefined;
    if (answer === undefined) return take(message.message);
    waiting.delete(response.request_seq);
    answer(response);
  }, failed);
  return {
    send: (message) => worker.post({ kind: 'dap', message }),
    request(command, args) {
      const seq = next;
      next += 1;
      return new Promise((resolve, reject) => {
        waiting.set(seq, (response) => {
          if (response.success) resolve(response.body);
          else reject(new Error(response.message ?? `${command} failed.`));
        });
        const request = { seq, type: 'request', command, arguments: args };
        worker.post({ kind: 'dap', message: request });
      });
    },
    close: () => worker.terminate(),
  };
};
