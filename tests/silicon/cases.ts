/**
 * Seeded cases of register instructions for the comparison with a real processor, each with the
 * status flags that SDM Vol. 2 leaves undefined for it.
 */
const CF = 0x1;
const PF = 0x4;
const AF = 0x10;
const ZF = 0x40;
const SF = 0x80;
const OF = 0x800;
export const STATUS = CF | PF | AF | ZF | SF | OF;
export const REGISTERS = [0, 1, 2, 3, 6, 7] as const;

export interface Case {
  readonly code: readonly number[];
  readonly registers: readonly bigint[];
  readonly flags: number;
  readonly undefinedFlags: number;
}

/** Numerical Recipes' 32-bit linear congruential generator; its high bits are used. */
const randomOf = (seed: number) => {
  let state = seed >>> 0;
  return (below: number): number => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return Math.floor((state / 2 ** 32) * below);
  };
};

const EDGES = [0n, 1n, 2n, 0x7fn, 0x80n, 0xffn, 0x7fffn, 0x8000n, 0x7fffffffn, 0x80000000n];
const WIDE = [0xffffffffn, 1n << 63n, (1n << 63n) - 1n, (1n << 64n) - 1n];

/** Undefined flags of a shift or rotate by `count`, already masked as the processor masks it. */
const undefinedOfShift = (operation: number, count: number, width: number): number => {
  if (count === 0) return 0;
  const overflow = count === 1 ? 0 : OF;
  if (operation < 4) return overflow;
  return overflow | AF | (operation !== 7 && count >= width ? CF : 0);
};

export const casesOf = (seed: number, count: number): Case[] => {
  const random = randomOf(seed);
  const value = (): bigint => {
    const edges = [...EDGES, ...WIDE];
    if (random(3) === 0) return edges[random(edges.length)] ?? 0n;
    return (BigInt(random(2 ** 32)) << 32n) | BigInt(random(2 ** 32));
  };
  const register = () => REGISTERS[random(6)] ?? 0;
  return Array.from({ length: count }, () => {
    const registers = REGISTERS.map(value);
    const width = [8, 16, 32, 64][random(4)] ?? 32;
    const wide = width === 8 ? 0 : 1;
    const prefix = width === 16 ? [0x66] : width === 64 ? [0x48] : [];
    const modRm = (field: number) => 0xc0 | (field << 3) | register();
    const made = (body: number[], undefinedFlags: number): Case => ({
      code: [...prefix, ...body],
      registers,
      flags: random(2 ** 12) & STATUS,
      undefinedFlags,
    });
    const kind = random(6);
    if (kind === 0) {
      const operation = random(8);
      const logical = operation === 1 || operation === 4 || operation === 6;
      return made([(operation << 3) | wide, modRm(register())], logical ? AF : 0);
    }
    if (kind === 1) {
      const operation = [0, 1, 2, 3, 4, 5, 7][random(7)] ?? 0;
      const shift = random(256);
      const masked = shift & (width === 64 ? 63 : 31);
      return made(
        [0xc0 | wide, modRm(operation), shift],
        undefinedOfShift(operation, masked, width),
      );
    }
    if (kind === 2) return made([0xfe | wide, modRm(random(2))], 0);
    if (kind === 3) {
      const operation = 2 + random(4);
      return made([0xf6 | wide, modRm(operation)], operation < 4 ? 0 : SF | ZF | AF | PF);
    }
    if (kind === 4) return made([0x0f, 0x90 | random(16), modRm(0)], 0);
    const bit = [0xa3, 0xab, 0xb3, 0xbb][random(4)] ?? 0xa3;
    return made([0x0f, bit, modRm(register())], OF | SF | AF | PF);
  });
};
