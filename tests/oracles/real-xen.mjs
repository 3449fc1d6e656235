/**
 * The samples and the guests of guests/ on real Xen: each is built by nasm and ld, booted as a PVH or
 * PV dom0 by Debian's Xen on QEMU's AMD-V, and its console text compared with the file that is kept
 * of it; the same file then runs here.
 *
 *   node tests/oracles/real-xen.mjs [PROGRAM]...
 *
 * Needs the Debian packages nasm, binutils, qemu-system-x86 and xen-hypervisor-4.17-amd64 (or a
 * later one), and for guests that Bochs judges those of bochs.mjs; without them it says so. The last
 * line is "N passed, N failed".
 */
import { spawn, spawnSync } from 'node:child_process';
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { gunzipSync } from 'node:zlib';
import { buildWhenStale, installPackages, root } from '../../scripts/prepare.mjs';
import { bootOnBochs, whatBochsLacks } from './bochs.mjs';
import { guestNames, textsOf } from './guests/texts.mjs';

const BOOT_LIMIT_MS = 90_000;
const TOOLS = ['nasm', 'ld', 'qemu-system-x86_64'];
const XEN_OPTIONS = 'com1=115200,8n1 console=com1 dom0_mem=128M noreboot spec-ctrl=no';
const PVH_OPTIONS = 'dom0=pvh dom0-iommu=none';

const isThere = (tool) => spawnSync('sh', ['-c', `command -v ${tool}`]).status === 0;
const xenImage = () =>
  existsSync('/boot')
    ? readdirSync('/boot')
        .filter((name) => /^xen-\d.*-amd64\.gz$/.test(name))
        .sort()
        .at(-1)
    : undefined;

const must = (command, args) => {
  const { status, stderr } = spawnSync(command, args, { encoding: 'utf8' });
  if (status !== 0) throw new Error(`${command} ${args.join(' ')}: ${stderr}`);
};

/** What the guest writes, between Xen's last words before it and the first after it. */
const guestText = (log) => {
  const start = /^\(XEN\) Freed .* init memory\r?\n/m.exec(log);
  const end = /^\(XEN\) (?:Hardware Dom0|Domain 0) .*$/m.exec(log);
  if (start === null) throw new Error(`Xen did not start the guest:\n${log.slice(-2000)}`);
  return log
    .slice(start.index + start[0].length, end?.index)
    .replaceAll('\r', '')
    .replaceAll(/^\(XEN\).*\n/gm, '');
};

const isOver = (log) => /^\(XEN\) (?:Hardware Dom0|Domain 0) /m.test(log);

const bootOnXen = async (xen, program, isPv, vcpus) => {
  const options = isPv ? XEN_OPTIONS : `${XEN_OPTIONS} ${PVH_OPTIONS}`;
  const qemu = spawn(
    'qemu-system-x86_64',
    [
      ...['-M', 'q35', '-smp', `${vcpus}`, '-m', '512', '-cpu', 'qemu64,+svm,+npt,-rdtscp,+x2apic'],
      ...['-kernel', xen, '-append', options, '-initrd', program],
      ...['-display', 'none', '-monitor', 'none', '-serial', 'stdio', '-no-reboot'],
    ],
    { stdio: ['ignore', 'pipe', 'ignore'] },
  );
  let log = '';
  await new Promise((resolve) => {
    const timer = setTimeout(resolve, BOOT_LIMIT_MS);
    qemu.stdout.on('data', (text) => {
      log += text;
      if (!isOver(log)) return;
      clearTimeout(timer);
      resolve();
    });
    qemu.on('error', resolve);
    qemu.on('exit', resolve);
  });
  qemu.kill('SIGKILL');
  return guestText(log);
};

const runHere = (program, vcpus) => {
  const { stdout, status, stderr } = spawnSync(
    process.execPath,
    [join(root, 'dist/hyperstep.mjs'), 'run', program, '--vcpus', `${vcpus}`],
    { encoding: 'utf8' },
  );
  if (status !== 0) throw new Error(`hyperstep run ended with ${status}: ${stderr}`);
  return stdout;
};

