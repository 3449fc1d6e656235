/**
 * A real VS Code workbench without a download from its maker: the npm package code-server holds
 * VS Code's server and workbench; Debian's chromium shows it. Both are installed once, below
 * .cache/, and need these Debian packages:
 *
 *   chromium libkrb5-dev libx11-dev libxkbfile-dev libsecret-1-dev make g++ python3
 */
import { spawn, spawnSync } from 'node:child_process';
import { copyFileSync, existsSync, mkdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { chromium } from 'playwright-core';
import { root } from '../../scripts/prepare.mjs';

const cache = join(root, '.cache', 'workbench');
const own = join(root, 'tests', 'workbench', 'package.json');
const nodeProgram = join(cache, 'node_modules', 'node', 'bin', 'node');
const vscode = join(cache, 'node_modules', 'code-server', 'lib', 'vscode', 'out', 'server-main.js');
export const CHROMIUM = '/usr/bin/chromium';

/** Installs Node 24 first: code-server's own install runs on it. */
export function installWorkbench() {
  if (isInstalled()) return;
  console.log('Installing the workbench below .cache/workbench (once, some minutes)');
  mkdirSync(cache, { recursive: true });
  copyFileSync(own, join(cache, 'package.json'));
  const { node } = JSON.parse(readFileSync(own, 'utf8')).dependencies;
  npm(
    [
      'install',
      '--no-save',
      '--no-audit',
      '--no-fund',
      '--prefix',
      join(cache, 'node'),
      `node@${node}`,
    ],
    process.env.PATH,
  );
  const bin = join(cache, 'node', 'node_modules', 'node', 'bin');
  npm(['install', '--no-audit', '--no-fund', '--prefix', cache], `${bin}:${process.env.PATH}`);
  if (!isInstalled()) throw new Error('The workbench is not complete after npm install.');
}

const isInstalled = () => existsSync(nodeProgram) && existsSync(vscode);

function npm(args, path) {
  const { status } = spawnSync('npm', args, {
    cwd: cache,
    stdio: ['ignore', 'ignore', 'inherit'],
    env: { ...process.env, PATH: path },
  });
  if (status !== 0) throw new Error(`npm ${args.join(' ')} ended with code ${status}.`);
}

/** Starts the server; `data` gets its settings and `extensions` is where extensions live. */
export async function startServer({ data, extensions, port, trustsAll }) {
  mkdirSync(extensions, { recursive: true });
  const server = spawn(
    nodeProgram,
    [
      vscode,
      ...['--host', '127.0.0.1', '--port', `${port}`, '--without-connection-token'],
      ...['--accept-server-license-terms', '--enable-smoke-test-driver', '--disable-telemetry'],
      ...['--server-data-dir', data, '--extensions-dir', extensions],
      ...(trustsAll ? ['--disable-workspace-trust'] : []),
    ],
    { stdio: ['ignore', 'pipe', 'pipe'] },
  );
  let said = '';
  await new Promise((resolve, reject) => {
    const listen = (text) => {
      said += text;
      if (/listening|available/i.test(said)) resolve();
    };
    server.stdout.on('data', listen);
    server.stderr.on('data', listen);
    server.on('exit', () => reject(new Error(`The server of VS Code ended: ${said}`)));
    setTimeout(() => reject(new Error(`The server of VS Code is silent: ${said}`)), 60_000).unref();
  });
  return { origin: `127.0.0.1:${port}`, stop: () => server.kill() };
}

/** Installs a packed extension for the server. */
export function installExtension(vsix, { data, extensions }) {
  const { status, stdout, stderr } = spawnSync(
    nodeProgram,
    [
      vscode,
      '--accept-server-license-terms',
      '--server-data-dir',
      data,
      '--extensions-dir',
      extensions,
      '--install-extension',
      vsix,
    ],
    { encoding: 'utf8' },
  );
  if (status !== 0) throw new Error(`${vsix} cannot be installed: ${stdout}${stderr}`);
}

export const openBrowser = () =>
  chromium.launch({
    executablePath: CHROMIUM,
    args: [
      ...['--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-sync'],
      ...['--disable-background-networking', '--disable-component-update'],
    ],
  });

/** Runs a test module in the workbench; gives the lines it printed and whether it passed. */
export async function runTestModule({ browser, origin, folder, extension, module }) {
  const page = await browser.newPage({ viewport: { width: 1280, height: 800 } });
  const lines = [];
  let finish;
  const finished = new Promise((resolve) => {
    finish = resolve;
  });
  await page.exposeFunction('codeAutomationLog', (_type, args) => lines.push(args.join(' ')));
  await page.exposeFunction('codeAutomationExit', (code) => finish(code));
  const at = (path) => `vscode-remote://${origin}${path}`;
  const payload = JSON.stringify([
    ['extensionDevelopmentPath', at(extension)],
    ['extensionTestsPath', at(module)],
  ]);
  await page.goto(`http://${origin}/?folder=${folder}&payload=${encodeURIComponent(payload)}`);
  const limit = new Promise((resolve) => setTimeout(resolve, 180_000, 'time').unref());
  const code = await Promise.race([finished, limit]);
  return { page, lines, code };
}
