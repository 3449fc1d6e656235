/** Numbers, strings and floating-point constants in all of NASM's notations. */

const RADIX_PREFIX: Record<string, number> = { x: 16, h: 16, d: 10, t: 10, o: 8, q: 8, b: 2, y: 2 };

/** The value of an integer token, or undefined if its digits do not fit its radix. */
export function parseInteger(text: string): bigint | undefined {
  const lower = text.toLowerCase().replaceAll('_', '');
  if (lower.startsWith('$')) return digits(lower.slice(1), 16);
  const prefix = RADIX_PREFIX[lower[1] ?? ''];
  if (lower[0] === '0' && prefix !== undefined && lower.length > 2) {
    const value = digits(lower.slice(2), prefix);
    if (value !== undefined) return value;
  }
  const suffix = RADIX_PREFIX[lower.at(-1) ?? ''];
  if (suffix !== undefined && /[a-z]$/.test(lower)) {
    const value = digits(lower.slice(0, -1), suffix);
    if (value !== undefined) return value;
  }
  return digits(lower, 10);
}

function digits(text: string, radix: number): bigint | undefined {
  if (text === '') return undefined;
  const allowed =
    radix === 16 ? /^[0-9a-f]+$/ : radix === 10 ? /^\d+$/ : radix === 8 ? /^[0-7]+$/ : /^[01]+$/;
  if (!allowed.test(text)) return undefined;
  const prefix = radix === 16 ? '0x' : radix === 8 ? '0o' : radix === 2 ? '0b' : '';
  return BigInt(prefix + text);
}

const ESCAPES: Record<string, number> = {
  a: 7,
  b: 8,
  t: 9,
  n: 10,
  v: 11,
  f: 12,
  r: 13,
  e: 27,
  '0': 0,
};

/** The bytes of a quoted string; only backquotes know escapes. */
export function stringBytes(quoted: string): Uint8Array {
  const body = quoted.slice(1, -1);
  const encoder = new TextEncoder();
  if (quoted[0] !== '`' || !body.includes('\\')) return encoder.encode(body);
  const out: number[] = [];
  for (let i = 0; i < body.length; i++) {
    const char = body[i] ?? '';
    if (char !== '\\') {
      const point = body.codePointAt(i) ?? 0;
      if (point > 0xffff) i++;
      out.push(...encoder.encode(String.fromCodePoint(point)));
      continue;
    }
    const rest = body.slice(i + 1);
    const hex = /^x[0-9a-f]{1,2}/i.exec(rest)?.[0];
    const octal = /^[0-7]{1,3}/.exec(rest)?.[0];
    const unicode = /^(?:u[0-9A-Fa-f]{4}|U[0-9A-Fa-f]{8})/.exec(rest)?.[0];
    if (hex !== undefined) {
      out.push(Number.parseInt(hex.slice(1), 16));
      i += hex.length;
    } else if (octal !== undefined) {
      out.push(Number.parseInt(octal, 8) & 0xff);
      i += octal.length;
    } else if (unicode !== undefined) {
      const point = Number.parseInt(unicode.slice(1), 16);
      out.push(...encoder.encode(String.fromCodePoint(Math.min(point, 0x10_ffff))));
      i += unicode.length;
    } else {
      const next = rest[0] ?? '\\';
      const known = ESCAPES[next];
      if (known !== undefined) out.push(known);
      else out.push(...encoder.encode(next));
      i++;
    }
  }
  return Uint8Array.from(out);
}

/** A string as a number: its first character is the lowest byte. */
export function stringValue(quoted: string): bigint {
  let value = 0n;
  for (const [i, byte] of stringBytes(quoted).subarray(0, 8).entries()) {
    value |= BigInt(byte) << BigInt(8 * i);
  }
  return value;
}

interface FloatFormat {
  readonly exponentBits: number;
  readonly fractionBits: number;
  readonly explicitOne: boolean;
}

