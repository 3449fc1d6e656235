/**
 * npm start: installs what is missing, builds, and shows the main job on the first sample.
 * With `code` on PATH it opens VS Code with the extension and the samples; else, in a terminal, the
 * command-line debugger; without a terminal the sample runs to its end.
 */
import { spawnSync } from 'node:child_process';
import { join } from 'node:path';
import { buildWhenStale, exitCodeOf, installPackages, root } from './prepare.mjs';

installPackages();
buildWhenStale();

const samples = join(root, 'samples');
const program = join(samples, 'hello', 'main.asm');
const hyperstep = join(root, 'dist', 'hyperstep.mjs');

if (hasCode()) {
  console.log('Opening VS Code: open hello/main.asm and press F5.');
  process.exit(
    exitCodeOf('code', ['--new-window', `--extensionDevelopmentPath=${root}`, samples, program]),
  );
}
const command = process.stdin.isTTY && process.stdout.isTTY ? 'debug' : 'run';
console.log(`hyperstep ${command} samples/hello/main.asm`);
process.exit(exitCodeOf(process.execPath, [hyperstep, command, program]));

function hasCode() {
  const { status } = spawnSync('code', ['--version'], {
    stdio: 'ignore',
    shell: process.platform === 'win32',
  });
  return status === 0;
}
