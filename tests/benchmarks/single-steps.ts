/** Single steps of a machine, as a debugger takes them. */
import { createMachine } from '../../emulator/index.ts';
import { type Benchmark, processorSeconds } from './benchmark.ts';

const STEPS = 300_000;
/** In 32-bit code, where a flat binary begins: inc eax; dec ebx; jmp to the start. */
const LOOP = Uint8Array.of(0x40, 0x4b, 0xeb, 0xfc);

export const singleSteps: Benchmark = {
  name: 'single steps',
  unit: 'steps',
  required: { rate: 1e6 },
  here() {
    const machine = createMachine({
      domains: [{ name: 'bench', program: LOOP, memoryBytes: 4 * 2 ** 20 }],
    });
    const start = processorSeconds();
    for (let i = 0; i < STEPS; i += 1) machine.step(1, 0, 'instruction');
    return { units: STEPS, seconds: processorSeconds() - start };
  },
};
