/** xl mem-set, the watch in xenstore, and the guest's balloon: free pages first, then its cache. */
import { readFileSync } from 'node:fs';
import { dirname, join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { expect, test } from 'vitest';
import { assemble } from '../../assembler/index.ts';
import { createMachine } from '../../emulator/index.ts';

const samples = join(dirname(dirname(dirname(fileURLToPath(import.meta.url)))), 'samples');

const program = (): Uint8Array => {
  const path = join(samples, 'balloon-reclaim', 'main.asm');
  return assemble(readFileSync(path, 'utf8'), {
    path,
    readFile: (name, from) => {
      const places = [resolve(dirname(from), name), join(samples, 'include', name)];
      for (const place of places) {
        try {
          return { path: place, bytes: readFileSync(place) };
        } catch {}
      }
      return undefined;
    },
  }).bytes;
};

test('the domain follows its target down and up, and its frames are free and taken', () => {
  let text = '';
  const machine = createMachine({
    domains: [{ name: 'guest', program: program(), memoryBytes: 16 << 20 }],
    console: (_domain, more) => {
      text += more;
    },
  });
  const guest = machine.domains.find(({ id }) => id === 1);
  const pagesOf = (type: string): number =>
    (guest?.p2m() ?? [])
      .filter((range) => range.type === type)
      .reduce((sum, { count }) => sum + count, 0);
  /** Runs until the guest has printed it. */
  const waitFor = (line: string): void => {
    for (let turns = 0; turns < 200 && !text.includes(line); turns += 1) machine.run(500);
    expect(text).toContain(line);
  };
  const order = (mebibytes: number, line: string): void => {
    expect(machine.xl(`mem-set 1 ${mebibytes}`)).toMatchObject({ ok: true });
    waitFor(line);
  };

  waitFor('Waiting for xl mem-set.\n');
  order(15, 'Gave back 256 pages; 0 of them had to be reclaimed from the cache.\n');
  expect(guest?.memoryBytes).toBe(15 << 20);
  expect(pagesOf('ballooned')).toBe(256);
  order(14, 'Gave back 256 pages; 256 of them had to be reclaimed from the cache.\n');
  expect(pagesOf('ballooned')).toBe(512);
  order(16, 'Took 512 pages.\nPages in the balloon: 0, free: 512, cached: 512.\n');
  expect(pagesOf('ballooned')).toBe(0);
  expect(machine.xl('mem-set 1 64').ok).toBe(false);
});
