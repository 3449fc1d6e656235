import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { runAsm } from './asm.ts';

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'hyperstep-asm-'));
});
afterEach(() => rmSync(folder, { recursive: true }));

async function assembleText(text: string) {
  const file = join(folder, 'a.asm');
  const output = join(folder, 'a.out');
  const listing = join(folder, 'a.lst');
  writeFileSync(file, text);
  const lines: string[] = [];
  const code = await runAsm(file, { format: 'bin', output, listing }, (line) => lines.push(line));
  return { code, lines, file, output, listing };
}

test('a flat image and its listing are written', async () => {
  const { code, lines, output, listing } = await assembleText('bits 64\nnop\nret\n');
  expect({ code, lines }).toEqual({ code: 0, lines: [] });
  expect([...readFileSync(output)]).toEqual([0x90, 0xc3]);
  expect(readFileSync(listing, 'utf8')).toMatch(/90.*nop/);
});

test('an error names file and line, and nothing is written', async () => {
  const { code, lines, file, output } = await assembleText('bits 64\nnop\nmov rax, [\n');
  expect(code).toBe(2);
  expect(lines[0]?.startsWith(`${file}:3:`)).toBe(true);
  expect(existsSync(output)).toBe(false);
});

test('a missing file and an output that is the source are refused', async () => {
  const lines: string[] = [];
  const missing = join(folder, 'missing.asm');
  expect(await runAsm(missing, { format: 'bin' }, (line) => lines.push(line))).toBe(2);
  const source = join(folder, 'program.bin');
  writeFileSync(source, 'nop\n');
  expect(await runAsm(source, { format: 'bin' }, (line) => lines.push(line))).toBe(2);
  expect(lines[0]).toContain(missing);
  expect(lines[1]).toContain('would overwrite the source');
  expect(readFileSync(source, 'utf8')).toBe('nop\n');
});

test('included files are found in the folders that are named', async () => {
  const shared = join(folder, 'shared');
  mkdirSync(shared);
  writeFileSync(join(shared, 'one.inc'), 'nop\n');
  const file = join(folder, 'b.asm');
  const output = join(folder, 'b.out');
  writeFileSync(file, "%include 'one.inc'\n");
  const lines: string[] = [];
  const complain = (line: string) => lines.push(line);
  expect(await runAsm(file, { format: 'bin', output }, complain)).toBe(2);
  expect(await runAsm(file, { format: 'bin', output, include: [shared] }, complain)).toBe(0);
  expect([...readFileSync(output)]).toEqual([0x90]);
});
