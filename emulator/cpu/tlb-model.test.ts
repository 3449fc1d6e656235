import { expect, test } from 'vitest';
import { createTlbModel } from './tlb-model.ts';

const ROOT = 5;

test('a page misses once, until twelve others of its set have come', () => {
  const tlb = createTlbModel();
  tlb.access(0x1000, ROOT);
  tlb.access(0x1ff8, ROOT);
  expect(tlb.missesOf(0)).toBe(1);
  for (let other = 1; other <= 12; other += 1) tlb.access(0x1000 + other * 128 * 4096, ROOT);
  expect(tlb.missesOf(0)).toBe(13);
  tlb.access(0x1000, ROOT);
  expect(tlb.missesOf(0)).toBe(14);
});

test('address spaces, vCPUs and INVLPG tell translations apart', () => {
  const tlb = createTlbModel();
  tlb.access(0x1000, ROOT);
  tlb.access(0x1000, ROOT + 1);
  expect(tlb.missesOf(0)).toBe(2);
  tlb.drop(0x1234);
  tlb.access(0x1000, ROOT);
  expect(tlb.missesOf(0)).toBe(3);
  tlb.select(7);
  tlb.access(0x1000, ROOT);
  expect([tlb.missesOf(0), tlb.missesOf(7)]).toEqual([3, 1]);
});
