/**
 * The engines beside a real processor: recorded results of all cases, and a live run with another
 * seed where gcc and an x86-64 are present. RECORD_SILICON=1 records anew.
 */
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { createFastEngine } from '../../emulator/engine/engine.ts';
import { createPreciseEngine } from '../../emulator/engine/precise.ts';
import type { Maddr } from '../../emulator/memory/addresses.ts';
import { hostAddressOf } from '../../emulator/memory/machine-memory.ts';
import { type CreateEngine, createBench } from './bench.ts';
import { type Case, CODE, casesOf } from './cases.ts';
import { differenceOf } from './compare.ts';
import { isProcessorPresent, runOnProcessor, supported } from './processor.ts';
import { pack, type Result, unpack } from './result.ts';

/** The interpreter, and the precise engine for what it leaves, as the guest processor has them. */
const createHybrid: CreateEngine = (cpu) => {
  const engine = createFastEngine(cpu);
  cpu.invalidate = () => {
    engine.noteWrite(hostAddressOf(CODE as Maddr), 24);
    engine.begin();
  };
  cpu.invalidate();
  return () => {
    const result = engine.advance(1, false);
    if (result === 'cpuid') return engine.finishCpuid();
    return result === 'ran' ? 'retired' : result;
  };
};

interface Engine {
  readonly name: string;
  readonly create: CreateEngine;
  /** It answers every n-th case: the interpreter translates each one anew, which is slow. */
  readonly stride: number;
  readonly modes: readonly (32 | 64)[];
}

const PRECISE: Engine = {
  name: 'precise',
  create: (cpu) => createPreciseEngine(cpu).step,
  stride: 1,
  modes: [64, 32],
};
const ENGINES: readonly Engine[] = [
  PRECISE,
  { name: 'interpreter', create: createHybrid, stride: 38, modes: [64, 32] },
];

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

test.each(
  ENGINES.flatMap(({ modes, ...engine }) =>
    GROUPS.filter(({ bits }) => modes.includes(bits)).map((group) => ({ ...engine, ...group })),
  ),
)('the $name engine answers as recorded in $bits-bit mode', ({ create, stride, ...group }) => {
  const all = casesOf(group.bits, SEED, group.casesPerForm);
  const recorded = unpack(all, readFileSync(recordingOf(group.bits)));
  const isChosen = (_: unknown, index: number) => index % stride === 0;
  const cases = all.filter(isChosen);
  const found = differences(create, cases, recorded.filter(isChosen));
  expect(found.slice(0, 20), `${found.length} of ${cases.length} cases`).toEqual([]);
});

if (!isProcessorPresent) console.log('silicon: live run skipped, needs gcc on an x86-64 Linux');

test.skipIf(!isProcessorPresent).each([
  { bits: 64, casesPerForm: 60 },
  { bits: 32, casesPerForm: 20 },
] as const)('the precise engine answers as this processor in $bits-bit mode', (group) => {
  const cases = supported(casesOf(group.bits, 2, group.casesPerForm));
  const found = differences(PRECISE.create, cases, runOnProcessor(cases));
  expect(found.slice(0, 20), `${found.length} of ${cases.length} cases`).toEqual([]);
});
