/** Guests that nasm and ld, or gcc, have built: they run as those built here, with their lines. */
import { spawnSync } from 'node:child_process';
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Readable, Writable } from 'node:stream';
import { fileURLToPath } from 'node:url';
import { afterAll, describe, expect, test } from 'vitest';
import { debugProgram } from '../../debug-adapter/command-line/debug.ts';
import { runProgram } from '../../debug-adapter/command-line/run.ts';

const samples = fileURLToPath(new URL('../../samples/', import.meta.url));
const names = readdirSync(samples).filter((name) =>
  existsSync(join(samples, name, 'expected.txt')),
);
const folder = mkdtempSync(join(tmpdir(), 'built-by-others-'));
afterAll(() => rmSync(folder, { recursive: true }));

const has = (...tools: readonly string[]): boolean => {
  const isThere = tools.every((tool) => spawnSync(tool, ['--version']).status === 0);
  if (!isThere) console.log(`${tools.join(' or ')} is not on PATH: the test is left out.`);
  return isThere;
};

const build = (tool: string, args: readonly string[], cwd: string): void => {
  const { status, stderr } = spawnSync(tool, args, { cwd, encoding: 'utf8' });
  expect(status, stderr).toBe(0);
};

const run = async (program: string) => {
  let console = '';
  const said: string[] = [];
  const code = await runProgram(
    program,
    {},
    {
      write: (text) => {
        console += text;
      },
      complain: (line) => said.push(line),
    },
  );
  return { code, console, exits: said.slice(1).sort() };
};

describe.each(names)('%s, built by nasm and ld', (name) => {
  test('prints the same and exits as often', async () => {
    if (!has('nasm', 'ld')) return;
    const object = join(folder, `${name}.o`);
    const program = join(folder, name);
    const source = join(samples, name);
    build('nasm', ['-f', 'elf64', '-I', '../include/', '-o', object, 'main.asm'], source);
    build('ld', ['-n', '-Ttext=0x100000', '-o', program, object], source);
    const theirs = await run(program);

    expect(theirs.console).toBe(readFileSync(join(source, 'expected.txt'), 'utf8'));
    expect(theirs).toEqual(await run(join(source, 'main.asm')));
  });
});

const debug = async (program: string, commands: readonly string[]): Promise<string> => {
  let text = '';
  const output = new Writable({
    write(chunk, _encoding, done) {
      text += String(chunk);
      done();
    },
  });
  await debugProgram(program, {}, Readable.from(commands.map((one) => `${one}\n`)), output);
  return text;
};

describe.each([
  ['-m32', '-O0'],
  ['-m32', '-O2'],
  ['-m64', '-O0'],
  ['-m64', '-O2'],
])('a kernel built by gcc %s %s', (mode, optimization) => {
  const program = join(folder, `kernel${mode}${optimization}`);
  const isBuilt = (): boolean => {
    if (!has('gcc')) return false;
    const source = fileURLToPath(new URL('./kernel.c', import.meta.url));
    const target = [mode, optimization, '-g', '-ffreestanding', '-nostdlib', '-static', '-no-pie'];
    const code = ['-fno-pie', '-fno-stack-protector', '-fcf-protection=none', '-mno-red-zone'];
    const link = '-Wl,-n,-Ttext-segment=0x100000,--build-id=none,--no-warn-rwx-segments';
    build('gcc', [...target, ...code, '-mgeneral-regs-only', link, '-o', program, source], folder);
    return true;
  };

  test('runs to its power-off, and stops in its functions at their lines', async () => {
    if (!isBuilt()) return;
    const line = readFileSync(new URL('./kernel.c', import.meta.url), 'utf8')
      .split('\n')
      .findIndex((text) => text.startsWith('int fibonacci'));

    expect(await run(program)).toMatchObject({ code: 0, console: 'fibonacci(10) is 55\n' });
    const text = await debug(program, ['b fibonacci', 'c', 'bt', 'q']);
    expect(text).toContain(`fibonacci at kernel.c:${line + 1}`);
    expect(text).toMatch(/^main\+0x[0-9a-f]+ +kernel\.c:\d+$/m);
  });
});
