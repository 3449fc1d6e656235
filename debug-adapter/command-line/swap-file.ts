/**
 * A file as the machine's swap device. A file that is there is used only if it is a swap file; what
 * it held is given up. Writes go where they belong at once: what makes them safe is the order in which
 * the machine makes them, and its checksums.
 */
import { closeSync, fstatSync, ftruncateSync, openSync, readSync, writeSync } from 'node:fs';
import { SWAP_MAGIC, type SwapDevice } from '../../emulator/index.ts';

export interface SwapFile extends SwapDevice {
  close(): void;
}

/** Opens or makes the file; throws an Error with a sentence. */
export const openSwapFile = (path: string, lengthBytes: number): SwapFile => {
  const file = openFile(path);
  try {
    ftruncateSync(file, lengthBytes);
  } catch (error) {
    closeSync(file);
    throw new Error(`${path}: ${messageOf(error)}`);
  }
  return {
    lengthBytes,
    read(offset, length) {
      const bytes = new Uint8Array(length);
      try {
        return readSync(file, bytes, 0, length, offset) === length ? bytes : undefined;
      } catch {
        return undefined;
      }
    },
    write(offset, bytes) {
      if (offset + bytes.length > lengthBytes) return false;
      try {
        return writeSync(file, bytes, 0, bytes.length, offset) === bytes.length;
      } catch {
        return false;
      }
    },
    close: () => closeSync(file),
  };
};

const openFile = (path: string): number => {
  try {
    return openSync(path, 'wx+');
  } catch (error) {
    if (codeOf(error) !== 'EEXIST') throw new Error(`${path}: ${messageOf(error)}`);
  }
  let file: number;
  try {
    file = openSync(path, 'r+');
  } catch (error) {
    throw new Error(`${path}: ${messageOf(error)}`);
  }
  const magic = new Uint8Array(4);
  const isOurs =
    fstatSync(file).size === 0 ||
    (readSync(file, magic, 0, 4, 0) === 4 &&
      new DataView(magic.buffer).getUint32(0, true) === SWAP_MAGIC);
  if (isOurs) return file;
  closeSync(file);
  throw new Error(`${path} is there and is no swap file; name another, or remove it.`);
};

const codeOf = (error: unknown): unknown =>
  typeof error === 'object' && error !== null && 'code' in error ? error.code : undefined;
const messageOf = (error: unknown): string =>
  error instanceof Error ? error.message : String(error);
