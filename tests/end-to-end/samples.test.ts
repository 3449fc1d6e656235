/** Every sample, assembled here and run to its end, with EPT and without: the console says what expected.txt says. */
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { dirname, join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { describe, expect, test } from 'vitest';
import { assemble } from '../../assembler/index.ts';
import { createMachine } from '../../emulator/index.ts';

const samples = join(dirname(dirname(dirname(fileURLToPath(import.meta.url)))), 'samples');
const names = readdirSync(samples).filter((name) =>
  existsSync(join(samples, name, 'expected.txt')),
);

const readFile = (path: string, from: string) => {
  const places = [resolve(dirname(from), path), join(samples, 'include', path)];
  const found = places.find((place) => existsSync(place));
  return found === undefined ? undefined : { path: found, bytes: readFileSync(found) };
};

const programOf = (name: string): Uint8Array => {
  const path = join(samples, name, 'main.asm');
  const { bytes, diagnostics } = assemble(readFileSync(path, 'utf8'), { path, readFile });
  expect(diagnostics).toEqual([]);
  return bytes;
};

const MEMORY_BYTES = 16 * 2 ** 20;

const run = (program: Uint8Array, name: string, hap = true) => {
  let console = '';
  const machine = createMachine({
    domains: [{ name, program, memoryBytes: MEMORY_BYTES, hap }],
    console: (_domain, text) => {
      console += text;
    },
  });
  const stop = machine.run(5_000_000);
  return { console, stop, hash: machine.stateHash() };
};

describe.each(names)('%s', (name) => {
  test('prints what it should, powers off, and does the same the second time', () => {
    const program = programOf(name);
    const first = run(program, name);

    expect(first.stop).toMatchObject({ why: 'end', reason: 'poweroff' });
    expect(first.console).toBe(readFileSync(join(samples, name, 'expected.txt'), 'utf8'));
    expect(run(program, name).hash).toBe(first.hash);
  });

  test('prints the same with shadow page tables', () => {
    const { stop, console } = run(programOf(name), name, false);

    expect(stop).toMatchObject({ why: 'end', reason: 'poweroff' });
    expect(console).toBe(readFileSync(join(samples, name, 'expected.txt'), 'utf8'));
  });
});
