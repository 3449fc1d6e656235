/**
 * What the adapter needs of the place where it runs: a Node worker, a web worker, a process on
 * standard input and output, or a test.
 */
export interface AdapterHost {
  /** The contents of a file by path or URI; rejects with an Error that says why not. */
  readFile(path: string): Promise<Uint8Array>;
  /** Milliseconds; only differences mean something. */
  now(): number;
  /** Resolves after waiting messages have been taken in. */
  yieldNow(): Promise<void>;
}
