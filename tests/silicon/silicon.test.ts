/**
 * The engines beside a real processor: recorded results of all cases, and a live run with another
 * seed where gcc and an x86-64 are present. RECORD_SILICON=1 records anew.
 */
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { createPreciseEngine } from '../../emulator/engine/precise.ts';
import { type CreateEngine, createBench } from './bench.ts';
import { type Case, casesOf } from './cases.ts';
import { differenceOf } from './compare.ts';
import { isProcessorPresent, runOnProcessor, supported } from './processor.ts';
import { pack, type Result, unpack } from './result.ts';

/** Every engine answers every case. */
const ENGINES: readonly (readonly [string, CreateEngine])[] = [['precise', createPreciseEngine]];

const GROUPS = [
  { bits: 64, casesPerForm: 300 },
  { bits: 32, casesPerForm: 60 },
] as const;
const SEED = 1;

const recordingOf = (bits: 32 | 64) => join(import.meta.dirname, `recorded-${bits}.bin.gz`);

const differences = (createEngine: CreateEngine, cases: readonly Case[], wanted: Result[]) => {
  const answer = createBench(createEngine);
  return cases.flatMap((one, index) => {
    const expected = wanted[index];
    return (expected && differenceOf(one, expected, answer(one))) ?? [];
  });
};

if (process.env.RECORD_SILICON === '1') {
  for (const { bits, casesPerForm } of GROUPS) {
    const cases = casesOf(bits, SEED, casesPerForm);
    writeFileSync(recordingOf(bits), pack(cases, runOnProcessor(cases)));
  }
}

test('at least 200,000 cases are recorded', () => {
  const count = GROUPS.reduce(
    (sum, { bits, casesPerForm }) => sum + casesOf(bits, SEED, casesPerForm).length,
    0,
  );
  expect(count).toBeGreaterThanOrEqual(200_000);
});

test.each(ENGINES.flatMap(([name, create]) => GROUPS.map((group) => ({ name, create, ...group }))))(
  'the $name engine answers as recorded in $bits-bit mode',
  ({ create, bits, casesPerForm }) => {
    const cases = casesOf(bits, SEED, casesPerForm);
    const wanted = unpack(cases, readFileSync(recordingOf(bits)));
    const found = differences(create, cases, wanted);
    expect(found.slice(0, 20), `${found.length} of ${cases.length} cases`).toEqual([]);
  },
);

if (!isProcessorPresent) console.log('silicon: live run skipped, needs gcc on an x86-64 Linux');

test
  .skipIf(!isProcessorPresent)
  .each(ENGINES.flatMap(([name, create]) => GROUPS.map(({ bits }) => ({ name, create, bits }))))(
  'the $name engine answers as this processor does in $bits-bit mode',
  ({ create, bits }) => {
    const cases = supported(casesOf(bits, 2, bits === 64 ? 60 : 20));
    const found = differences(create, cases, runOnProcessor(cases));
    expect(found.slice(0, 20), `${found.length} of ${cases.length} cases`).toEqual([]);
  },
);
