import { mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, expect, test } from 'vitest';
import { runProgram } from './run.ts';
import { openSwapFile } from './swap-file.ts';

const folder = mkdtempSync(join(tmpdir(), 'hyperstep-swap-'));
afterAll(() => rmSync(folder, { recursive: true }));
const samples = join(dirname(dirname(dirname(fileURLToPath(import.meta.url)))), 'samples');

const run = async (swapFile: string) => {
  const said: string[] = [];
  let console = '';
  const code = await runProgram(
    join(samples, 'memory-swap/memory-swap.hyperstep.json'),
    { swapFile, include: [join(samples, 'include')] },
    { write: (text) => (console += text), complain: (line) => said.push(line) },
  );
  return { code, console, said };
};

test('a guest runs with its pages in a file, which can be used again', async () => {
  const path = join(folder, 'swap.img');
  const expected = readFileSync(join(samples, 'memory-swap/expected.txt'), 'utf8');
  for (let round = 0; round < 2; round += 1) {
    expect(await run(path)).toMatchObject({ code: 0, console: expected });
  }
  const bytes = readFileSync(path);

  expect(statSync(path).size).toBeGreaterThan(8 << 20);
  expect(bytes.subarray(0, 4).toString()).toBe('HSWP');
  expect(bytes.subarray(1 << 20).some((byte) => byte !== 0)).toBe(true);
});

test('a file that is something else is left alone', async () => {
  const path = join(folder, 'letter.txt');
  writeFileSync(path, 'Dear reader,');
  const { code, said } = await run(path);

  expect(code).toBe(2);
  expect(said).toEqual([`${path} is there and is no swap file; name another, or remove it.`]);
  expect(readFileSync(path, 'utf8')).toBe('Dear reader,');
  expect((await run(join(folder, 'no-folder/swap.img'))).said[0]).toMatch(/ENOENT/);
});

test('reads and writes are at their place, and end with the file', () => {
  const device = openSwapFile(join(folder, 'small.img'), 8192);
  expect(device.write(4094, Uint8Array.of(1, 2, 3))).toBe(true);

  expect(device.read(4093, 5)).toEqual(Uint8Array.of(0, 1, 2, 3, 0));
  expect(device.write(8191, Uint8Array.of(1, 2))).toBe(false);
  expect(device.read(8191, 2)).toBeUndefined();
  device.close();
  expect(device.write(0, Uint8Array.of(1))).toBe(false);
});
