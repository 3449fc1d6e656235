/**
 * The debug adapter as a web worker; the host speaks DAP and answers for files by messages.
 */
import type { HostToWorker, WorkerToHost } from './protocol.ts';
import { createYield, serveMessages } from './worker.ts';

/** What a worker's global scope has; the library of types is that of Node here. */
interface WorkerScope {
  postMessage(message: WorkerToHost): void;
  addEventListener(
    type: 'message',
    listener: (event: { readonly data: HostToWorker }) => void,
  ): void;
}

const scope = globalThis as unknown as WorkerScope;
const take = serveMessages((message) => scope.postMessage(message), createYield());
scope.addEventListener('message', ({ data }) => take(data));
