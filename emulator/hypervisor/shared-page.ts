/**
 * A page that a domain shares with a backend, and rings of bytes in it: an array of a power of two
 * bytes, a consumer's and a producer's index that count without end.
 * Source: Xen public/io/xs_wire.h, public/io/console.h.
 */
import { type Mfn, maddrOf } from '../memory/addresses.ts';
import { hostAddressOf } from '../memory/machine-memory.ts';
import { type Hypervisor, writeMaddr } from './hypervisor.ts';

export interface SharedPage {
  readonly bytes: Uint8Array;
  write(offset: number, bytes: Uint8Array): void;
}

/** A machine frame; the engine is told of what is written. */
export const pageOf = (hypervisor: Hypervisor, mfn: Mfn): SharedPage => {
  const host = hostAddressOf(maddrOf(mfn));
  return {
    bytes: hypervisor.hardware.memory.bytes.subarray(host, host + 4096),
    write: (offset, bytes) => writeMaddr(hypervisor, maddrOf(mfn, offset), bytes),
  };
};

export const readWord = ({ bytes }: SharedPage, offset: number): number =>
  new DataView(bytes.buffer, bytes.byteOffset).getUint32(offset, true);

export const writeWord = (page: SharedPage, offset: number, value: number): void => {
  const bytes = new Uint8Array(4);
  new DataView(bytes.buffer).setUint32(0, value, true);
  page.write(offset, bytes);
};

export interface Ring {
  readonly offset: number;
  readonly lengthBytes: number;
  /** Where the indexes are. */
  readonly consumer: number;
  readonly producer: number;
}

/** Bytes that wait in a ring; undefined if the indexes make no sense. */
export const filledBytes = (page: SharedPage, ring: Ring): number | undefined => {
  const filled = (readWord(page, ring.producer) - readWord(page, ring.consumer)) >>> 0;
  return filled > ring.lengthBytes ? undefined : filled;
};

/** Takes at most `limit` of the bytes that wait. */
export const takeBytes = (page: SharedPage, ring: Ring, limit: number): Uint8Array => {
  const count = Math.min(filledBytes(page, ring) ?? 0, limit);
  const consumer = readWord(page, ring.consumer);
  const taken = Uint8Array.from(
    { length: count },
    (_, at) => page.bytes[ring.offset + ((consumer + at) % ring.lengthBytes)] ?? 0,
  );
  if (count > 0) writeWord(page, ring.consumer, (consumer + count) >>> 0);
  return taken;
};

/** Puts as many of the bytes into a ring as there is room for; how many. */
export const putBytes = (page: SharedPage, ring: Ring, bytes: Uint8Array): number => {
  const room = ring.lengthBytes - (filledBytes(page, ring) ?? ring.lengthBytes);
  const count = Math.min(room, bytes.length);
  const producer = readWord(page, ring.producer);
  for (let at = 0; at < count; ) {
    const start = (producer + at) % ring.lengthBytes;
    const piece = Math.min(count - at, ring.lengthBytes - start);
    page.write(ring.offset + start, bytes.subarray(at, at + piece));
    at += piece;
  }
  if (count > 0) writeWord(page, ring.producer, (producer + count) >>> 0);
  return count;
};
