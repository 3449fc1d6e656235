/** The guests that real Xen has answered, assembled here and run on both engines. */
import { existsSync, readFileSync } from 'node:fs';
import { dirname, join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { describe, expect, test } from 'vitest';
import { assemble } from '../../assembler/index.ts';
import { createMachine } from '../../emulator/index.ts';
import { guestNames, textsOf } from '../oracles/guests/texts.mjs';

const root = dirname(dirname(dirname(fileURLToPath(import.meta.url))));
const guests = join(root, 'tests/oracles/guests');
const MEMORY_BYTES = 64 * 2 ** 20;

const readFile = (path: string, from: string) => {
  const places = [resolve(dirname(from), path), join(root, 'samples/include', path)];
  const found = places.find((place) => existsSync(place));
  return found === undefined ? undefined : { path: found, bytes: readFileSync(found) };
};

const vcpusOf = (text: string): number => (/^; Needs two vCPUs/m.test(text) ? 2 : 1);

describe.each(guestNames(guests))('%s', (name) => {
  test.each(['interpreter', 'reference'] as const)('on the %s', (engine) => {
    const path = join(guests, `${name}.asm`);
    const text = readFileSync(path, 'utf8');
    const { bytes, diagnostics } = assemble(text, { path, readFile });
    expect(diagnostics).toEqual([]);
    let console = '';
    const machine = createMachine({
      engine,
      domains: [{ name, program: bytes, memoryBytes: MEMORY_BYTES, vcpus: vcpusOf(text) }],
      console: (_domain, more) => {
        console += more;
      },
    });

    expect(machine.run(5_000_000)).toMatchObject({ why: 'end', reason: 'poweroff' });
    expect(console).toBe(textsOf(guests, name).here);
  });
});
