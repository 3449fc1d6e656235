/**
 * The debug adapter as a Node worker thread; the host speaks DAP and answers for files by messages.
 */
import { parentPort } from 'node:worker_threads';
import type { HostToWorker } from './protocol.ts';
import { createYield, serveMessages } from './worker.ts';

const port = parentPort;
if (port === null) throw new Error('This module runs in a worker thread.');
const take = serveMessages((message) => port.postMessage(message), createYield());
port.on('message', (message: HostToWorker) => take(message));
