/** Single steps of a machine, as a debugger takes them. */
import { type Benchmark, processorSeconds } from './benchmark.ts';
import { startedMachine } from './guests.ts';

const STEPS = 500_000;

export const singleSteps: Benchmark = {
  name: 'single steps',
  unit: 'steps',
  required: { rate: 1e6 },
  here() {
    const { machine } = startedMachine('alu');
    const start = processorSeconds();
    for (let i = 0; i < STEPS; i += 1) machine.step(1, 0, 'instruction');
    return { units: STEPS, seconds: processorSeconds() - start };
  },
};
