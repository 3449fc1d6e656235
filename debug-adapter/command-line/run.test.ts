import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { expect, test } from 'vitest';
import { type RunOptions, runProgram } from './run.ts';

const samples = join(dirname(fileURLToPath(import.meta.url)), '..', '..', 'samples');

const run = async (options: Partial<RunOptions> = {}, file = 'hello/main.asm') => {
  let written = '';
  const said: string[] = [];
  const code = await runProgram(
    resolve(samples, file),
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
  const folder = mkdtempSync(join(tmpdir(), 'hyperstep-run-'));
  const image = join(folder, 'zeros.bin');
  writeFileSync(image, new Uint8Array(16));
  // Zeros are instructions, too, and run to the end of memory; no code is behind it.
  const { code, said } = await run({ memory: 2 }, image);
  rmSync(folder, { recursive: true });

  expect(code).toBe(4);
  expect(said).toContain('triple fault at RIP 0x200000');
});

test('text is no program', async () => {
  const { code, said } = await run({}, 'hello/expected.txt');

  expect(code).toBe(2);
  expect(said).toContain('expected.txt: The program is text');
});

test('a traced hypercall has its arguments and its result', async () => {
  const { written } = await run({ json: true, trace: ['hypercall:sched_op'] });
  const events = written
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line));

  expect(events.filter(({ event }) => event === 'hypercall')).toEqual([
    expect.objectContaining({
      domain: 1,
      vcpu: 0,
      name: 'sched_op',
      operation: 'SCHEDOP_shutdown',
      args: expect.arrayContaining(['0x2']),
      result: '0x0',
    }),
  ]);
});

test('addresses in JSON are hexadecimal text', async () => {
  const { written } = await run(
    { json: true, trace: ['ept-violation', 'vm-exit:ept_violation'] },
    'ept-violation/main.asm',
  );
  const events = written
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line));

  expect(events.find(({ event }) => event === 'ept-violation')).toMatchObject({
    gpa: '0x30000000',
    gva: '0x30000000',
    access: 'read',
    qualification: '0x181',
    rip: expect.stringMatching(/^0x[0-9a-f]+$/),
  });
  expect(events.find(({ event }) => event === 'vm-exit')).toMatchObject({
    domain: 1,
    vcpu: 0,
    reason: 'EPT_VIOLATION',
    number: 48,
    guestPhysical: '0x30000000',
  });
});

test('more memory than there can be is refused', async () => {
  const { code, said } = await run({ memory: 99_999_999 });

  expect(code).toBe(2);
  expect(said).toContain('memory, in MiB: a whole number from 1 to 3072 was expected');
});

test('bad input is told with file or name, and ends with 2', async () => {
  expect(await run({}, 'none.asm')).toMatchObject({ code: 2 });
  expect((await run({}, 'none.asm')).said).toContain(
    'none.asm: cannot be read: there is no such file',
  );
  expect((await run({ breakOn: ['nothing'] })).said).toContain(
    "nothing: 'nothing' is no kind of event",
  );
});

test('a scenario whose kernel is missing names the member and the file', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'hyperstep-run-'));
  const scenario = join(folder, 'a.hyperstep.json');
  writeFileSync(scenario, '{"domains": [{"name": "a", "kernel": "none.asm"}]}');
  const { code, said } = await run({}, scenario);
  rmSync(folder, { recursive: true });

  expect(code).toBe(2);
  expect(said).toContain(`${scenario}: domains[0].kernel: `);
  expect(said).toContain('none.asm: cannot be read: there is no such file');
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

test('what is typed reaches a guest that reads it from the hypervisor', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'hyperstep-run-'));
  const source = join(folder, 'echo.asm');
  writeFileSync(source, ECHO);
  let written = '';
  let rest = 'ab.';
  const input = {
    isLeft: false,
    get hasEnded() {
      return rest === '';
    },
    take() {
      const typed = rest.slice(0, 1);
      rest = rest.slice(1);
      return typed;
    },
    wait: () => Promise.resolve(),
    begin: () => {},
    close: () => {},
  };
  const code = await runProgram(
    source,
    { memory: 16, include: [join(samples, 'include')], maxInstructions: 50_000_000 },
    { write: (text) => (written += text), complain: () => {} },
    input,
  );
  rmSync(folder, { recursive: true });

  expect({ code, written }).toEqual({ code: 0, written: 'ab.' });
});

/** Prints each character that is typed, and ends with a full stop. */
const ECHO = `
%include "boot.inc"
%include "console.inc"

main:
        hypercall __HYPERVISOR_console_io, 1, 1, typed
        test    eax, eax
        jz      main
        hypercall __HYPERVISOR_console_io, 0, 1, typed
        cmp     byte [typed], '.'
        jne     main
        ret

section .bss
typed:  resb    1
`;
