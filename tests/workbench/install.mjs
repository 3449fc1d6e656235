/**
 * Installs on demand what the workbench tests need, under .cache: a Node that code-server runs on,
 * code-server with VS Code's workbench in it. The versions stand in package.json beside this file.
 * code-server compiles native modules: libkrb5-dev, libx11-dev, libxkbfile-dev, libsecret-1-dev,
 * a C++ compiler and Python must be there; the browser is Debian's chromium.
 */
import { spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, readFileSync } from 'node:fs';
import { delimiter, dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

export const root = dirname(dirname(dirname(fileURLToPath(import.meta.url))));
const cache = join(root, '.cache');
const { dependencies } = JSON.parse(readFileSync(new URL('package.json', import.meta.url), 'utf8'));

export const node = join(cache, 'node24/node_modules/node/bin/node');
const codeServer = join(cache, 'workbench/node_modules/code-server');
export const serverMain = join(codeServer, 'lib/vscode/out/server-main.js');
export const codeServerEntry = join(codeServer, 'out/node/entry.js');
export const chromium = [
  '/usr/bin/chromium',
  '/usr/bin/chromium-browser',
  '/usr/bin/google-chrome',
].find((path) => existsSync(path));

const npmInstall = (folder, name) => {
  const prefix = join(cache, folder);
  mkdirSync(prefix, { recursive: true });
  const path = `${dirname(node)}${delimiter}${process.env.PATH ?? ''}`;
  const quiet = ['--no-audit', '--no-fund', '--loglevel=error', '--no-save'];
  const { status } = spawnSync(
    'npm',
    ['install', '--prefix', prefix, ...quiet, `${name}@${dependencies[name]}`],
    { cwd: prefix, stdio: 'inherit', env: { ...process.env, PATH: path } },
  );
  return status === 0;
};

/** A sentence that says what is missing; undefined if all is there. */
export const install = () => {
  if (chromium === undefined) return 'no chromium is installed';
  if (!existsSync(node) && !npmInstall('node24', 'node'))
    return 'Node for code-server cannot be installed';
  if (existsSync(serverMain)) return undefined;
  console.log('Installing code-server, which takes some minutes');
  return npmInstall('workbench', 'code-server') && existsSync(serverMain)
    ? undefined
    : 'code-server cannot be installed';
};
