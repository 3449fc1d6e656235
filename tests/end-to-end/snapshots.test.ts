/** Every sample, cut at many places: saved, restored into a new machine, it ends equal. */
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
const LIMIT = 5_000_000;
const CUTS = 8;

const readFile = (path: string, from: string) => {
  const places = [resolve(dirname(from), path), join(samples, 'include', path)];
  const found = places.find((place) => existsSync(place));
  return found === undefined ? undefined : { path: found, bytes: readFileSync(found) };
};

const machineOf = (name: string, hap = true) => {
  const path = join(samples, name, 'main.asm');
  const { bytes: program } = assemble(readFileSync(path, 'utf8'), { path, readFile });
  return () => createMachine({ domains: [{ name, program, memoryBytes: 8 * 2 ** 20, hap }] });
};

const runs = names.flatMap((name) => [true, false].map((hap) => [name, hap] as const));

test.each(runs)('%s, hap %s', (name, hap) => {
  const create = machineOf(name, hap);
  const whole = create();
  whole.run(LIMIT);
  for (let cut = 1; cut <= CUTS; cut += 1) {
    const first = create();
    first.run(Math.max(1, Math.floor((Math.min(whole.retired, 4000) * cut) / (CUTS + 1))));
    const second = create();
    second.restore(first.save());
    second.run(LIMIT);
    expect(second.stateHash()).toBe(whole.stateHash());
    expect(second.domains[0]?.exitCounts).toEqual(whole.domains[0]?.exitCounts);
    expect(second.domains[0]?.consoleText).toBe(whole.domains[0]?.consoleText);
  }
});

test('a damaged snapshot is refused, and the machine stays as it is', () => {
  const create = machineOf('hello');
  const machine = create();
  machine.run(20);
  const snapshot = machine.save();
  const other = create();
  const before = other.stateHash();
  for (let index = 0; index < 40; index += 1) {
    const damaged = snapshot.slice();
    const at = Math.floor((snapshot.length * index) / 40);
    damaged[at] = (damaged[at] ?? 0) ^ (1 << (index % 8));
    expect(() => other.restore(damaged)).toThrow(RangeError);
    expect(() => other.restore(snapshot.subarray(0, at))).toThrow(RangeError);
  }
  expect(other.stateHash()).toBe(before);
});
