/** The sample same-guest-three-mmus: what the three ways to virtualize memory cost, as it is known. */
import { readFileSync } from 'node:fs';
import { dirname, join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { expect, test } from 'vitest';
import { assemble } from '../../assembler/index.ts';
import { costsOf, createMachine, totalOf } from '../../emulator/index.ts';

const samples = join(dirname(dirname(dirname(fileURLToPath(import.meta.url)))), 'samples');
const folder = join(samples, 'same-guest-three-mmus');

const programOf = (file: string): Uint8Array => {
  const path = join(folder, file);
  const { bytes } = assemble(readFileSync(path, 'utf8'), {
    path,
    readFile: (name, from) => {
      for (const place of [resolve(dirname(from), name), join(samples, 'include', name)]) {
        try {
          return { path: place, bytes: readFileSync(place) };
        } catch {}
      }
      return undefined;
    },
  });
  return bytes;
};

const runOf = (file: string, hap = true) => {
  let text = '';
  const machine = createMachine({
    engine: 'reference',
    domains: [{ name: 'guest', program: programOf(file), memoryBytes: 16 << 20, hap }],
    console: (_domain, more) => {
      text += more;
    },
  });
  expect(machine.run(1_000_000)).toMatchObject({ why: 'end', reason: 'poweroff' });
  expect(text).toBe(readFileSync(join(folder, 'expected.txt'), 'utf8'));
  const domain = machine.domains.find(({ id }) => id === 1);
  if (domain === undefined) throw new Error('There is no domain 1.');
  const transitions = [...domain.exitCounts].reduce((sum, [, count]) => sum + count, 0);
  return {
    ...domain,
    transitions,
    cycles: totalOf(costsOf(domain)),
    misses: domain.tlbMisses ?? 0,
  };
};

test('a PV guest batches, shadows suffer from writes, EPT has few exits and dear TLB misses', () => {
  const direct = runOf('pv.asm');
  const shadow = runOf('main.asm', false);
  const ept = runOf('main.asm');

  // 2,560 entries: by lists of 128; by an exit for each INVLPG and a shadow fault for each page; by
  // nobody's leave.
  expect(direct.tableUpdates).toBeGreaterThanOrEqual(2560);
  expect(direct.transitions).toBeLessThan(60);
  expect(shadow.tableUpdates).toBeGreaterThan(0);
  expect(shadow.transitions).toBeGreaterThan(5000);
  expect(ept.tableUpdates).toBe(0);
  expect(ept.transitions).toBeLessThan(20);
  expect(ept.misses).toBeGreaterThan(8192);
  expect(direct.cycles).toBeLessThan(ept.cycles);
  expect(ept.cycles).toBeLessThan(shadow.cycles);
});
