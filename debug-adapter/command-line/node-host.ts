/**
 * Files, time and waiting in a Node process.
 */
import { readFile } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';
import type { AdapterHost } from '../host.ts';

/** Windows and POSIX paths, and file URIs. */
export const nodeHost: AdapterHost = {
  readFile: async (path) => readFile(path.startsWith('file:') ? fileURLToPath(path) : path),
  now: () => performance.now(),
  yieldNow: () =>
    new Promise((resolve) => {
      setImmediate(resolve);
    }),
};
