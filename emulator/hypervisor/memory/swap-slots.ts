/**
 * Pages on a swap device. Each slot has a descriptor that says whose page it holds, which version of
 * it, and its checksum, and that has a checksum of its own:
 *
 *   header       4096 bytes: magic, number of slots, checksum
 *   descriptors  32 bytes each: domain u32, gfn u64, version u64, sum of the page u32,
 *                sum of the descriptor u32, zeros
 *   pages        4096 bytes each
 *
 * A page is written before its descriptor, and only into a slot whose descriptor is void. A write
 * that is cut short therefore leaves the slot void, and whatever was valid before still is.
 */
import { fromBase64, toBase64 } from '../../base64.ts';
import { checksumOf } from '../../checksum.ts';
import type { SavedPart } from '../hypervisor.ts';
import type { SwapDevice } from './swap-device.ts';

export interface SlotOwner {
  readonly domain: number;
  readonly gfn: number;
}

export interface StoredPage extends SlotOwner {
  readonly slot: number;
  readonly version: number;
}

/** Saves what the device holds; restoring writes it there. */
export interface SwapSlots extends SavedPart {
  readonly count: number;
  readonly used: number;
  /** Stores a page; its slot, or undefined if there is no room or the device failed. */
  store(owner: SlotOwner, page: Uint8Array): number | undefined;
  /** The page in a slot; undefined if the device fails, or has not what was stored there. */
  load(slot: number, owner: SlotOwner): Uint8Array | undefined;
  free(slot: number): void;
  /** Makes all slots void. */
  format(): void;
  /** What the device holds, as its descriptors say: the last version of each page. */
  recover(): StoredPage[];
}

const PAGE = 4096;
const DESCRIPTOR = 32;
/** "HSWP", the first bytes of a device that was used. */
export const SWAP_MAGIC = 0x5057_5348;
/** Descriptors are made void in pieces of so many bytes. */
const CLEARED = 65_536;
const SUMMED = 24;
const FREE = 0;
const USED = 1;
/** A write to it has failed. */
const BAD = 2;
/** Slots that are tried for one page. */
const ATTEMPTS = 4;

/** How many slots fit on a device of this size. */
const slotsOf = (lengthBytes: number): number =>
  Math.max(0, Math.floor((lengthBytes - 2 * PAGE) / (PAGE + DESCRIPTOR)));

/** The size of a device with so many slots. */
export const deviceBytesFor = (slots: number): number => 2 * PAGE + slots * (PAGE + DESCRIPTOR);

