/**
 * Random instructions for the tests of engines against each other: mostly valid, most of their
 * operands in memory near pointer registers.
 */

import { little, type Random } from './random.ts';

/** Selectors of data segments that a test's GDT has: flat, with a base, expanding down; and none. */
export const SELECTORS = [0x10, 0x28, 0x30, 0];

/** ModRM with an operand mostly in memory near RBX, RBP, RSI, RDI, or a register. */
const modRm = (random: Random, middle: number): number[] => {
  const reg = (middle & 7) << 3;
  const mode = random.below(4);
  if (mode === 3) return [0xc0 | reg | random.below(8)];
  const base = random.pick([3, 5, 6, 7]);
  if (mode === 0 && random.below(3) === 0) return [0x44 | reg, 0x20 | base, random.byte()];
  if (mode === 0) return [0x44 | reg, random.below(4) * 64 + 8 + base, random.byte()];
  return mode === 1
    ? [0x40 | reg | base, random.byte()]
    : [0x80 | reg | base, ...little(random.below(0x800), 4)];
};

type Make = (random: Random, wide: boolean) => number[];
const any: (first: number[], middle?: (random: Random) => number) => Make =
  (first, middle = (random) => random.below(8)) =>
  (random) => [...first, ...modRm(random, middle(random))];
const immediate: (first: number[], middles: readonly number[], bytes: number) => Make =
  (first, middles, bytes) => (random, wide) => [
    ...any(first, (r) => r.pick(middles))(random, wide),
    ...Array.from({ length: bytes }, random.byte),
  ];

const ALL = [0, 1, 2, 3, 4, 5, 6, 7];
const MAKERS: readonly Make[] = [
  (random) => [random.below(8) * 8 + random.below(4), ...modRm(random, random.below(8))],
  (random) => [random.below(8) * 8 + random.below(4), ...modRm(random, random.below(8))],
  immediate([0x80], ALL, 1),
  immediate([0x81], ALL, 4),
  immediate([0x83], ALL, 1),
  ...[0x84, 0x85, 0x86, 0x87, 0x88, 0x89, 0x8a, 0x8b, 0x8d, 0x63].map((code) => any([code])),
  immediate([0xc6], [0], 1),
  immediate([0xc7], [0], 4),
  any([0xfe], (random) => random.below(2)),
  any([0xff], (random) => random.pick([0, 1, 6])),
  any([0xf6], (random) => 2 + random.below(6)),
  any([0xf7], (random) => 2 + random.below(6)),
  immediate([0xc0], ALL, 1),
  immediate([0xc1], ALL, 1),
  ...[0xd0, 0xd1, 0xd2, 0xd3].map((code) => any([code])),
  immediate([0x69], ALL, 4),
  immediate([0x6b], ALL, 1),
  ...[0xaf, 0xb6, 0xb7, 0xbe, 0xbf, 0xa3, 0xab, 0xb3, 0xbb, 0xa5, 0xad, 0xbc, 0xbd, 0xb0, 0xb1].map(
    (code) => any([0x0f, code]),
  ),
  any([0x0f, 0xc1]),
  immediate([0x0f, 0xba], [4, 5, 6, 7], 1),
  immediate([0x0f, 0xa4], ALL, 1),
  immediate([0x0f, 0xac], ALL, 1),
  (random) => [0x0f, 0x40 + random.below(16), ...modRm(random, random.below(8))],
  (random) => [0x0f, 0x90 + random.below(16), ...modRm(random, 0)],
  (random) => [0x0f, 0xc8 + random.below(8)],
  (random) => [random.pick([0x50, 0x58]) + random.below(8)],
  (random) => [0x70 + random.below(16), random.below(12)],
  (random) => [random.pick([0xe0, 0xe1, 0xe2, 0xe3]), random.below(8)],
  (random) => [0xe8, random.below(6), 0, 0, 0],
  (random) => [random.pick([0xa4, 0xa5, 0xaa, 0xab, 0xac, 0xad, 0xa6, 0xa7, 0xae, 0xaf])],
  (random) => [random.pick([0x98, 0x99, 0x9c, 0x9d, 0x9e, 0x9f, 0xf5, 0xf8, 0xf9, 0xfc, 0xc9])],
  (random) => [0xb0 + random.below(8), random.byte()],
];

/** Segments, and addresses of 16 bits. */
const OTHER_PREFIXES = [0x26, 0x2e, 0x36, 0x3e, 0x67];
const MAKERS_32: readonly Make[] = [
  (random) => [random.pick([0x40, 0x48]) + random.below(8)],
  (random) => [random.pick([0x60, 0x61, 0x27, 0x2f, 0x37, 0x3f])],
  (random) => [random.pick([0x06, 0x0e, 0x16, 0x1e])],
  // A selector, and POP ES, DS, FS or GS.
  (random) => [
    0x6a,
    random.pick(SELECTORS),
    ...random.pick([[0x07], [0x1f], [0x0f, 0xa1], [0x0f, 0xa9]]),
  ],
];

export const instruction = (random: Random, codeWidth: 32 | 64): number[] => {
  const repeats = random.below(40) === 0;
  if (repeats) {
    // A short count first.
    const string = random.pick([0xa4, 0xa5, 0xaa, 0xab, 0xac, 0xa6, 0xae]);
    return [0xb1, random.byte(), random.pick([0xf2, 0xf3]), string];
  }
  const isLong = codeWidth === 64;
  const prefixes: number[] = [];
  if (random.below(8) === 0) prefixes.push(0x66);
  if (random.below(25) === 0) prefixes.push(random.pick([0x64, 0x65]));
  const wide = prefixes[0] === 0x66 && prefixes.length === 1;
  if (isLong && random.below(2) === 0) prefixes.push(0x40 | (random.byte() & (wide ? 5 : 0xd)));
  if (!isLong && random.below(25) === 0) prefixes.push(random.pick(OTHER_PREFIXES));
  const makers = isLong || random.below(8) !== 0 ? MAKERS : MAKERS_32;
  return [...prefixes, ...random.pick(makers)(random, wide)];
};
