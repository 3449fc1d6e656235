/**
 * Little-endian fields of a file, checked: reading past the end is a ProgramError that names the
 * field and its offset.
 */
import { hex, ProgramError } from './loader.ts';

export class ByteReader {
  readonly #view: DataView;
  readonly #bytes: Uint8Array;

  constructor(bytes: Uint8Array) {
    this.#bytes = bytes;
    this.#view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  }

  get lengthBytes(): number {
    return this.#bytes.length;
  }

  u8(offset: number, field: string): number {
    return this.#view.getUint8(this.#check(offset, 1, field));
  }

  u16(offset: number, field: string): number {
    return this.#view.getUint16(this.#check(offset, 2, field), true);
  }

  u32(offset: number, field: string): number {
    return this.#view.getUint32(this.#check(offset, 4, field), true);
  }

  u64(offset: number, field: string): bigint {
    return this.#view.getBigUint64(this.#check(offset, 8, field), true);
  }

  /** A 64-bit field that must be a sensible size or offset. */
  size(offset: number, field: string): number {
    const value = this.u64(offset, field);
    if (value > BigInt(Number.MAX_SAFE_INTEGER)) {
      throw new ProgramError(`${field} at offset ${hex(offset)} is ${hex(value)}, too large.`);
    }
    return Number(value);
  }

  slice(offset: number, lengthBytes: number, field: string): Uint8Array {
    this.#check(offset, lengthBytes, field);
    return this.#bytes.subarray(offset, offset + lengthBytes);
  }

  /** A string that ends with a zero byte, or at `end`. */
  text(offset: number, end: number, field: string): string {
    if (offset >= end) throw new ProgramError(`${field} at offset ${hex(offset)} lies outside.`);
    this.#check(offset, end - offset, field);
    const zero = this.#bytes.indexOf(0, offset);
    const stop = zero < 0 || zero > end ? end : zero;
    return String.fromCharCode(...this.#bytes.subarray(offset, Math.min(stop, offset + 4096)));
  }

  #check(offset: number, lengthBytes: number, field: string): number {
    if (offset < 0 || lengthBytes < 0 || offset + lengthBytes > this.#bytes.length) {
      throw new ProgramError(
        `${field} at offset ${hex(offset)} (${lengthBytes} bytes) lies outside the file of ${this.#bytes.length} bytes.`,
      );
    }
    return offset;
  }
}
