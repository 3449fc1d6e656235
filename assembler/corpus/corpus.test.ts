import { spawnSync } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { expect, test } from 'vitest';
import { assemble } from '../index.ts';
import { corpusOf } from './forms.ts';

const MODES = [16, 32, 64] as const;

/**
 * What nasm 2.16.01 encodes otherwise than the manuals say: chiefly AVX512-FP16, whose opcodes and
 * scaled displacements it has wrong, and the names of some instructions iced lists for old CPUs.
 */
const KNOWN =
  /^(ptwrite|vmgexit|movdir64b|enqcmds?|rdshr|wrshr|rsdc|rsldt|vextractps r\w+|rdsspd|incsspd|wruss[dq]|wrss[dq]|vcvtneps2bf16|knot|kmov|kortest|fsetpm|loadall|umonitor|v\w+[ps]h\w*|vmovw)\b/;

const recording = fileURLToPath(new URL('./recorded.txt', import.meta.url));

function ours(lines: readonly string[], bits: number): ReadonlyMap<string, string> {
  const chunks: [string, string][] = [];
  const {
    lines: entries,
    bytes,
    diagnostics,
  } = assemble(`bits ${bits}\n${lines.join('\n')}\n`, { format: 'bin' });
  const mistakes = diagnostics.filter(({ severity }) => severity === 'error');
  expect(mistakes.map(({ range, message }) => `${lines[range.startLine - 2]}: ${message}`)).toEqual(
    [],
  );
  for (const { line, address, lengthBytes } of entries) {
    const at = Number(address);
    const text = Buffer.from(bytes.subarray(at, at + lengthBytes))
      .toString('hex')
      .toUpperCase();
    chunks.push([lines[line - 2] ?? '', text]);
  }
  return new Map(chunks);
}

function differences(expected: ReadonlyMap<string, string>, bits: number): readonly string[] {
  const found = ours([...expected.keys()], bits);
  return [...expected]
    .filter(([line, bytes]) => found.get(line) !== bytes)
    .map(([line, bytes]) => `${bits}: ${line}: nasm ${bytes}, ours ${found.get(line)}`);
}

test('recorded: general, system, VMX and x87 forms have the bytes nasm gave them', () => {
  // UPDATE_CORPUS=1 records anew with the nasm on PATH.
  if (process.env.UPDATE_CORPUS !== undefined || !existsSync(recording)) {
    const text = MODES.map((bits) => {
      const bytes = recordWithNasm(
        corpusOf(bits, false, 2).filter((line) => !KNOWN.test(line)),
        bits,
      );
      return `# ${bits}\n${[...(bytes ?? [])].map(([line, hex]) => `${line}\t${hex}`).join('\n')}`;
    });
    writeFileSync(recording, `${text.join('\n')}\n`);
  }
  let count = 0;
  for (const part of readFileSync(recording, 'utf8').split(/^# /m).slice(1)) {
    const [bits = '', ...rows] = part.trim().split('\n');
    const expected = new Map(rows.map((row) => row.split('\t') as [string, string]));
    count += expected.size;
    expect(differences(expected, Number(bits))).toEqual([]);
  }
  expect(count).toBeGreaterThan(5000);
});

test.each(MODES)('live: all forms of %i-bit mode, vectors included, equal nasm', (bits) => {
  const lines = corpusOf(bits, true, 12).filter((line) => !KNOWN.test(line));
  const expected = recordWithNasm(lines, bits);
  if (expected === undefined) {
    console.log('nasm is not on PATH: the comparison with it is left out.');
    return;
  }
  const wrong = differences(expected, bits);
  console.log(`${bits}-bit: ${expected.size - wrong.length} of ${expected.size} forms equal nasm.`);
  expect(wrong).toEqual([]);
});

/**
 * Asks nasm for the bytes of each line. Lines it refuses are left out, and so are names it does
 * not know, which it takes for labels. The bytes in hexadecimal by line;
 * undefined if there is no nasm.
 */
function recordWithNasm(
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
