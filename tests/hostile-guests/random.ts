/** xorshift32: the same numbers for the same seed. */
export interface Random {
  /** From 0 on. */
  below(limit: number): number;
  /** Of 64 bits. */
  wide(): bigint;
  /** True once in so many times. */
  oneIn(count: number): boolean;
  pick<T>(choices: readonly T[]): T;
}

export const randomFrom = (seed: number): Random => {
  let state = Math.imul(seed, 0x9e37_79b1) | 1;
  const next = (): number => {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    return state >>> 0;
  };
  const below = (limit: number): number => next() % limit;
  return {
    below,
    wide: () => (BigInt(next()) << 32n) | BigInt(next()),
    oneIn: (count) => below(count) === 0,
    pick: <T>(choices: readonly T[]): T => {
      const found = choices[below(choices.length)];
      if (found === undefined) throw new Error('There is nothing to choose from.');
      return found;
    },
  };
};
