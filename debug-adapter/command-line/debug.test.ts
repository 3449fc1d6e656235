import { Readable, Writable } from 'node:stream';
import { fileURLToPath } from 'node:url';
import { expect, test } from 'vitest';
import { debugProgram } from './debug.ts';

const hello = fileURLToPath(new URL('../../samples/hello/main.asm', import.meta.url));

const debug = async (commands: readonly string[], program = hello) => {
  let text = '';
  const output = new Writable({
    write(chunk, _encoding, done) {
      text += String(chunk);
      done();
    },
  });
  const code = await debugProgram(
    program,
    {},
    Readable.from(commands.map((one) => `${one}\n`)),
    output,
  );
  return { code, text };
};

test('steps, shows registers, breaks in an exit, and runs to the end', async () => {
  const { code, text } = await debug([
    's',
    'r',
    'b vm-exit:vmcall',
    'c',
    'bt',
    'd',
    'xl list',
    'c',
  ]);

  expect(text).toContain('Paused on entry');
  expect(text).toMatch(/rax +0x[0-9a-f]{16}$/m);
  expect(text).toContain('VM exit 18 VMCALL');
  expect(text).toMatch(/^→ +\d+ +→ 1\. /m);
  expect(text).toMatch(/^hello +1 +64/m);
  expect(text).toContain('Hello from a guest.');
  expect(code).toBe(0);
});

test('stops at lines, of the source at hand or of another by its name', async () => {
  const { text } = await debug([
    'b main.asm:9',
    'b 64',
    'b other.asm:1',
    'b',
    'c',
    'd 64',
    'c',
    'q',
  ]);

  expect(text).toMatch(/break at main\.asm:\d+/);
  expect(text).toMatch(/(break at boot\.inc:64\n[\s\S]*){2}/);
  expect(text).toContain('not set: no source is named other.asm; there are');
  expect(text).toMatch(/Paused on breakpoint\n.*at boot\.inc:64/);
  expect(text).toMatch(/Paused on breakpoint\n.*at main\.asm:\d+/);
});

test('a word that means nothing is told', async () => {
  expect((await debug(['frobnicate', 'q'])).text).toContain("nothing is named 'frobnicate'");
});

test('a program that is not there ends with code 2', async () => {
  const { code, text } = await debug([], '/none/at/all.asm');

  expect(code).toBe(2);
  expect(text).toContain('/none/at/all.asm: cannot be read');
});
