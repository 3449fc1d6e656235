/**
 * The debug adapter on standard streams, as editors other than VS Code start it: launch to the first
 * stop, steps from request to `stopped`, and the memory of the process. Wall-clock time here, since
 * two processes take turns.
 */
import { spawn } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Benchmark, Measurement } from './benchmark.ts';

const WARM_STEPS = 2000;
const STEPS = 10_000;

export const adapterSteps: Benchmark = {
  name: 'DAP steps',
  unit: 'steps',
  required: { rate: 2000 },
  here: () => measure(),
};

interface Message {
  readonly type: string;
  readonly event?: string;
  readonly command?: string;
}

const measure = async (): Promise<Measurement> => {
  const adapter = spawn(process.execPath, [join('dist', 'hyperstep.mjs'), 'dap'], {
    stdio: ['pipe', 'pipe', 'inherit'],
  });
  const client = connect(adapter.stdin, adapter.stdout);
  const launch = async (): Promise<number> => {
    const start = performance.now();
    client.send('launch', { program: join('samples', 'hello', 'main.asm') });
    await client.event('initialized');
    client.send('configurationDone');
    await client.event('stopped');
    return performance.now() - start;
  };
  client.send('initialize', { adapterID: 'hyperstep' });
  const cold = await launch();
  const warm = await launch();
  client.send('launch', { program: join('tests', 'benchmarks', 'guests', 'alu.asm') });
  await client.event('initialized');
  client.send('configurationDone');
  await client.event('stopped');
  const times: number[] = [];
  for (let index = 0; index < WARM_STEPS + STEPS; index += 1) {
    const start = performance.now();
    client.send('stepIn', { threadId: 256 });
    await client.event('stopped');
    if (index >= WARM_STEPS) times.push(performance.now() - start);
  }
  const memory = residentMebibytes(adapter.pid);
  adapter.stdin.end();
  adapter.kill();
  const sorted = [...times].sort((a, b) => a - b);
  const slow = sorted[Math.floor(sorted.length * 0.99)] ?? 0;
  console.log(
    `  launch to first stop ${cold.toFixed(0)} ms cold, ${warm.toFixed(0)} ms warm; ` +
      `99 % of steps under ${slow.toFixed(2)} ms; ${memory} MiB resident`,
  );
  return { units: STEPS, seconds: times.reduce((sum, time) => sum + time, 0) / 1000 };
};

const connect = (input: NodeJS.WritableStream, output: NodeJS.ReadableStream) => {
  let buffer = Buffer.alloc(0);
  let seq = 0;
  const seen: string[] = [];
  let waiting: { readonly name: string; readonly resolve: () => void } | undefined;
  const take = ({ type, event = '' }: Message): void => {
    if (type !== 'event') return;
    if (waiting?.name === event) {
      const { resolve } = waiting;
      waiting = undefined;
      resolve();
    } else seen.push(event);
  };
  output.on('data', (data: Buffer) => {
    buffer = Buffer.concat([buffer, data]);
    for (;;) {
      const head = buffer.indexOf('\r\n\r\n');
      const length = Number(/Content-Length: (\d+)/.exec(buffer.toString('utf8', 0, head))?.[1]);
      if (head < 0 || buffer.length < head + 4 + length) return;
      const text = buffer.toString('utf8', head + 4, head + 4 + length);
      buffer = buffer.subarray(head + 4 + length);
      take(JSON.parse(text));
    }
  });
  return {
    send(command: string, args: object = {}): void {
      seq += 1;
      const text = JSON.stringify({ seq, type: 'request', command, arguments: args });
      input.write(`Content-Length: ${Buffer.byteLength(text)}\r\n\r\n${text}`);
    },
    event(name: string): Promise<void> {
      const index = seen.indexOf(name);
      if (index >= 0) {
        seen.splice(index, 1);
        return Promise.resolve();
      }
      return new Promise((resolve) => {
        waiting = { name, resolve };
      });
    },
  };
};

/** From /proc, where there is one. */
const residentMebibytes = (pid: number | undefined): string => {
  try {
    const status = readFileSync(`/proc/${pid}/status`, 'utf8');
    return (Number(/VmRSS:\s+(\d+)/.exec(status)?.[1]) / 1024).toFixed(0);
  } catch {
    return '?';
  }
};
