/**
 * Asks nasm for the bytes of each line of a corpus. Lines nasm refuses are left out, and so are
 * names it does not know, which it takes for labels.
 */
import { spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

/** The bytes in hexadecimal by line; undefined if there is no nasm. */
export function recordWithNasm(
  lines: readonly string[],
  bits: number,
): ReadonlyMap<string, string> | undefined {
  if (spawnSync('nasm', ['-v']).status !== 0) return undefined;
  const folder = mkdtempSync(join(tmpdir(), 'corpus-'));
  let left = lines;
  for (let round = 0; round < 5; round++) {
    writeFileSync(join(folder, 'a.asm'), `bits ${bits}\n${left.join('\n')}\n`);
    const options = ['-f', 'bin', '-w-all', '-l', 'a.lst', '-o', 'a.bin', 'a.asm'];
    const run = spawnSync('nasm', options, { cwd: folder, maxBuffer: 1 << 26 });
    const refused = new Set(
      [...`${run.stderr}`.matchAll(/a\.asm:(\d+): error/g)].map((match) => Number(match[1]) - 2),
    );
    if (refused.size === 0) break;
    left = left.filter((_, i) => !refused.has(i));
  }
  const bytes = new Map<string, string>();
  for (const row of readFileSync(join(folder, 'a.lst'), 'utf8').split('\n')) {
    const match = /^\s*(\d+) [0-9A-F]{8} ([0-9A-F()[\]]+)/.exec(row);
    const line = left[Number(match?.[1]) - 2];
    if (match !== null && line !== undefined) {
      bytes.set(line, (bytes.get(line) ?? '') + (match[2] ?? '').replace(/[^0-9A-F]/g, ''));
    }
  }
  return bytes;
}
