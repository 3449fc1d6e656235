/**
 * The adapter in a real worker thread, as the extension runs it.
 */
import { mkdir, mkdtemp, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { Worker } from 'node:worker_threads';
import type { DebugProtocol } from '@vscode/debugprotocol';
import { build } from 'esbuild';
import { afterAll, beforeAll, expect, test } from 'vitest';
import type { HostToWorker, WorkerToHost } from './protocol.ts';

const root = fileURLToPath(new URL('..', import.meta.url));
const SPINNING = 'bits 32\nglobal _start\n_start: inc eax\njmp _start\n';
const NOTE =
  'section .note.Xen note alloc noexec nowrite align=4\ndd 4, 4, 18\ndb "Xen", 0\ndd _start\nsection .text\n';
const LOOKS = 10;
const ANSWER_LIMIT_MS = 100;

let folder: string;
let worker: Worker;
beforeAll(async () => {
  await mkdir(join(root, '.cache'), { recursive: true });
  folder = await mkdtemp(join(root, '.cache', 'worker-'));
  const outfile = join(folder, 'worker.mjs');
  const entry = join(root, 'debug-adapter', 'worker-main.ts');
  await build({
    entryPoints: [entry],
    outfile,
    bundle: true,
    format: 'esm',
    platform: 'node',
    packages: 'external',
  });
  worker = new Worker(outfile);
});
afterAll(async () => {
  await worker.terminate();
  await rm(folder, { recursive: true });
});

test('requests are answered and a pause takes effect while a guest spins', async () => {
  const waiting = new Map<string, (message: DebugProtocol.ProtocolMessage) => void>();
  const post = (message: HostToWorker): void => worker.postMessage(message);
  worker.on('message', (message: WorkerToHost) => {
    if (message.kind === 'readFile') {
      const bytes = new TextEncoder().encode(NOTE + SPINNING);
      return post({ kind: 'file', id: message.id, bytes });
    }
    const { type, event, command } = message.message as DebugProtocol.Event &
      DebugProtocol.Response;
    waiting.get(type === 'event' ? event : command)?.(message.message);
  });
  const next = (name: string): Promise<DebugProtocol.ProtocolMessage> =>
    new Promise((resolve) => waiting.set(name, resolve));
  let seq = 0;
  const ask = async (command: string, args: object, awaited = command): Promise<void> => {
    seq += 1;
    const answer = next(awaited);
    const request = { seq, type: 'request', command, arguments: args };
    post({ kind: 'dap', message: request });
    await answer;
  };
  await ask('initialize', { adapterID: 'hyperstep' });
  await ask('launch', { program: 'spin.asm' }, 'initialized');
  await ask('configurationDone', {}, 'stopped');
  await ask('continue', { threadId: 256 });
  const start = performance.now();
  for (let look = 0; look < LOOKS; look += 1) await ask('threads', {});
  await ask('pause', { threadId: 256 }, 'stopped');

  expect((performance.now() - start) / (LOOKS + 1)).toBeLessThan(ANSWER_LIMIT_MS);
});
