import { expect, test } from 'vitest';
import { STATUS_FLAGS, statusFlagsOf, statusWordsOf } from './flags.ts';

test('every mix of the six flags survives the way through the words', () => {
  for (let mix = 0; mix < 0x1000; mix += 1) {
    const flags = mix & STATUS_FLAGS;
    const { result, sign, carry } = statusWordsOf(flags);
    expect(statusFlagsOf(result, sign, carry)).toBe(flags);
  }
});

test('PF is the even parity of the low byte only', () => {
  const parityOf = (sign: bigint) => statusFlagsOf(1n, sign, 0n) & 4;

  expect(parityOf(0x100n)).toBe(4);
  expect(parityOf(0x03n)).toBe(4);
  expect(parityOf(0x07n)).toBe(0);
  expect(parityOf(0x80n)).toBe(0);
});
