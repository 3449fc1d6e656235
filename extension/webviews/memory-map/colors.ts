/**
 * How frames look: the color says whose they are, the pattern what they are. Both are needed: not
 * everybody tells colors apart, and small cells have no room for a pattern.
 */
import type { MachineFrameState } from '../../../debug-adapter/protocol.ts';

export type Rgb = readonly [red: number, green: number, blue: number];

/** Colors of the editor's theme. */
export interface Theme {
  readonly background: Rgb;
  readonly foreground: Rgb;
  readonly dom0: Rgb;
  /** Of domains 1, 2, ... */
  readonly domains: readonly Rgb[];
  readonly shared: Rgb;
  readonly cursor: Rgb;
  readonly isHighContrast: boolean;
}

export type Pattern =
  | 'plain'
  | 'ring'
  | 'cross'
  | 'slash'
  | 'backslash'
  | 'rows'
  | 'columns'
  | 'grid'
  | 'bar'
  | 'half'
  | 'square'
  | 'dot'
  | 'corner'
  | 'corners';

/** Each kind has its own pattern, but for the two that fill memory: RAM and free frames. */
const PATTERNS: Readonly<Record<string, Pattern>> = {
  free: 'plain',
  ram: 'plain',
  ballooned: 'ring',
  swapped: 'cross',
  hypervisor: 'slash',
  m2p: 'backslash',
  'p2m-table': 'rows',
  'shadow-table': 'columns',
  'page-table': 'grid',
  descriptors: 'bar',
  'log-dirty': 'corner',
  shared: 'half',
  granted: 'square',
  special: 'dot',
};

export const patternOf = ({ kind }: MachineFrameState): Pattern => PATTERNS[kind] ?? 'corners';

export const mix = (from: Rgb, to: Rgb, part: number): Rgb => {
  const channel = (index: 0 | 1 | 2): number =>
    Math.round(from[index] + (to[index] - from[index]) * part);
  return [channel(0), channel(1), channel(2)];
};

/** A domain's own color; after the last of the theme they begin again, paler. */
const domainColor = (theme: Theme, domain: number): Rgb => {
  if (domain === 0) return theme.dom0;
  const count = theme.domains.length;
  const color = theme.domains[(domain - 1) % count] ?? theme.foreground;
  const round = Math.floor((domain - 1) / count);
  return mix(color, theme.background, 1 - 0.7 ** round);
};

export const colorOf = ({ kind, domain }: MachineFrameState, theme: Theme): Rgb => {
  const { background, foreground } = theme;
  const neutral = mix(background, foreground, 0.35);
  const own = domain === undefined ? neutral : domainColor(theme, domain);
  switch (kind) {
    case 'free':
      return mix(background, foreground, 0.08);
    case 'ballooned':
      return mix(background, own, 0.3);
    case 'swapped':
      return mix(background, own, 0.4);
    case 'm2p':
      return mix(background, foreground, 0.5);
    case 'p2m-table':
      return mix(own, neutral, 0.65);
    case 'shadow-table':
      return mix(own, neutral, 0.45);
    case 'page-table':
      return mix(own, foreground, 0.45);
    case 'descriptors':
      return mix(own, foreground, 0.6);
    case 'log-dirty':
      return mix(own, background, 0.35);
    case 'granted':
      return mix(own, foreground, 0.25);
    case 'special':
      return mix(own, background, 0.5);
    case 'shared':
      return theme.shared;
    default:
      return own;
  }
};

/** Relative luminance, as WCAG 2.1 defines it. */
const luminance = (color: Rgb): number => {
  const [red, green, blue] = color.map((channel) => {
    const part = channel / 255;
    return part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4;
  }) as [number, number, number];
  return 0.2126 * red + 0.7152 * green + 0.0722 * blue;
};

/** Contrast ratio of two colors, from 1 to 21. */
export const contrastOf = (one: Rgb, other: Rgb): number => {
  const [dark, light] = [luminance(one), luminance(other)].sort((a, b) => a - b) as [
    number,
    number,
  ];
  return (light + 0.05) / (dark + 0.05);
};

const BLACK: Rgb = [0, 0, 0];
const WHITE: Rgb = [255, 255, 255];

/** What is drawn on a color. */
export const inkOn = (color: Rgb): Rgb =>
  contrastOf(color, BLACK) > contrastOf(color, WHITE) ? BLACK : WHITE;

export const cssOf = ([red, green, blue]: Rgb): string => `rgb(${red}, ${green}, ${blue})`;

/** Reads `#rgb`, `#rrggbb` (with or without alpha) and `rgb(...)`, as theme variables have them. */
export const parseColor = (text: string): Rgb | undefined => {
  const digits = /^#([0-9a-f]{3,8})$/i.exec(text.trim())?.[1];
  if (digits !== undefined) {
    const size = digits.length < 6 ? 1 : 2;
    const channel = (index: number): number => {
      const part = digits.slice(index * size, (index + 1) * size);
      return Number.parseInt(size === 1 ? part + part : part, 16);
    };
    return [channel(0), channel(1), channel(2)];
  }
  const [, red, green, blue] = /^rgba?\(\s*(\d+)[,\s]+(\d+)[,\s]+(\d+)/.exec(text.trim()) ?? [];
  return red === undefined ? undefined : [Number(red), Number(green), Number(blue)];
};
