/**
 * Between addresses of a program and the lines of its sources: from the assembler for programs in
 * source, else from the executable's DWARF.
 */

import { comparablePath, folderOf, joinPath } from '../../assembler/index.ts';
import type { ProgramView } from '../../emulator/index.ts';
import type { OpenedProgram } from './open-program.ts';

export interface SourcePlace {
  readonly path: string;
  readonly line: number;
  /** From 1. */
  readonly column: number;
}

/** Addresses [first, end) that come from one place. */
interface MappedRange extends SourcePlace {
  readonly first: bigint;
  readonly end: bigint;
}

/** Addresses [first, end) between which there is code of one line only. */
export interface Run {
  readonly first: bigint;
  readonly end: bigint;
}

export interface SourceMap {
  /** The place whose code contains the address. */
  placeOf(address: bigint): SourcePlace | undefined;
  /** Where the code of a line begins, lowest first: once for all instructions of a macro. */
  addressesOf(path: string, line: number): readonly bigint[];
  /** The line's instructions around an address; the several of a macro belong together. */
  runOf(address: bigint): Run | undefined;
  /** The lines of a file that have code, ascending. */
  linesOf(path: string): readonly number[];
  /** All files, as they were first named. */
  readonly files: readonly string[];
  /** Where instructions are known to begin. */
  readonly boundaries: readonly bigint[];
}

export const createSourceMap = (program: OpenedProgram, view: ProgramView): SourceMap => {
  const ranges = program.assembly === undefined ? fromDwarf(program, view) : fromAssembly(program);
  const sorted = [...ranges].sort((a, b) => (a.first < b.first ? -1 : a.first > b.first ? 1 : 0));
  const byFile = new Map<string, Map<number, bigint[]>>();
  const names = new Map<string, string>();
  const runs = runsOf(sorted);
  for (const { path, line, first } of runs) {
    const key = comparablePath(path);
    if (!names.has(key)) names.set(key, path);
    const lines = byFile.get(key) ?? new Map<number, bigint[]>();
    byFile.set(key, lines);
    const addresses = lines.get(line) ?? [];
    lines.set(line, addresses);
    addresses.push(first);
  }
  const containing = (ranges: readonly MappedRange[], address: bigint): MappedRange | undefined => {
    const range = lastAtOrBefore(ranges, address);
    return range !== undefined && address < range.end ? range : undefined;
  };
  return {
    placeOf: (address) => containing(sorted, address),
    runOf: (address) => containing(runs, address),
    addressesOf: (path, line) => byFile.get(comparablePath(path))?.get(line) ?? [],
    linesOf: (path) => [...(byFile.get(comparablePath(path))?.keys() ?? [])].sort((a, b) => a - b),
    files: [...names.values()],
    boundaries: sorted.map(({ first }) => first),
  };
};

/** Neighbors of one line as one range; data may be between them. */
const runsOf = (sorted: readonly MappedRange[]): MappedRange[] => {
  const runs: MappedRange[] = [];
  for (const range of sorted) {
    const last = runs.at(-1);
    if (last?.line === range.line && last.path === range.path) {
      runs[runs.length - 1] = { ...last, end: range.end };
    } else runs.push(range);
  }
  return runs;
};

const lastAtOrBefore = (
  sorted: readonly MappedRange[],
  address: bigint,
): MappedRange | undefined => {
  let low = 0;
  let high = sorted.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    const range = sorted[middle];
    if (range !== undefined && range.first <= address) low = middle + 1;
    else high = middle;
  }
  return sorted[low - 1];
};

const fromAssembly = ({ assembly }: OpenedProgram): MappedRange[] =>
  (assembly?.lines ?? [])
    .filter(({ kind }) => kind === 'instruction')
    .map(({ address, lengthBytes, path, line }) => ({
      first: address,
      end: address + BigInt(lengthBytes),
      path,
      line,
      // A line has one instruction; a column would make editors put a mark into its text.
      column: 1,
    }));

const fromDwarf = (program: OpenedProgram, { lines }: ProgramView): MappedRange[] => {
  const folder = folderOf(program.path);
  return lines.flatMap((row, index) => {
    const next = lines[index + 1];
    if (row.isEnd || next === undefined || next.address <= row.address) return [];
    const column = Math.max(1, row.column);
    return [
      {
        first: row.address,
        end: next.address,
        path: joinPath(folder, row.file),
        line: row.line,
        column,
      },
    ];
  });
};