const FLOATS: Record<number | 'bfloat16', FloatFormat> = {
  bfloat16: { exponentBits: 8, fractionBits: 7, explicitOne: false },
  1: { exponentBits: 4, fractionBits: 3, explicitOne: false },
  2: { exponentBits: 5, fractionBits: 10, explicitOne: false },
  4: { exponentBits: 8, fractionBits: 23, explicitOne: false },
  8: { exponentBits: 11, fractionBits: 52, explicitOne: false },
  10: { exponentBits: 15, fractionBits: 63, explicitOne: true },
  16: { exponentBits: 15, fractionBits: 112, explicitOne: false },
};

/** The bits of a floating-point token in the format of that many bytes, rounded to nearest even. */
export function floatBits(
  text: string,
  bytes: number | 'bfloat16',
  negative: boolean,
): bigint | undefined {
  const format = FLOATS[bytes];
  if (format === undefined) return undefined;
  const { exponentBits, fractionBits, explicitOne } = format;
  const one = explicitOne ? 1n << BigInt(fractionBits) : 0n;
  const fieldBits = BigInt(fractionBits) + (explicitOne ? 1n : 0n);
  const maxExponent = (1n << BigInt(exponentBits)) - 1n;
  const sign = negative ? 1n << (fieldBits + BigInt(exponentBits)) : 0n;
  const special = /infinity|[qs]?nan/i.exec(text)?.[0]?.toLowerCase();
  if (special !== undefined) {
    const fraction =
      special === 'infinity' ? 0n : special === 'snan' ? 1n : 1n << BigInt(fractionBits - 1);
    return sign | (maxExponent << fieldBits) | one | fraction;
  }
  const ratio = rational(text);
  if (ratio === undefined) return undefined;
  let [numerator, denominator] = ratio;
  if (numerator === 0n) return sign;
  const bias = (1 << (exponentBits - 1)) - 1;
  let exponent = bitLength(numerator) - bitLength(denominator);
  if (scaled(numerator, -exponent) < scaled(denominator, exponent)) exponent--;
  const lowest = 1 - bias;
  const shown = Math.max(exponent, lowest);
  const shift = fractionBits - shown;
  if (shift >= 0) numerator <<= BigInt(shift);
  else denominator <<= BigInt(-shift);
  let fraction = numerator / denominator;
  const rest = (numerator % denominator) * 2n;
  if (rest > denominator || (rest === denominator && (fraction & 1n) === 1n)) fraction++;
  let field = BigInt(shown + bias);
  if (fraction >> BigInt(fractionBits) === 0n) field = 0n;
  if (fraction >> BigInt(fractionBits + 1) !== 0n) {
    fraction >>= 1n;
    field++;
  }
  if (field >= maxExponent) return sign | (maxExponent << fieldBits) | one;
  const kept = explicitOne ? fraction : fraction & ((1n << BigInt(fractionBits)) - 1n);
  return sign | (field << fieldBits) | kept;
}

const bitLength = (value: bigint): number => value.toString(2).length;
const scaled = (value: bigint, by: number): bigint => (by > 0 ? value << BigInt(by) : value);

function rational(text: string): [bigint, bigint] | undefined {
  const clean = text.toLowerCase().replaceAll('_', '');
  const radix = { x: 16, h: 16, o: 8, q: 8, b: 2, y: 2 }[clean[1] ?? ''];
  const isBinary = clean.startsWith('0') && radix !== undefined;
  const parts = isBinary
    ? /^0[a-z]([0-9a-f]*)\.?([0-9a-f]*)(?:p([+-]?\d+))?$/.exec(clean)
    : /^(\d*)\.?(\d*)(?:e([+-]?\d+))?$/.exec(clean);
  if (parts === null) return undefined;
  const [, whole = '', fraction = '', power = '0'] = parts;
  const mantissa = isBinary
    ? digits(`${whole}${fraction}` || '0', radix)
    : BigInt(`${whole}${fraction}` || '0');
  if (mantissa === undefined) return undefined;
  const exponent = Number(power);
  if (Math.abs(exponent) > 20_000) return exponent < 0 ? [0n, 1n] : [1n << 20_000n, 1n];
  const base = isBinary ? 2n : 10n;
  const down = BigInt(fraction.length) * BigInt(isBinary ? Math.log2(radix) : 1);
  const net = BigInt(exponent) - down;
  return net >= 0n ? [mantissa * base ** net, 1n] : [mantissa, base ** -net];
}