export const createSwapSlots = (device: SwapDevice): SwapSlots => {
  const count = slotsOf(device.lengthBytes);
  const pagesAt = Math.ceil((PAGE + count * DESCRIPTOR) / PAGE) * PAGE;
  const isUsed = new Uint8Array(count);
  const bad: number[] = [];
  let used = 0;
  let lowest = 0;
  let version = 0;

  const descriptorOf = ({ domain, gfn }: SlotOwner, page: Uint8Array): Uint8Array => {
    const bytes = new Uint8Array(DESCRIPTOR);
    const view = new DataView(bytes.buffer);
    view.setUint32(0, domain, true);
    view.setBigUint64(4, BigInt(gfn), true);
    view.setBigUint64(12, BigInt(version), true);
    view.setUint32(20, checksumOf(page), true);
    view.setUint32(SUMMED, checksumOf(bytes.subarray(0, SUMMED)), true);
    return bytes;
  };
  const readDescriptor = (slot: number): (StoredPage & { readonly sum: number }) | undefined => {
    const bytes = device.read(PAGE + slot * DESCRIPTOR, DESCRIPTOR);
    if (bytes === undefined) return undefined;
    const view = new DataView(bytes.buffer, bytes.byteOffset);
    const found = {
      slot,
      domain: view.getUint32(0, true),
      gfn: Number(view.getBigUint64(4, true)),
      version: Number(view.getBigUint64(12, true)),
      sum: view.getUint32(20, true),
    };
    const isValid = view.getUint32(SUMMED, true) === checksumOf(bytes.subarray(0, SUMMED));
    return isValid && found.version > 0 ? found : undefined;
  };
  const erase = (slot: number): boolean =>
    device.write(PAGE + slot * DESCRIPTOR, new Uint8Array(DESCRIPTOR));
  const write = (slot: number, page: Uint8Array, descriptor: Uint8Array): boolean =>
    erase(slot) &&
    device.write(pagesAt + slot * PAGE, page) &&
    device.write(PAGE + slot * DESCRIPTOR, descriptor);
  const find = (): number | undefined => {
    while (lowest < count && isUsed[lowest] !== FREE) lowest += 1;
    return lowest < count ? lowest : undefined;
  };
  const usedSlots = (): number[] => {
    const found: number[] = [];
    for (let slot = 0; found.length < used; slot += 1) if (isUsed[slot] === USED) found.push(slot);
    return found;
  };
  const take = (slot: number): void => {
    isUsed[slot] = USED;
    used += 1;
  };
  const writeHeader = (): void => {
    const header = new Uint8Array(16);
    const view = new DataView(header.buffer);
    view.setUint32(0, SWAP_MAGIC, true);
    view.setUint32(4, count, true);
    view.setUint32(8, checksumOf(header.subarray(0, 8)), true);
    device.write(0, header);
  };
  return {
    count,
    get used() {
      return used;
    },
    store(owner, page) {
      version += 1;
      const descriptor = descriptorOf(owner, page);
      for (let attempt = 0; attempt < ATTEMPTS; attempt += 1) {
        const slot = find();
        if (slot === undefined) return undefined;
        if (write(slot, page, descriptor)) {
          take(slot);
          return slot;
        }
        isUsed[slot] = BAD;
        bad.push(slot);
      }
      return undefined;
    },
    load(slot, { domain, gfn }) {
      const stored = readDescriptor(slot);
      if (stored === undefined || stored.domain !== domain || stored.gfn !== gfn) return undefined;
      const page = device.read(pagesAt + slot * PAGE, PAGE);
      return page !== undefined && checksumOf(page) === stored.sum ? page : undefined;
    },
    free(slot) {
      if (isUsed[slot] !== USED) return;
      // If this fails the slot is made void before it is used again.
      erase(slot);
      isUsed[slot] = FREE;
      used -= 1;
      lowest = Math.min(lowest, slot);
    },
    format,
    recover,
    save: () => ({
      bad,
      version,
      pages: usedSlots().flatMap((slot) => {
        const descriptor = device.read(PAGE + slot * DESCRIPTOR, DESCRIPTOR);
        const page = device.read(pagesAt + slot * PAGE, PAGE);
        return descriptor && page ? [[slot, toBase64(descriptor), toBase64(page)]] : [];
      }),
    }),
    restore(saved) {
      const { bad: known, version: last, pages } = saved as unknown as SavedSlots;
      format();
      for (const [slot, descriptor, page] of pages) {
        write(slot, fromBase64(page), fromBase64(descriptor));
      }
      recover();
      version = last;
      bad.splice(0, bad.length, ...known);
      for (const slot of bad) isUsed[slot] = BAD;
    },
  };

  function format(): void {
    const zeros = new Uint8Array(CLEARED);
    for (let at = 0; at < count * DESCRIPTOR; at += CLEARED) {
      const room = Math.min(CLEARED, count * DESCRIPTOR - at);
      const isVoid = device.read(PAGE + at, room)?.every((byte) => byte === 0) === true;
      if (!isVoid) device.write(PAGE + at, zeros.subarray(0, room));
    }
    writeHeader();
    isUsed.fill(FREE);
    used = 0;
    lowest = 0;
  }

  function recover(): StoredPage[] {
    const last = new Map<string, StoredPage>();
    for (let slot = 0; slot < count; slot += 1) {
      const stored = readDescriptor(slot);
      if (stored === undefined) continue;
      const { domain, gfn } = stored;
      const key = `${domain}:${gfn}`;
      if (stored.version > (last.get(key)?.version ?? 0)) {
        last.set(key, { slot, domain, gfn, version: stored.version });
      }
    }
    isUsed.fill(FREE);
    used = 0;
    lowest = 0;
    const pages = [...last.values()];
    for (const { slot } of pages) take(slot);
    version = pages.reduce((most, page) => Math.max(most, page.version), version);
    return pages;
  }
};

interface SavedSlots {
  readonly bad: readonly number[];
  readonly version: number;
  readonly pages: readonly (readonly [slot: number, descriptor: string, page: string])[];
}
