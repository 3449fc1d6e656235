/**
 * The processor of this machine as the answerer of cases: compiles harness.c, feeds it the cases,
 * reads the results. Needs Linux on an x86-64 with gcc.
 */
import { execFileSync, spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type Case, initialMemory } from './cases.ts';
import type { Result } from './result.ts';

const CASE_BYTES = 168;
const RESULT_BYTES = 176;
const STEPPED = 0xff;
const SELECTORS = { 64: 0x33, 32: 0x23 } as const;

export const isProcessorPresent =
  process.platform === 'linux' &&
  process.arch === 'x64' &&
  spawnSync('gcc', ['--version']).status === 0;

const inputOf = (cases: readonly Case[]): Buffer => {
  const input = Buffer.alloc(cases.length * CASE_BYTES);
  for (const [index, { registers, flags, code, bits, repeats }] of cases.entries()) {
    const at = index * CASE_BYTES;
    for (const [i, value] of registers.entries()) input.writeBigUInt64LE(value, at + 8 * i);
    input.writeBigUInt64LE(BigInt(flags), at + 128);
    input.set(code, at + 136);
    input.writeUInt32LE(SELECTORS[bits], at + 160);
    input.writeUInt32LE(repeats ? 1 : 0, at + 164);
  }
  return Buffer.concat([initialMemory(), input]);
};

const resultsOf = (output: Buffer): Result[] => {
  const results: Result[] = [];
  for (let at = 0; at < output.length; ) {
    const quad = (index: number) => output.readBigUInt64LE(at + 8 * index);
    const trap = Number(quad(18));
    const changes = Number(quad(21));
    const registers = Array.from({ length: 16 }, (_, i) => quad(i));
    const rip = quad(17);
    const flags = Number(quad(16));
    const error = Number(quad(19));
    const address = quad(20);
    at += RESULT_BYTES;
    const memory = Array.from({ length: changes }, (_, i): [number, number] => [
      output.readUInt16LE(at + 4 * i),
      output.readUInt16LE(at + 4 * i + 2),
    ]);
    at += 4 * changes;
    const fault = trap === STEPPED ? undefined : { vector: trap, error, address };
    results.push({ registers, flags, rip, fault, memory });
  }
  return results;
};

/** What the processor makes of the cases. */
export const runOnProcessor = (cases: readonly Case[]): Result[] => {
  const folder = mkdtempSync(join(tmpdir(), 'silicon-'));
  try {
    const program = join(folder, 'harness');
    execFileSync('gcc', ['-O1', '-o', program, join(import.meta.dirname, 'harness.c')]);
    const results: Result[] = [];
    const CHUNK = 20_000;
    for (let from = 0; from < cases.length; from += CHUNK) {
      const input = inputOf(cases.slice(from, from + CHUNK));
      results.push(...resultsOf(execFileSync(program, { input, maxBuffer: 2 ** 30 })));
    }
    if (results.length !== cases.length) throw new Error(`${results.length} results`);
    return results;
  } finally {
    rmSync(folder, { recursive: true });
  }
};

const FEATURES: readonly (readonly [RegExp, string])[] = [
  [/^movbe$/, 'movbe'],
  [/^popcnt$/, 'popcnt'],
  [/^(lzcnt)$/, 'abm'],
  [/^(tzcnt|andn|bls.*|bextr)$/, 'bmi1'],
  [/^(bzhi|pdep|pext|mulx|rorx|sarx|shlx|shrx)$/, 'bmi2'],
  [/^ad[co]x$/, 'adx'],
  [/^crc32$/, 'sse4_2'],
  [/^cmpxchg16b$/, 'cx16'],
  [/^(clac|stac)$/, 'smap'],
  [/^prefetch/, '3dnowprefetch'],
];

/** The cases whose instructions this processor has. */
export const supported = (cases: readonly Case[]): Case[] => {
  const flags = new Set(
    /^flags\s*: (.*)$/m.exec(readFileSync('/proc/cpuinfo', 'utf8'))?.[1]?.split(' '),
  );
  return cases.filter(({ tested }) =>
    FEATURES.every(([pattern, flag]) => !pattern.test(tested.mnemonic) || flags.has(flag)),
  );
};
