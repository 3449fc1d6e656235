/**
 * What every script needs first: the npm packages that package-lock.json names, and the bundles in
 * dist/ no older than their sources. Each is done only when it is missing or out of date.
 */
import { spawnSync } from 'node:child_process';
import { existsSync, readdirSync, readFileSync, statSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

export const root = dirname(dirname(fileURLToPath(import.meta.url)));

const sources = [
  'assembler',
  'build.mjs',
  'debug-adapter',
  'emulator',
  'extension',
  'isa',
  'language-server',
  'package-lock.json',
  'package.json',
];

/** Installs the npm packages of the root when one is missing or has another version than the lock says. */
export function installPackages() {
  if (packagesAreInstalled()) return;
  console.log('Installing npm packages');
  run('npm', ['ci', '--no-audit', '--no-fund', '--no-update-notifier', '--loglevel=error']);
}

/** Bundles into dist/ when a source is newer than the last bundle. */
export function buildWhenStale() {
  const mark = join(root, 'dist', '.built');
  const builtAt = existsSync(mark) ? statSync(mark).mtimeMs : 0;
  if (sources.every((source) => newestChange(join(root, source)) <= builtAt)) return;
  run(process.execPath, [join(root, 'build.mjs')]);
}

/** Runs a command in the repository, its output shown, and ends this process with its code if it fails. */
export function run(command, args, options = {}) {
  const code = exitCodeOf(command, args, options);
  if (code !== 0) process.exit(code);
}

/** The exit code of a command that is run in the repository with its output shown. */
export function exitCodeOf(command, args, options = {}) {
  const { status, error } = spawnSync(command, args, {
    cwd: root,
    stdio: 'inherit',
    shell: process.platform === 'win32' && command !== process.execPath,
    ...options,
  });
  if (error !== undefined) console.error(`${command} could not be started: ${error.message}`);
  return status ?? 1;
}

/** The command line of a package's own program, run by this Node. */
export function programOf(packageName, path) {
  return join(root, 'node_modules', packageName, path);
}

function packagesAreInstalled() {
  const installedLock = join(root, 'node_modules', '.package-lock.json');
  if (!existsSync(installedLock)) return false;
  const wanted = JSON.parse(readFileSync(join(root, 'package-lock.json'), 'utf8')).packages;
  const installed = JSON.parse(readFileSync(installedLock, 'utf8')).packages;
  return Object.entries(wanted).every(
    ([path, { version, optional }]) =>
      path === '' || optional === true || installed[path]?.version === version,
  );
}

function newestChange(path) {
  const status = statSync(path, { throwIfNoEntry: false });
  if (status === undefined) return 0;
  if (!status.isDirectory()) return status.mtimeMs;
  return readdirSync(path).reduce(
    (newest, name) => Math.max(newest, newestChange(join(path, name))),
    status.mtimeMs,
  );
}
