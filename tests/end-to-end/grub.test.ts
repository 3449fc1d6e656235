/**
 * GRUB of Debian as a PVH and as a PV domain, built by others and unmodified: its prompt answers what
 * is typed on the console, and a script within an image prints its lines. The PVH image is 32-bit code
 * without paging; the PV image makes new page tables for all of its memory.
 */
import { execFileSync } from 'node:child_process';
import { existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { runProgram } from '../../debug-adapter/command-line/run.ts';
import type { TypedInput } from '../../debug-adapter/command-line/typed-input.ts';

const KINDS = [
  { platform: 'i386-xen_pvh', image: '/usr/lib/grub-xen/grub-i386-xen_pvh.bin' },
  { platform: 'x86_64-xen', image: '/usr/lib/grub-xen/grub-x86_64-xen.bin' },
] as const;
const modulesOf = (platform: string): string => `/usr/lib/grub/${platform}/kernel.img`;

/** Whether a file of a Debian package is there; without it the test is left out. */
const has = (path: string, name: string): boolean => {
  const isThere = existsSync(path);
  if (!isThere) console.log(`The package ${name} is not installed: the test is left out.`);
  return isThere;
};

/** Colors, cursor movements and carriage returns. */
// biome-ignore lint/suspicious/noControlCharactersInRegex: that is what they begin with
const CONTROLS = /\x1b\[[?\d;]*[A-Za-z]|\r/g;

/** Runs an image; each line is typed when the prompt has come once more. */
const run = async (path: string, lines: readonly string[], memory: number) => {
  let written = '';
  let typed = 0;
  const input: TypedInput = {
    get hasEnded() {
      return typed === lines.length;
    },
    take() {
      const prompts = written.split('grub> ').length - 1;
      if (prompts <= typed || typed === lines.length) return '';
      typed += 1;
      return `${lines[typed - 1]}\n`;
    },
    isLeft: false,
    wait: () => Promise.resolve(),
    begin: () => {},
    close: () => {},
  };
  const output = {
    write: (text: string) => {
      written += text;
    },
    complain: () => {},
  };
  const code = await runProgram(path, { memory, maxInstructions: 200_000_000 }, output, input);
  return { code, text: written.replaceAll(CONTROLS, '') };
};

test.skipIf(!has(KINDS[0].image, 'grub-xen-host')).each(KINDS)(
  "Debian's GRUB for $platform boots to its prompt and does what is typed",
  async ({ image }) => {
    const { code, text } = await run(image, ['ls', 'echo hi', 'halt'], 64);

    expect(text).toContain('Welcome to GRUB!');
    expect(text).toContain('Minimal BASH-like line editing is supported.');
    expect(text).toMatch(/grub> ls\n\(memdisk\) \(proc\) *\ngrub> /);
    expect(text).toMatch(/grub> echo hi\nhi\ngrub> halt/);
    expect(code).toBe(0);
  },
  280_000,
);

const isMissing =
  KINDS.some(({ platform }) => !has(modulesOf(platform), 'grub-xen-bin')) ||
  !has('/usr/bin/grub-mkimage', 'grub-common');

test.skipIf(isMissing).each(KINDS)(
  'a script within an image for $platform prints its lines',
  async ({ platform }) => {
    const folder = mkdtempSync(join(tmpdir(), 'hyperstep-grub-'));
    try {
      const script = join(folder, 'grub.cfg');
      const image = join(folder, 'grub.img');
      writeFileSync(script, 'echo first line\nset x=3\necho x is $x\nls\nhalt\n');
      execFileSync('grub-mkimage', [
        ...['-O', platform, '-c', script, '-o', image, '-p', '/'],
        ...['echo', 'halt', 'ls', 'procfs'],
      ]);
      const { code, text } = await run(image, [], 32);

      expect(text.split('\n').map((line) => line.trimEnd())).toEqual([
        'Welcome to GRUB!',
        '',
        'first line',
        'x is 3',
        '(proc)',
        '',
      ]);
      expect(code).toBe(0);
    } finally {
      rmSync(folder, { recursive: true });
    }
  },
);
