import { expect, test } from 'vitest';
import { parseBytes, watchNameOf } from './memory-text.ts';

test('bytes are pairs of digits, spaces do not matter', () => {
  expect(parseBytes(' 89 1dFF ')).toEqual(Uint8Array.of(0x89, 0x1d, 0xff));
  for (const text of ['', '8', '89 1', '0x89', 'zz']) expect(parseBytes(text)).toBeUndefined();
});

test.each([
  ['d2.v1:0x1000', 'watch:d2:gva:0x1000-0x1007:write'],
  ['gpa:d2:0x1000', 'watch:d2:gpa:0x1000-0x1007:write'],
  ['maddr:0xffff', 'watch:maddr:0xffff-0x10006:write'],
])('a write to %s is the event %s', (reference, name) => {
  expect(watchNameOf(reference)).toBe(name);
});
