/**
 * npm start: installs what is missing, builds, and runs the main job: with VS Code's `code` on PATH,
 * the samples in VS Code with this extension; else, in a terminal, a debugger at the first sample;
 * without a terminal, that sample to its end: its console, then its VM exits.
 */
import { spawnSync } from 'node:child_process';
import { join } from 'node:path';
import { buildWhenStale, exitCodeOf, installPackages, root } from './prepare.mjs';

installPackages();
buildWhenStale();
process.exit(start());

function start() {
  const hello = join('samples', 'hello', 'main.asm');
  if (isOnPath('code')) {
    console.log('code: the samples, with the extension. Open hello/main.asm and press F5.');
    const folder = `--extensionDevelopmentPath=${root}`;
    return exitCodeOf('code', [folder, join(root, 'samples'), join(root, hello)], {
      shell: process.platform === 'win32',
    });
  }
  const isTerminal = process.stdin.isTTY === true && process.stdout.isTTY === true;
  const command = [isTerminal ? 'debug' : 'run', hello];
  console.log(`hyperstep ${command.join(' ')}`);
  return exitCodeOf(process.execPath, [join(root, 'dist', 'hyperstep.mjs'), ...command]);
}

function isOnPath(program) {
  const { status } = spawnSync(program, ['--version'], {
    stdio: 'ignore',
    shell: process.platform === 'win32',
  });
  return status === 0;
}
