/**
 * Where swapped pages are kept: a store of bytes that a machine is given. It has no order of its own
 * and may fail at any access; what is on it is checked (swap-slots.ts).
 */
export interface SwapDevice {
  readonly lengthBytes: number;
  /** Undefined if it can not be read. */
  read(offset: number, lengthBytes: number): Uint8Array | undefined;
  /** False if it fails; some of the bytes may have been written then. */
  write(offset: number, bytes: Uint8Array): boolean;
}

const BLOCK = 4096;

/** A device in memory, which takes room for what has been written. */
export const createMemoryDevice = (lengthBytes: number): SwapDevice => {
  const blocks = new Map<number, Uint8Array>();
  /** Calls `use` for each piece within a block. */
  const eachPiece = (
    offset: number,
    length: number,
    use: (block: number, within: number, done: number, pieceBytes: number) => void,
  ): void => {
    for (let done = 0; done < length; ) {
      const within = (offset + done) % BLOCK;
      const pieceBytes = Math.min(BLOCK - within, length - done);
      use(Math.floor((offset + done) / BLOCK), within, done, pieceBytes);
      done += pieceBytes;
    }
  };
  return {
    lengthBytes,
    read(offset, length) {
      const bytes = new Uint8Array(length);
      eachPiece(offset, length, (block, within, done, pieceBytes) => {
        const from = blocks.get(block)?.subarray(within, within + pieceBytes);
        if (from !== undefined) bytes.set(from, done);
      });
      return bytes;
    },
    write(offset, bytes) {
      if (offset + bytes.length > lengthBytes) return false;
      eachPiece(offset, bytes.length, (block, within, done, pieceBytes) => {
        const into = blocks.get(block) ?? new Uint8Array(BLOCK);
        blocks.set(block, into);
        into.set(bytes.subarray(done, done + pieceBytes), within);
      });
      return true;
    },
  };
};
