/**
 * Files, time and waiting in a Node process.
 */
import { readFile } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';
import type { AdapterHost } from '../host.ts';

const REASONS: Readonly<Record<string, string>> = {
  ENOENT: 'there is no such file',
  EISDIR: 'it is a folder',
  ENOTDIR: 'a part of its path is no folder',
  EACCES: 'there is no right to',
  EPERM: 'there is no right to',
  EROFS: 'the file system is read-only',
  ENOSPC: 'the disk is full',
};

/** Why a file cannot be read or written, in words that name neither path nor system call. */
export const reasonOf = (error: unknown): string => {
  const code = error instanceof Error && 'code' in error ? String(error.code) : '';
  return REASONS[code] ?? (error instanceof Error ? error.message : String(error));
};

/** Windows and POSIX paths, and file URIs. */
export const nodeHost: AdapterHost = {
  readFile: async (path) => {
    try {
      return await readFile(path.startsWith('file:') ? fileURLToPath(path) : path);
    } catch (error) {
      throw new Error(reasonOf(error), { cause: error });
    }
  },
  now: () => performance.now(),
  yieldNow: () =>
    new Promise((resolve) => {
      setImmediate(resolve);
    }),
};
