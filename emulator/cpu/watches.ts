/**
 * Watched memory: which accesses are to be told of. The fast engines leave watched pages to the
 * precise one, which notes here what an instruction did to them; the run loop returns then.
 * An instruction that reads and writes a watched place is noted once, as a write.
 */

import type { Maddr } from '../memory/addresses.ts';
import { hostAddressOf, type MachineMemory } from '../memory/machine-memory.ts';

/** A watched range; linear addresses are those of the vCPU that runs. */
export interface Watch {
  readonly id: number;
  readonly space: 'linear' | 'machine';
  readonly first: bigint;
  /** Included. */
  readonly last: bigint;
  readonly reads: boolean;
  readonly writes: boolean;
}

/** Who has accessed: an instruction, a page walk that sets A and D, the hypervisor's software. */
export type AccessOrigin = 'instruction' | 'page walk' | 'hypervisor';

export interface WatchedAccess {
  readonly watch: number;
  readonly by: AccessOrigin;
  /** Undefined for the hypervisor's own. */
  readonly linear: bigint | undefined;
  readonly maddr: number;
  readonly lengthBytes: number;
  readonly write: boolean;
  /** Little-endian; undefined where it is not known. */
  readonly value: bigint | undefined;
  /** Before a write. */
  readonly oldValue: bigint | undefined;
}

/** A stretch of an access within one page. */
export interface Piece {
  readonly host: number;
  readonly bytes: number;
}

export interface Watches {
  /** Whether anything is watched. */
  readonly isActive: boolean;
  set(watches: readonly Watch[]): void;
  /** What is noted from here on is of the instruction at this RIP. */
  begin(rip: bigint): void;
  /** Whether the page has watched bytes for this kind of access; addresses of any byte in it. */
  watchesPage(low: number, high: number, host: number, write: boolean): boolean;
  noteRead(linear: bigint, pieces: readonly Piece[], value: bigint): void;
  /** Before the bytes are written. */
  noteWrite(linear: bigint, pieces: readonly Piece[], value: bigint): void;
  /** A page walk is about to set bits in an entry. */
  noteWalk(linear: bigint, maddr: number): void;
  /** The hypervisor has written. */
  noteSoftware(maddr: number, lengthBytes: number): void;
  /** The instruction has not completed: what it did to memory is not told. */
  dropUnfinished(): void;
  /** Whether there is something to tell. */
  readonly isPending: boolean;
  take(): { readonly rip: bigint; readonly accesses: readonly WatchedAccess[] };
}

const ENTRY_BYTES = 8;
/** Values of longer writes are not told. */
const LONGEST_VALUE = 16;
const RAM = hostAddressOf(0 as Maddr);

/** A watch as page numbers: 48 bits of a linear address, or a machine address. */
interface WatchedPages {
  readonly watch: Watch;
  readonly firstPage: number;
  readonly lastPage: number;
}

const pageOf = (address: bigint): number => Number(BigInt.asUintN(48, address) >> 12n);

