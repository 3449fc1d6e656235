/**
 * Real Xen with a guest on Bochs, whose processor has VT-x and takes exceptions as the SDM says. Xen is
 * booted by GRUB from a CD image, and writes to a serial port, which is a file.
 *
 * Needs the Debian packages bochs, bochs-term, vgabios, grub-pc-bin, grub-common, xorriso and mtools.
 */
import { spawn, spawnSync } from 'node:child_process';
import { copyFileSync, existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

const LIMIT_MS = 120_000;
const LOOK_MS = 500;
const ROMS = '/usr/share/bochs';
const TOOLS = ['bochs', 'grub-mkrescue', 'xorriso', 'mformat', 'script'];
const FILES = [`${ROMS}/BIOS-bochs-latest`, `${ROMS}/VGABIOS-lgpl-latest`, '/usr/lib/grub/i386-pc'];

/** The tools and files that are not there. */
export const whatBochsLacks = () => [
  ...TOOLS.filter((tool) => spawnSync('sh', ['-c', `command -v ${tool}`]).status !== 0),
  ...FILES.filter((file) => !existsSync(file)),
  ...(spawnSync('sh', ['-c', 'ls /usr/lib/*/bochs/plugins/libbx_term_gui.so']).status === 0
    ? []
    : ['bochs-term']),
];

const configuration = (work) => `
cpu: model=corei7_skylake_x, count=1, ips=50000000, reset_on_triple_fault=0
memory: guest=512, host=512
romimage: file=${ROMS}/BIOS-bochs-latest
vgaromimage: file=${ROMS}/VGABIOS-lgpl-latest
ata0-master: type=cdrom, path=${join(work, 'xen.iso')}, status=inserted
boot: cdrom
com1: enabled=1, mode=file, dev=${join(work, 'serial.txt')}
display_library: term
speaker: enabled=1, mode=none
sound: waveoutdrv=dummy
log: ${join(work, 'bochs.log')}
panic: action=fatal
error: action=report
info: action=ignore
debug: action=ignore
clock: sync=none
`;

const makeImage = (work, xen, program, options) => {
  const boot = join(work, 'iso/boot');
  mkdirSync(join(boot, 'grub'), { recursive: true });
  copyFileSync(xen, join(boot, 'xen'));
  copyFileSync(program, join(boot, 'guest'));
  const entry = `multiboot /boot/xen ${options}\n module /boot/guest\n`;
  writeFileSync(join(boot, 'grub/grub.cfg'), `set timeout=0\nmenuentry xen {\n ${entry}}\n`);
  const made = spawnSync('grub-mkrescue', ['-o', join(work, 'xen.iso'), join(work, 'iso')]);
  if (made.status !== 0) throw new Error(`grub-mkrescue: ${made.stderr}`);
};

/** What Xen and the guest write, until `isOver` says that it is all. */
export const bootOnBochs = async (work, xen, program, options, isOver) => {
  makeImage(work, xen, program, options);
  const serial = join(work, 'serial.txt');
  rmSync(serial, { force: true });
  writeFileSync(join(work, 'bochsrc'), configuration(work));
  // Its debugger waits for a command; its display for a terminal.
  writeFileSync(join(work, 'commands'), 'c\n');
  const command = `bochs -q -f ${join(work, 'bochsrc')} -rc ${join(work, 'commands')}`;
  const bochs = spawn('script', ['-qfc', command, join(work, 'screen')], {
    stdio: 'ignore',
    detached: true,
    env: { ...process.env, TERM: 'xterm' },
  });
  const log = () => (existsSync(serial) ? readFileSync(serial, 'latin1') : '');
  const deadline = Date.now() + LIMIT_MS;
  while (bochs.exitCode === null && Date.now() < deadline && !isOver(log())) {
    await new Promise((resolve) => setTimeout(resolve, LOOK_MS));
  }
  if (bochs.exitCode === null && bochs.pid !== undefined) process.kill(-bochs.pid, 'SIGKILL');
  return log();
};
