/** Random choices for tests, the same for the same seed: Mulberry32. */
export interface Random {
  /** An integer from 0 up to, but without, the limit. */
  below(limit: number): number;
  pick<T>(list: readonly T[]): T;
  byte(): number;
}

export const createRandom = (seed: number): Random => {
  let a = seed;
  const next = (): number => {
    a = (a + 0x6d2b_79f5) | 0;
    let t = Math.imul(a ^ (a >>> 15), 1 | a);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return (t ^ (t >>> 14)) >>> 0;
  };
  const below = (limit: number): number => next() % limit;
  const pick = <T>(list: readonly T[]): T => list[below(list.length)] as T;
  return { below, pick, byte: () => below(256) };
};

/** A number's bytes, the lowest first. */
export const little = (value: number, bytes: number): number[] =>
  Array.from({ length: bytes }, (_, i) => Math.floor(value / 2 ** (8 * i)) & 0xff);
