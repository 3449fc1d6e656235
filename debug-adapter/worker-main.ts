/**
 * The debug adapter as a Node worker thread; the host speaks DAP and answers for files by messages.
 */
import { parentPort } from 'node:worker_threads';
import type { HostToWorker } from './protocol.ts';
import { serveMessages } from './worker.ts';

const port = parentPort;
if (port === null) throw new Error('This module runs in a worker thread.');
/**
 * Lets the event loop take in what has arrived. A message to oneself would not: Node serves up to a
 * thousand messages of one port before it looks at another, and each of ours starts a slice.
 */
const yieldNow = (): Promise<void> =>
  new Promise((resolve) => {
    setImmediate(resolve);
  });
const take = serveMessages((message) => port.postMessage(message), yieldNow);
port.on('message', (message: HostToWorker) => take(message));
