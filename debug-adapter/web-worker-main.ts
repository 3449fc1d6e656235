/**
 * The debug adapter as a web worker; the host speaks DAP and answers for files by messages.
 */
import type { HostToWorker, WorkerToHost } from './protocol.ts';
import { serveMessages } from './worker.ts';

/** What a worker's global scope has; the library of types is that of Node here. */
interface WorkerScope {
  postMessage(message: WorkerToHost): void;
  addEventListener(
    type: 'message',
    listener: (event: { readonly data: HostToWorker }) => void,
  ): void;
}

/** Waits until messages that have arrived are taken in; timers would wait longer. */
const createYield = (): (() => Promise<void>) => {
  const { port1, port2 } = new MessageChannel();
  const waiting: (() => void)[] = [];
  port1.onmessage = () => waiting.shift()?.();
  return () =>
    new Promise((resolve) => {
      waiting.push(resolve);
      port2.postMessage(0);
    });
};

const scope = globalThis as unknown as WorkerScope;
const take = serveMessages((message) => scope.postMessage(message), createYield());
scope.addEventListener('message', ({ data }) => take(data));
