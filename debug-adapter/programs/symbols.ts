/**
 * The names of addresses in a program.
 */
import type { ProgramSymbol } from '../../emulator/index.ts';

export interface SymbolTable {
  /** 'print', or 'print+0x12'; undefined if no symbol is at most a page before it. */
  nameOf(address: bigint): string | undefined;
  /** Symbols exactly here. */
  at(address: bigint): readonly string[];
  /** Starts of functions and other non-local labels before or at an address, nearest first. */
  startsBefore(address: bigint): readonly bigint[];
  addressOf(name: string): bigint | undefined;
  /** In the order of their addresses. */
  readonly symbols: readonly ProgramSymbol[];
}

/** How far after a symbol an address still is named by it, when the symbol has no size. */
const REACH = 0x1000n;

/** A NASM local label, `print.loop`. */
const isLocal = (name: string): boolean => name.lastIndexOf('.') > 0;

export const createSymbolTable = (all: readonly ProgramSymbol[]): SymbolTable => {
  const symbols = all
    .filter(({ name }) => name !== '')
    .sort((a, b) => (a.address < b.address ? -1 : a.address > b.address ? 1 : 0));
  const byName = new Map(symbols.map((symbol) => [symbol.name, symbol.address]));
  const byAddress = groupByAddress(symbols);
  const before = (address: bigint): readonly ProgramSymbol[] => {
    let low = 0;
    let high = symbols.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if ((symbols[middle]?.address ?? 0n) <= address) low = middle + 1;
      else high = middle;
    }
    return symbols.slice(Math.max(0, low - 64), low).reverse();
  };
  return {
    nameOf(address) {
      const found = before(address).find(
        (symbol) =>
          address - symbol.address < REACH || address - symbol.address < BigInt(symbol.sizeBytes),
      );
      if (found === undefined) return undefined;
      const offset = address - found.address;
      return offset === 0n ? found.name : `${found.name}+0x${offset.toString(16)}`;
    },
    at: (address) => (byAddress.get(address) ?? []).map(({ name }) => name),
    startsBefore: (address) => [
      ...new Set(
        before(address)
          .filter(({ name }) => !isLocal(name))
          .map((symbol) => symbol.address),
      ),
    ],
    addressOf: (name) => byName.get(name),
    symbols,
  };
};

const groupByAddress = (
  symbols: readonly ProgramSymbol[],
): ReadonlyMap<bigint, readonly ProgramSymbol[]> => {
  const groups = new Map<bigint, ProgramSymbol[]>();
  for (const symbol of symbols) {
    const group = groups.get(symbol.address) ?? [];
    group.push(symbol);
    groups.set(symbol.address, group);
  }
  return groups;
};
