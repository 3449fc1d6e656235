import { PassThrough } from 'node:stream';
import { expect, test } from 'vitest';
import { typedInput } from './typed-input.ts';

const nextTick = () => new Promise((resolve) => setImmediate(resolve));

test('what comes is taken once, and the end is known when all is taken', async () => {
  const stream = new PassThrough();
  const input = typedInput(stream);
  const waiting = input.wait();
  stream.write(Uint8Array.of(0x61, 0xc3));
  await waiting;
  stream.end(Uint8Array.of(0xa4));
  await nextTick();

  expect(input.hasEnded).toBe(false);
  expect(input.take()).toBe('aä');
  expect(input.take()).toBe('');
  expect(input.hasEnded).toBe(true);
  await input.wait();
});

test('a terminal passes every key on once the domain reads, until Ctrl+]', async () => {
  const modes: boolean[] = [];
  const terminal = Object.assign(new PassThrough(), {
    isTTY: true,
    setRawMode: (on: boolean) => modes.push(on),
  });
  const input = typedInput(terminal);
  terminal.write('a\x1d');
  await nextTick();
  expect(input.take()).toBe('a\x1d');
  input.begin();
  terminal.write('ls\r\x1dmore');
  await nextTick();

  expect(input.take()).toBe('ls\r');
  expect([input.hasEnded, input.isLeft]).toEqual([true, true]);
  input.close();
  expect(modes).toEqual([true, false]);
});
