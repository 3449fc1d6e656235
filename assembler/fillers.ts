/**
 * What `align` fills code with after `alignmode` (NASM manual, "smartalign: Smart ALIGN Macro"):
 * a jump where much is missing, else as few no-operations as will do.
 */

export interface Filler {
  /** So many bytes and fewer are filled; more are jumped over. */
  readonly jumpsAbove: number;
  /** Of 1, 2, ... bytes, as hexadecimal text; the longest is repeated. */
  readonly codes: Readonly<Record<16 | 32 | 64, readonly string[]>>;
}

const PREFIXED = ['90', '6690', '666690', '66666690'];
const LONG = [
  ...['90', '6690', '0f1f00', '0f1f4000', '0f1f440000', '660f1f440000'],
  ...['0f1f8000000000', '0f1f840000000000'],
];

const FILLERS: Readonly<Record<string, Filler>> = {
  nop: { jumpsAbove: 16, codes: { 16: ['90'], 32: ['90'], 64: ['90'] } },
  generic: {
    jumpsAbove: 8,
    codes: {
      16: [
        ...['90', '89f6', '8d7400', '8db40000', '8db4000090', '8db4000089ff'],
        ...['8db400008d7d00', '8db400008dbd0000'],
      ],
      32: [...['90', '89f6', '8d7600', '8d742600', '908d742600', '8db600000000'], '8db42600000000'],
      64: PREFIXED,
    },
  },
  k8: { jumpsAbove: 16, codes: { 16: PREFIXED, 32: PREFIXED, 64: PREFIXED } },
  k7: {
    jumpsAbove: 16,
    codes: {
      16: PREFIXED,
      32: [...['90', '8bc0', '8d0420', '8d442000', '8d44200090', '8d8000000000'], '8d040500000000'],
      64: PREFIXED,
    },
  },
  p6: { jumpsAbove: 16, codes: { 16: LONG.slice(0, 4), 32: LONG, 64: LONG } },
};

/** The filler of a mode, or undefined if there is none of that name. */
export const fillerNamed = (name: string): Filler | undefined =>
  Object.hasOwn(FILLERS, name) ? FILLERS[name] : undefined;

/** So many bytes of code that do nothing; without a filler, single no-operations. */
export function fillerBytes(
  filler: Filler | undefined,
  bits: 16 | 32 | 64,
  count: number,
): Uint8Array {
  const bytes = new Uint8Array(count).fill(0x90);
  if (filler === undefined) return bytes;
  if (count > filler.jumpsAbove) {
    const near = bits === 16 ? 3 : 5;
    const isShort = count - 2 < 128;
    const length = isShort ? 2 : near;
    bytes[0] = isShort ? 0xeb : 0xe9;
    for (let at = 1, rest = count - length; at < length; at++, rest = Math.floor(rest / 256)) {
      bytes[at] = rest & 0xff;
    }
    return bytes;
  }
  const codes = filler.codes[bits];
  for (let at = 0; at < count; ) {
    const code = codes[Math.min(codes.length, count - at) - 1] ?? '90';
    for (let i = 0; i < code.length; i += 2)
      bytes[at++] = Number.parseInt(code.slice(i, i + 2), 16);
  }
  return bytes;
}
