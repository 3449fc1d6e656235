/** Every sample on both engines, with EPT and without: the same state after every stretch, and the same end. */
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { dirname, join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { expect, test } from 'vitest';
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

const machineOf = (name: string, engine: 'interpreter' | 'reference', hap: boolean) => {
  const path = join(samples, name, 'main.asm');
  const { bytes: program } = assemble(readFileSync(path, 'utf8'), { path, readFile });
  return createMachine({ engine, domains: [{ name, program, memoryBytes: 16 * 2 ** 20, hap }] });
};

const runs = names.flatMap((name) => [true, false].map((hap) => [name, hap] as const));

test.each(runs)('%s, hap %s', (name, hap) => {
  const interpreter = machineOf(name, 'interpreter', hap);
  const reference = machineOf(name, 'reference', hap);
  for (let round = 0; round < 25; round += 1) {
    const budget = 1 + ((round * 37) % 113) * (round < 20 ? 1 : 50);
    const stop = interpreter.run(budget);
    expect(stop).toEqual(reference.run(budget));
    expect(interpreter.retired).toBe(reference.retired);
    expect(interpreter.stateHash()).toBe(reference.stateHash());
    if (stop.why === 'end') return;
  }
  expect(interpreter.run(5_000_000)).toEqual(reference.run(5_000_000));
  expect(interpreter.stateHash()).toBe(reference.stateHash());
});
