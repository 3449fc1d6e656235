import fc from 'fast-check';
import { expect, test } from 'vitest';
import { evaluateExpression, type Scope } from './evaluate.ts';
import { ExpressionError, parseExpression } from './parse.ts';

const scope: Scope = {
  name: (name) => ({ rsp: 0x1000n, 'exit.name': 'CPUID', 'd1.v0.rip': 0x10_00abn })[name],
  call: (name, args) => (name === 'gpa' && typeof args[0] === 'bigint' ? args[0] + 1n : undefined),
  read: (address, size) => (address < 0x2000n ? address * 16n + BigInt(size) : undefined),
};
const evaluate = (text: string) => evaluateExpression(parseExpression(text), scope);

test.each([
  ['1 + 2 * 3', 7n],
  ['1 << 2 + 1', 8n],
  ['7 & 3 == 3', 1n],
  ['10 - 4 - 3', 3n],
  ['-1', 0xffff_ffff_ffff_ffffn],
  ['~0 >> 63', 1n],
  ['1 << 64', 0n],
  ['0ffh + 0b1', 256n],
  ['[rsp+8]', 0x10088n],
  ['byte [rsp]', 0x10001n],
  ['gpa(0x10)', 17n],
  ["exit.name == 'CPUID' && d1.v0.rip != 0", 1n],
  ['0 && nothing', 0n],
  ['1 || nothing', 1n],
  ['0 ? nothing : 5', 5n],
])('%s', (text, value) => {
  expect(evaluate(text)).toBe(value);
});

test.each([
  ['', "a value is expected, not 'the end' (column 1)"],
  ['1 +', "a value is expected, not 'the end' (column 4)"],
  ['(1', "')' is expected, not 'the end' (column 3)"],
  ['1 2', "'2' is not expected here (column 3)"],
  ['1 # 2', "'#' is not expected here (column 3)"],
  ['constructor[1]', "'[' is not expected here (column 12)"],
  ['rxx', "nothing is named 'rxx' (column 1)"],
  ['1 / 0', 'division by zero (column 3)'],
  ['[0x3000]', '0x3000 is not mapped (column 1)'],
  ["'a' + 1", "a number is expected, not 'a' (column 5)"],
])('refuses %s', (text, message) => {
  expect(() => evaluate(text)).toThrow(message);
});

test('malformed text gives a value or an ExpressionError, never another error', () => {
  const text = fc.string({
    unit: fc.constantFrom(...'0x9fh[](),?:!~-+*/<>=&|\'" rsp.#\\'),
    maxLength: 300,
  });
  fc.assert(
    fc.property(text, (input) => {
      try {
        evaluate(input);
      } catch (error) {
        expect(error).toBeInstanceOf(ExpressionError);
      }
    }),
    { numRuns: 10_000 },
  );
});
