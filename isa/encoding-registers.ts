/**
 * The registers by the names NASM gives them, with class, number and width.
 * `order` is the alphabetical rank: of several registers in an address without hints NASM takes
 * the first by name as base.
 */

export type RegisterClass =
  | 'r8' // al..r15b, with spl, bpl, sil, dil
  | 'r8high' // ah, ch, dh, bh
  | 'r16'
  | 'r32'
  | 'r64'
  | 'segment'
  | 'control'
  | 'debug'
  | 'test'
  | 'st'
  | 'mm'
  | 'xmm'
  | 'ymm'
  | 'zmm'
  | 'tmm'
  | 'k'
  | 'bnd';

export interface NamedRegister {
  readonly name: string;
  readonly class: RegisterClass;
  readonly number: number;
  readonly bits: number;
  readonly order: number;
}

const LOW = ['al', 'cl', 'dl', 'bl', 'spl', 'bpl', 'sil', 'dil'];
const HIGH = ['ah', 'ch', 'dh', 'bh'];
const WORD = ['ax', 'cx', 'dx', 'bx', 'sp', 'bp', 'si', 'di'];
const SEGMENT = ['es', 'cs', 'ss', 'ds', 'fs', 'gs'];

const numbered = (prefix: string, count: number, suffix = '', first = 0): [string, number][] =>
  Array.from({ length: count }, (_, i) => [`${prefix}${first + i}${suffix}`, first + i]);
const listed = (names: readonly string[]): [string, number][] => names.map((name, i) => [name, i]);

const TABLE: readonly [RegisterClass, number, readonly [string, number][]][] = [
  ['r8', 8, [...listed(LOW), ...numbered('r', 8, 'b', 8)]],
  ['r8high', 8, HIGH.map((name, i) => [name, i + 4])],
  ['r16', 16, [...listed(WORD), ...numbered('r', 8, 'w', 8)]],
  ['r32', 32, [...listed(WORD.map((name) => `e${name}`)), ...numbered('r', 8, 'd', 8)]],
  ['r64', 64, [...listed(WORD.map((name) => `r${name}`)), ...numbered('r', 8, '', 8)]],
  ['segment', 16, listed(SEGMENT)],
  ['control', 0, numbered('cr', 16)],
  ['debug', 0, numbered('dr', 16)],
  ['test', 0, numbered('tr', 8)],
  ['st', 80, numbered('st', 8)],
  ['mm', 64, numbered('mm', 8)],
  ['xmm', 128, numbered('xmm', 32)],
  ['ymm', 256, numbered('ymm', 32)],
  ['zmm', 512, numbered('zmm', 32)],
  ['tmm', 8192, numbered('tmm', 8)],
  ['k', 0, numbered('k', 8)],
  ['bnd', 128, numbered('bnd', 4)],
];

function buildRegisters(): ReadonlyMap<string, NamedRegister> {
  const all = TABLE.flatMap(([registerClass, bits, entries]) =>
    entries.map(([name, number]) => ({ name, class: registerClass, number, bits })),
  ).sort((a, b) => (a.name < b.name ? -1 : 1));
  return new Map(all.map((register, order) => [register.name, { ...register, order }]));
}

/** Every register by its lower-case name. */
export const registersByName = buildRegisters();
