/**
 * Whole sources, each of one part of the language, have the bytes nasm gives them. `sources.txt`
 * holds them: a name, the source, and nasm's bytes.
 */
import { spawnSync } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { assemble } from '../index.ts';

const recording = new URL('./sources.txt', import.meta.url);

const FILES: Readonly<Record<string, string>> = {
  'inc.bin': '0123456789abcdef',
  'a.inc': '%ifndef A_INC\n%define A_INC\nINCV equ 7\n%macro incm 1\ndb %1\n%endmacro\n%endif\n',
};

interface Source {
  readonly name: string;
  readonly text: string;
  readonly hex: string;
}

const sources: readonly Source[] = readFileSync(recording, 'utf8')
  .split(/^### /m)
  .slice(1)
  .map((part) => {
    const [name = '', ...lines] = part.trimEnd().split('\n');
    const at = lines.findIndex((line) => line.startsWith('#='));
    const end = at < 0 ? lines.length : at;
    const hex = (lines[at] ?? '').slice(2).trim();
    return { name, text: `${lines.slice(0, end).join('\n')}\n`, hex };
  });

const ours = (text: string) =>
  assemble(text, {
    format: 'bin',
    path: 'a.asm',
    readFile: (path) => {
      const content = FILES[path];
      return content === undefined ? undefined : { path, bytes: new TextEncoder().encode(content) };
    },
  });

const nasm = (folder: string, text: string): string | undefined => {
  const image = join(folder, 'a.bin');
  rmSync(image, { force: true });
  writeFileSync(join(folder, 'a.asm'), text);
  spawnSync('nasm', ['-w-all', '-f', 'bin', '-o', 'a.bin', 'a.asm'], { cwd: folder });
  return existsSync(image) ? readFileSync(image).toString('hex') : undefined;
};

const createFolder = (): string => {
  const folder = mkdtempSync(join(tmpdir(), 'sources-'));
  for (const [name, content] of Object.entries(FILES)) writeFileSync(join(folder, name), content);
  return folder;
};

const hasNasm = spawnSync('nasm', ['-v']).status === 0;

// UPDATE_CORPUS=1 records anew with the nasm on PATH.
if (process.env.UPDATE_CORPUS !== undefined && hasNasm) {
  const folder = createFolder();
  const entries = sources.map(({ name, text }) => `### ${name}\n${text}#= ${nasm(folder, text)}\n`);
  writeFileSync(recording, entries.join(''));
}

test.each(sources)('$name', ({ text, hex }) => {
  const { bytes, diagnostics } = ours(text);

  expect(diagnostics.filter(({ severity }) => severity === 'error')).toEqual([]);
  expect(Buffer.from(bytes).toString('hex')).toBe(hex);
});

test('live: nasm gives the same bytes', () => {
  if (!hasNasm) {
    console.log('nasm is not on PATH: the comparison with it is left out.');
    return;
  }
  const folder = createFolder();
  const different = sources.filter(({ text, hex }) => nasm(folder, text) !== hex);
  expect(different.map(({ name }) => name)).toEqual([]);
});
