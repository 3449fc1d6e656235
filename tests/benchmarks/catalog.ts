/** Every benchmark, in the order of the report. */

import { adapterSteps } from './adapter-steps.ts';
import type { Benchmark } from './benchmark.ts';
import { guestBenchmarks } from './guests.ts';
import { memoryBenchmarks } from './memory.ts';
import { singleSteps } from './single-steps.ts';

export const BENCHMARKS: readonly Benchmark[] = [
  ...guestBenchmarks,
  ...memoryBenchmarks,
  singleSteps,
  adapterSteps,
];
