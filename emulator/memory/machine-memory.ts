/**
 * The one WebAssembly memory of a machine: processor state, engine tables and RAM, with the
 * typed views on it. It is created at full size and never grows, since growing detaches views.
 */
import { PAGE_FLAGS, RAM } from '../cpu/state.ts';
import { type Maddr, PAGE_BYTES } from './addresses.ts';

/** Bits of a machine page's byte at PAGE_FLAGS. */
export const PAGE_HAS_CODE = 1;
export const PAGE_IS_WATCHED = 2;
export const PAGE_IS_DIRTY = 4;
/** An entry of it was used to translate an address that an engine remembers; of code, too. */
export const PAGE_HAS_TABLE = 8;
export const PAGE_HAS_CODE_TABLE = 16;

export interface MachineMemory {
  readonly memory: WebAssembly.Memory;
  readonly ramBytes: number;
  readonly bytes: Uint8Array<ArrayBuffer>;
  /** Index by address >> 2. */
  readonly words: Int32Array<ArrayBuffer>;
  /** Index by address >> 3. */
  readonly quads: BigUint64Array<ArrayBuffer>;
  readonly view: DataView<ArrayBuffer>;
}

const WASM_PAGE_BYTES = 65_536;

/** A memory with `ramBytes` of RAM, a multiple of 4096, at most 4 GiB less the tables. */
export const createMachineMemory = (ramBytes: number): MachineMemory => {
  if (ramBytes % PAGE_BYTES !== 0 || ramBytes <= 0 || RAM + ramBytes > 2 ** 32) {
    throw new RangeError(`RAM of ${ramBytes} bytes is not a multiple of 4096 that fits.`);
  }
  const initial = Math.ceil((RAM + ramBytes) / WASM_PAGE_BYTES);
  const memory = new WebAssembly.Memory({ initial, maximum: initial });
  const buffer = memory.buffer as ArrayBuffer;
  return {
    memory,
    ramBytes,
    bytes: new Uint8Array(buffer),
    words: new Int32Array(buffer),
    quads: new BigUint64Array(buffer),
    view: new DataView(buffer),
  };
};

/** Where a machine address lies in the WebAssembly memory. */
export const hostAddressOf = (address: Maddr): number => RAM + address;
/** The flag byte of the machine page at a host address. */
export const pageFlagSlot = (hostAddress: number): number =>
  PAGE_FLAGS + Math.floor((hostAddress - RAM) / PAGE_BYTES);
