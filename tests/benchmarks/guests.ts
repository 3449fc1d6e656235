/**
 * The guests of `guests/`: each is assembled by NASM, linked, and run here and, but for PV guests, on
 * QEMU's TCG. It writes S and E to its console; the processor time between them counts.
 */
import { execFileSync, spawn, spawnSync } from 'node:child_process';
import { mkdtempSync, readdirSync, readFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createMachine } from '../../emulator/index.ts';
import { type Benchmark, type Measurement, processorSeconds } from './benchmark.ts';

const MEMORY_BYTES = 128 * 2 ** 20;
const folder = join(process.cwd(), 'tests', 'benchmarks', 'guests');
const built = mkdtempSync(join(tmpdir(), 'hyperstep-bench-'));

const programOf = (name: string): string => {
  const object = join(built, `${name}.o`);
  const program = join(built, name);
  execFileSync('nasm', [
    '-f',
    'elf64',
    '-I',
    `${folder}/`,
    '-I',
    `${join(process.cwd(), 'samples', 'include')}/`,
    '-o',
    object,
    `${join(folder, name)}.asm`,
  ]);
  execFileSync('ld', ['-n', '-Ttext=0x100000', '-o', program, object]);
  return program;
};

/** A machine whose guest is about to begin its work; `hasEnded` tells when it is through. */
export const startedMachine = (name: string) => {
  let console = '';
  const machine = createMachine({
    domains: [{ name, program: readFileSync(programOf(name)), memoryBytes: MEMORY_BYTES }],
    console: (_domain, text) => {
      console += text;
    },
  });
  while (!console.includes('S')) machine.run(1);
  return { machine, hasEnded: () => console.includes('E') };
};

const runHere = (name: string, units: number | 'retired'): Measurement => {
  const { machine, hasEnded } = startedMachine(name);
  const before = machine.retired;
  const start = processorSeconds();
  while (!hasEnded()) {
    const stop = machine.run(50_000_000);
    if (stop.why === 'end' && !hasEnded()) throw new Error(stop.explanation);
  }
  const seconds = processorSeconds() - start;
  return { units: units === 'retired' ? machine.retired - before : units, seconds };
};

/** Processor time of all threads of a process, in seconds: the Linux scheduler tells. */
const processSeconds = (pid: number): number =>
  readdirSync(`/proc/${pid}/task`).reduce((sum, task) => {
    const [nanoseconds] = readFileSync(`/proc/${pid}/task/${task}/schedstat`, 'utf8').split(' ');
    return sum + Number(nanoseconds) / 1e9;
  }, 0);

const runQemu = (program: string): Promise<number | undefined> => {
  if (spawnSync('qemu-system-x86_64', ['--version']).error !== undefined) {
    return Promise.resolve(undefined);
  }
  const words =
    '-accel tcg -cpu max -m 128 -display none -serial none -monitor none -debugcon stdio -kernel';
  const child = spawn('qemu-system-x86_64', [...words.split(' '), program]);
  return new Promise((resolve, reject) => {
    let start = 0;
    child.on('error', reject);
    child.stdout.on('data', (text: Buffer) => {
      if (child.pid === undefined) return;
      if (text.includes('S')) start = processSeconds(child.pid);
      if (text.includes('E')) {
        resolve(processSeconds(child.pid) - start);
        child.kill();
      }
    });
  });
};

const guest = (
  name: string,
  unit: string,
  required: Benchmark['required'],
  units: number | 'retired' = 'retired',
): Benchmark => {
  let program: string | undefined;
  let last = 0;
  const path = (): string => {
    program ??= programOf(name);
    return program;
  };
  return {
    name,
    unit,
    required,
    here: () => {
      const measured = runHere(name, units);
      last = measured.units;
      return measured;
    },
    qemu: async () => {
      const seconds = await runQemu(path());
      return seconds === undefined ? undefined : { units: last, seconds };
    },
  };
};

/** A guest that runs under Xen only. */
const pvGuest = (name: string, unit: string, rate: number, units: number): Benchmark => ({
  name,
  unit,
  required: { rate },
  here: () => runHere(name, units),
});

export const guestBenchmarks: readonly Benchmark[] = [
  guest('alu', 'instructions', { ofQemu: 0.2 }),
  guest('sieve', 'instructions', { ofQemu: 0.2 }),
  guest('sieve-32', 'instructions', { ofQemu: 0.2 }),
  guest('fib', 'instructions', { ofQemu: 0.2 }),
  guest('bytecode', 'instructions', { ofQemu: 0.2 }),
  guest('stride', 'instructions', { ofQemu: 1 }),
  guest('rep-movs', 'bytes', { ofQemu: 10 }, 400 * 2 ** 20),
  guest('page-faults', 'faults', { ofQemu: 1 }, 1_000_000),
  guest('cpuid', 'exits', { rate: 2e6 }, 3_000_000),
  pvGuest('mmu-update', 'entries', 3e5, 4000 * 2 * 256),
  pvGuest('pin', 'entries', 3e5, 4000 * 512),
];
