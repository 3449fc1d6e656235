import { expect, test } from 'vitest';
import { expressionAt } from './expression-at.ts';

test.each([
  ['        mov     eax, [rbx+8]', 17, 'eax'],
  ['        mov     eax, [rbx+8]', 21, '[rbx+8]'],
  ['        mov     eax, [rbx+8]', 23, 'rbx'],
  ['        jmp     .loop', 17, '.loop'],
  ['        inc     qword [rel count]', 17, 'qword [count]'],
])('%s at %i', (line, column, text) => {
  expect(expressionAt(line, column)?.text).toBe(text);
});

test('comments and strings are no expressions', () => {
  expect(expressionAt("db 'rax' ; rbx", 5)).toBeUndefined();
  expect(expressionAt("db 'rax' ; rbx", 12)).toBeUndefined();
});