const difference = (expected, seen) =>
  expected === seen ? undefined : `expected\n${expected}\nseen\n${seen}`;

/** What runs: its source, what real Xen prints, and what is printed here. */
const programs = () => {
  const samples = join(root, 'samples');
  const guests = join(root, 'tests/oracles/guests');
  return [
    ...readdirSync(samples)
      .map((name) => ({ name, folder: join(samples, name) }))
      .filter(({ folder }) => existsSync(join(folder, 'expected.txt')))
      .map(({ name, folder }) => {
        const expected = readFileSync(join(folder, 'expected.txt'), 'utf8');
        return { name, source: join(folder, 'main.asm'), onXen: expected, here: expected };
      }),
    ...guestNames(guests).map((name) => ({
      name,
      source: join(guests, `${name}.asm`),
      ...textsOf(guests, name),
    })),
  ];
};

const main = async (names) => {
  const missing = TOOLS.filter((tool) => !isThere(tool));
  const image = xenImage();
  if (missing.length > 0 || image === undefined) {
    const what = [...missing, ...(image === undefined ? ['/boot/xen-*-amd64.gz'] : [])].join(', ');
    console.log(`The comparison with real Xen is skipped: ${what} is not there.`);
    console.log('0 passed, 0 failed');
    return;
  }
  installPackages();
  buildWhenStale();
  const work = mkdtempSync(join(tmpdir(), 'hyperstep-xen-'));
  const xen = join(work, 'xen.elf');
  writeFileSync(xen, gunzipSync(readFileSync(join('/boot', image))));
  let passed = 0;
  let failed = 0;
  const report = (name, problem) => {
    if (problem === undefined) passed += 1;
    else failed += 1;
    console.log(
      `${problem === undefined ? 'ok    ' : 'FAILED'} ${name}${problem === undefined ? '' : `\n${problem}`}`,
    );
  };
  const chosen = programs().filter(({ name }) => names.length === 0 || names.includes(name));
  for (const { name, source, onXen, here } of chosen) {
    const text = readFileSync(source, 'utf8');
    const isPv = /^%include "pv-boot.inc"/m.test(text);
    const isDomU = /^; Only as a domU/m.test(text);
    const vcpus = /^; Needs two vCPUs/m.test(text) ? 2 : 1;
    const object = join(work, `${name}.o`);
    const program = join(work, name);
    try {
      const includes = ['-I', `${join(root, 'samples/include')}/`, '-I', `${dirname(source)}/`];
      must('nasm', ['-f', 'elf64', ...includes, '-o', object, source]);
      must('ld', ['-n', '-Ttext=0x100000', '--no-warn-rwx-segments', '-o', program, object]);
      report(`${name}, built by nasm and ld, here`, difference(here, runHere(program, vcpus)));
      if (!/^; Judge: Bochs\./m.test(text)) {
        if (isDomU) console.log(`skipped ${name} on ${image}: a dom0 has no xenstore`);
        else
          report(
            `${name} on ${image}`,
            difference(onXen, await bootOnXen(xen, program, isPv, vcpus)),
          );
        continue;
      }
      const lacking = whatBochsLacks();
      if (lacking.length > 0) {
        console.log(`${name} on Bochs is skipped: ${lacking.join(', ')} is not there.`);
        continue;
      }
      const options = `${XEN_OPTIONS} ${PVH_OPTIONS}`;
      const log = await bootOnBochs(work, xen, program, options, isOver);
      report(`${name} on ${image} on Bochs`, difference(onXen, guestText(log)));
    } catch (error) {
      report(name, error instanceof Error ? error.message : String(error));
    }
  }
  rmSync(work, { recursive: true });
  console.log(`${passed} passed, ${failed} failed`);
  if (failed > 0) process.exitCode = 1;
};

await main(process.argv.slice(2));
