import { expect, test } from 'vitest';
import type { MachineFrameState } from '../../../debug-adapter/protocol.ts';
import {
  colorOf,
  contrastOf,
  inkOn,
  parseColor,
  patternOf,
  type Rgb,
  type Theme,
} from './colors.ts';

const DARK: Theme = {
  background: [31, 31, 31],
  foreground: [204, 204, 204],
  dom0: [204, 167, 0],
  domains: [
    [55, 148, 255],
    [137, 209, 133],
    [241, 76, 76],
    [96, 178, 194],
  ],
  shared: [177, 128, 215],
  cursor: [0, 120, 212],
  isHighContrast: false,
};
const LIGHT: Theme = {
  ...DARK,
  background: [255, 255, 255],
  foreground: [59, 59, 59],
  dom0: [191, 136, 3],
  domains: [
    [26, 133, 255],
    [56, 138, 52],
    [229, 20, 0],
    [41, 135, 154],
  ],
  shared: [101, 45, 144],
};
const THEMES = [
  ['dark', DARK],
  ['light', LIGHT],
] as const;

const OF_DOMAINS = [
  'ram',
  'page-table',
  'descriptors',
  'log-dirty',
  'granted',
  'special',
  'ballooned',
  'swapped',
  'p2m-table',
  'shadow-table',
];
const OF_NOBODY = ['free', 'hypervisor', 'm2p', 'shared'];

const state = (kind: string, domain?: number): MachineFrameState => ({
  kind,
  label: kind,
  description: '',
  owner: '',
  count: 1,
  ...(domain === undefined ? {} : { domain }),
});

const distance = (one: Rgb, other: Rgb): number =>
  Math.hypot(one[0] - other[0], one[1] - other[1], one[2] - other[2]);

test('no two kinds have one pattern, but for the two that fill memory', () => {
  const kinds = [...OF_DOMAINS, ...OF_NOBODY];
  const patterns = kinds.map((kind) => patternOf(state(kind)));

  expect(kinds.filter((_, index) => patterns[index] === 'plain')).toEqual(['ram', 'free']);
  expect(new Set(patterns).size).toBe(kinds.length - 1);
});

test.each(THEMES)('in the %s theme, what has one pattern has colors far apart', (_, theme) => {
  const states = [
    ...OF_NOBODY.map((kind) => state(kind)),
    ...[0, 1, 2, 3, 4].flatMap((domain) => OF_DOMAINS.map((kind) => state(kind, domain))),
  ];
  for (const [index, one] of states.entries()) {
    for (const other of states.slice(index + 1)) {
      if (patternOf(one) !== patternOf(other)) continue;
      const apart = distance(colorOf(one, theme), colorOf(other, theme));
      const least = one.kind === 'ram' && other.kind === 'ram' ? 60 : 12;
      expect(apart, `${one.kind} ${one.domain} ${other.kind} ${other.domain}`).toBeGreaterThan(
        least,
      );
    }
  }
});

test.each(THEMES)('in the %s theme, patterns are seen on every color', (_, theme) => {
  for (const kind of [...OF_DOMAINS, ...OF_NOBODY]) {
    const color = colorOf(state(kind, OF_DOMAINS.includes(kind) ? 1 : undefined), theme);
    expect(contrastOf(color, inkOn(color)), kind).toBeGreaterThan(4.5);
  }
});

test('domains beyond the colors of the theme have paler ones', () => {
  expect(colorOf(state('ram', 5), DARK)).not.toEqual(colorOf(state('ram', 1), DARK));
});

test.each([
  ['#1f1f1f', [31, 31, 31]],
  ['#fff', [255, 255, 255]],
  ['#3794ff80', [55, 148, 255]],
  [' rgba(10, 20, 30, 0.5)', [10, 20, 30]],
  ['rgb(10 20 30)', [10, 20, 30]],
  ['', undefined],
  ['blue', undefined],
])('%j is read', (text, color) => {
  expect(parseColor(text)).toEqual(color);
});

test('contrast is that of WCAG', () => {
  expect(contrastOf([255, 255, 255], [0, 0, 0])).toBeCloseTo(21);
  expect(contrastOf([119, 119, 119], [255, 255, 255])).toBeCloseTo(4.48, 1);
});
