import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { expect, test } from 'vitest';
import { type RunOptions, runProgram } from './run.ts';

const samples = join(dirname(fileURLToPath(import.meta.url)), '..', '..', 'samples');

const run = async (options: Partial<RunOptions> = {}, file = 'hello/main.asm') => {
  let written = '';
  const said: string[] = [];
  const code = await runProgram(
    join(samples, file),
    { memory: 16, ...options },
    { write: (text) => (written += text), complain: (line) => said.push(line) },
  );
  return { code, written, said: said.join('\n') };
};

test('the guest prints, powers off, and its exits are counted', async () => {
  const { code, written, said } = await run();

  expect(code).toBe(0);
  expect(written).toBe('Hello from a guest.\n');
  expect(said).toMatch(/shutdown:poweroff after \d+ instructions/);
  expect(said).toMatch(/2 {2}VMCALL/);
});

test('a break ends the run with code 3 before the event is handled', async () => {
  const { code, written, said } = await run({ breakOn: ['vm-exit:cpuid'] });

  expect(code).toBe(3);
  expect(written).toBe('');
  expect(said).toContain('vm-exit reason=CPUID number=10');
});

test('memory can be watched', async () => {
  const name = 'watch:gva:0x400000000018:write';
  const { code, written } = await run({ breakOn: [name], json: true }, 'page-tables/main.asm');
  const wrong = await run({ breakOn: ['watch:gpa:0-x'] });

  expect(code).toBe(3);
  expect(written).toContain('"event":"memory-access"');
  expect(wrong).toMatchObject({ code: 2, said: expect.stringContaining('is no watch') });
});

test('a trace prints every matching event and goes on', async () => {
  const { code, said } = await run({ trace: ['vm-exit'] });

  expect(code).toBe(0);
  expect(said.match(/vm-exit reason=/g)).toHaveLength(8);
});

test('with --json standard output is one object a line, the last one the end', async () => {
  const { code, written } = await run({ json: true, trace: ['hypercall'] });
  const lines = written
    .trimEnd()
    .split('\n')
    .map((line) => JSON.parse(line));

  expect(code).toBe(0);
  expect(lines.find(({ event }) => event === 'console')).toMatchObject({
    text: 'Hello from a guest.\n',
  });
  expect(lines.find(({ event }) => event === 'hypercall')).toMatchObject({
    domain: 1,
    vcpu: 0,
    name: 'console_io',
  });
  expect(lines.at(-1)).toMatchObject({ event: 'end', why: 'shutdown:poweroff' });
});

test('the instruction limit is exact and ends the run with code 5', async () => {
  const { code, said } = await run({ maxInstructions: 10 });

  expect(code).toBe(5);
  expect(said).toContain('instruction-limit after 10 instructions');
});

test('bytes that are no program end in a triple fault, with code 4', async () => {
  // Text, then zeros, which are instructions too, run to the end of memory; no code is behind it.
  const { code, said } = await run({ memory: 2 }, 'hello/expected.txt');

  expect(code).toBe(4);
  expect(said).toContain('triple fault at RIP 0x200000');
});

test('bad input is told with file or name, and ends with 2', async () => {
  expect(await run({}, 'none.asm')).toMatchObject({ code: 2 });
  expect((await run({}, 'none.asm')).said).toContain('none.asm: cannot be read');
  expect((await run({ breakOn: ['nothing'] })).said).toContain(
    "nothing: 'nothing' is no kind of event",
  );
});

test('the domains of a scenario run side by side, their lines named', async () => {
  const { code, written } = await run({}, 'two-domains/two-domains.hyperstep.json');

  expect(code).toBe(0);
  expect(written).toMatch(/^\(d1\) /m);
  expect(written).toMatch(/^\(d2\) /m);
});

test('an exception that the guest handles itself is a break too', async () => {
  const { code, said } = await run({ breakOn: ['exception:14'] }, 'page-tables/main.asm');

  expect(code).toBe(3);
  expect(said).toContain('exception vector=14 name=PF errorCode=2');
});