/** No watches at first. */
export const createWatches = ({ bytes }: MachineMemory): Watches => {
  let linear: readonly WatchedPages[] = [];
  let machine: readonly WatchedPages[] = [];
  let noted: WatchedAccess[] = [];
  let current = 0n;

  const valueAt = (host: number, lengthBytes: number): bigint => {
    let value = 0n;
    for (let i = lengthBytes - 1; i >= 0; i -= 1) {
      value = (value << 8n) | BigInt(bytes[host + i] ?? 0);
    }
    return value;
  };
  const note = (access: WatchedAccess): void => {
    const at = noted.findIndex(({ watch, by }) => watch === access.watch && by === access.by);
    if (at < 0) noted.push(access);
    else if (access.write && noted[at]?.write === false) noted[at] = access;
  };
  const isIn = (pages: readonly WatchedPages[], page: number, write: boolean): boolean =>
    pages.some(
      // Translations that are remembered for writes serve reads, too.
      ({ watch, firstPage, lastPage }) =>
        page >= firstPage && page <= lastPage && (write || watch.reads),
    );
  const noteAccess = (
    address: bigint,
    pieces: readonly Piece[],
    value: bigint,
    write: boolean,
  ): void => {
    const [first] = pieces;
    if (first === undefined) return;
    const lengthBytes = pieces.reduce((sum, piece) => sum + piece.bytes, 0);
    const touches = ({ watch }: WatchedPages, from: bigint, count: number): boolean =>
      (write ? watch.writes : watch.reads) &&
      from <= watch.last &&
      from + BigInt(count) > watch.first;
    const touched = [
      ...linear.filter((one) => touches(one, address, lengthBytes)),
      ...machine.filter((one) =>
        pieces.some((piece) => touches(one, BigInt(piece.host - RAM), piece.bytes)),
      ),
    ];
    if (touched.length === 0) return;
    let before: bigint | undefined;
    if (write) {
      before = 0n;
      let shift = 0n;
      for (const piece of pieces) {
        before |= valueAt(piece.host, piece.bytes) << shift;
        shift += BigInt(piece.bytes * 8);
      }
    }
    for (const { watch } of touched) {
      note({
        watch: watch.id,
        by: 'instruction',
        linear: address,
        maddr: first.host - RAM,
        lengthBytes,
        write,
        value,
        oldValue: before,
      });
    }
  };
  const touchingMachine = (maddr: number, lengthBytes: number): readonly Watch[] =>
    machine
      .map(({ watch }) => watch)
      .filter(
        ({ writes, first, last }) =>
          writes && BigInt(maddr) <= last && BigInt(maddr + lengthBytes) > first,
      );
  return {
    get isActive() {
      return linear.length + machine.length > 0;
    },
    set(watches) {
      const pages = watches.map((watch) => ({
        watch,
        firstPage: pageOf(watch.first),
        lastPage: pageOf(watch.last),
      }));
      linear = pages.filter(({ watch }) => watch.space === 'linear');
      machine = pages.filter(({ watch }) => watch.space === 'machine');
    },
    begin(rip) {
      current = rip;
    },
    watchesPage(low, high, host, write) {
      if (linear.length > 0) {
        const page = (high & 0xffff) * 2 ** 20 + (low >>> 12);
        if (isIn(linear, page, write)) return true;
      }
      return machine.length > 0 && isIn(machine, (host - RAM) >>> 12, write);
    },
    noteRead(address, pieces, value) {
      if (linear.length + machine.length > 0) noteAccess(address, pieces, value, false);
    },
    noteWrite(address, pieces, value) {
      if (linear.length + machine.length > 0) noteAccess(address, pieces, value, true);
    },
    noteWalk(address, maddr) {
      for (const { id } of touchingMachine(maddr, ENTRY_BYTES)) {
        note({
          watch: id,
          by: 'page walk',
          linear: address,
          maddr,
          lengthBytes: ENTRY_BYTES,
          write: true,
          value: undefined,
          oldValue: valueAt(maddr + RAM, ENTRY_BYTES),
        });
      }
    },
    noteSoftware(maddr, lengthBytes) {
      if (machine.length === 0) return;
      const value = lengthBytes > LONGEST_VALUE ? undefined : valueAt(maddr + RAM, lengthBytes);
      for (const { id } of touchingMachine(maddr, lengthBytes)) {
        note({
          watch: id,
          by: 'hypervisor',
          linear: undefined,
          maddr,
          lengthBytes,
          write: true,
          value,
          oldValue: undefined,
        });
      }
    },
    dropUnfinished() {
      if (noted.length > 0) noted = noted.filter(({ by }) => by !== 'instruction');
    },
    get isPending() {
      return noted.length > 0;
    },
    take() {
      const accesses = noted;
      noted = [];
      return { rip: current, accesses };
    },
  };
};
