/**
 * node tests/workbench/run.mjs [node|web|person]...
 *
 * Runs the extension in a real VS Code: its tests in the Node extension host and in the web
 * extension host, and the packed .vsix as a person uses it, with screenshots below
 * .cache/screenshots. The last line is `N passed, N failed`.
 */
import { spawnSync } from 'node:child_process';
import { cpSync, existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { installPackages, root } from '../../scripts/prepare.mjs';

installPackages();
const { CHROMIUM, installExtension, installWorkbench, openBrowser, runTestModule, startServer } =
  await import('./workbench.mjs');
const { driveAsPerson } = await import('./person.mjs');

const work = join(root, '.cache', 'workbench-run');
const screenshots = join(root, '.cache', 'screenshots');
const testModule = join(root, 'tests', 'workbench', 'session-tests.js');
const FIRST_PORT = 18_300;

let passed = 0;
let failed = 0;

function count(part, name, problem) {
  if (problem === undefined) passed += 1;
  else failed += 1;
  console.log(
    `  ${problem === undefined ? 'ok  ' : 'FAIL'} ${part}: ${name}${problem === undefined ? '' : `: ${problem}`}`,
  );
}

/** A fresh copy of the samples, so that a run changes nothing in the repository. */
function workspaceFor(part) {
  const folder = join(work, part, 'samples');
  rmSync(join(work, part), { recursive: true, force: true });
  cpSync(join(root, 'samples'), folder, { recursive: true });
  return folder;
}

/** What the .vsix holds, unpacked; for the web without the Node entry. */
function stageExtension(part, withoutMain) {
  const folder = join(work, part, 'extension');
  const listed = spawnSync('unzip', [
    '-q',
    '-o',
    join(root, 'hyperstep.vsix'),
    '-d',
    join(work, part),
  ]);
  if (listed.status !== 0) throw new Error(`hyperstep.vsix cannot be unpacked: ${listed.stderr}`);
  if (withoutMain) {
    const path = join(folder, 'package.json');
    const { main: _, ...manifest } = JSON.parse(readFileSync(path, 'utf8'));
    writeFileSync(path, JSON.stringify(manifest));
  }
  return folder;
}

async function runTests(part, port) {
  const folder = workspaceFor(part);
  const extension = stageExtension(part, part === 'web');
  const places = { data: join(work, part, 'data'), extensions: join(work, part, 'extensions') };
  const server = await startServer({ ...places, port, trustsAll: true });
  const browser = await openBrowser();
  try {
    // VS Code runs a test module of an extension's folder in the host of that extension; `.cjs` says
    // that it is CommonJS.
    const module = part === 'web' ? join(extension, 'session-tests.cjs') : testModule;
    if (part === 'web') cpSync(testModule, module);
    const run = { browser, origin: server.origin, folder, extension, module };
    const { page, lines, code } = await runTestModule(run);
    await page.screenshot({ path: join(screenshots, `${part}.png`) });
    const results = lines.flatMap(
      (line) => /test (passed|failed): (.*)/s.exec(line)?.slice(1, 3) ?? [],
    );
    for (let at = 0; at < results.length; at += 2) {
      const [name, ...reason] = results[at + 1].split(': ');
      count(part, name, results[at] === 'passed' ? undefined : reason.join(': '));
    }
    if (code !== 0) writeFileSync(join(work, `${part}.log`), lines.join('\n'));
    if (code !== 0 && !results.includes('failed')) {
      count(part, 'the test module', `ended with ${code}\n${lines.slice(-20).join('\n')}`);
    }
  } finally {
    await browser.close();
    server.stop();
  }
}

async function runPerson(port) {
  const part = 'person';
  const folder = workspaceFor(part);
  const places = { data: join(work, part, 'data'), extensions: join(work, part, 'extensions') };
  installExtension(join(root, 'hyperstep.vsix'), places);
  const server = await startServer({ ...places, port, trustsAll: false });
  const browser = await openBrowser();
  try {
    await driveAsPerson({
      browser,
      url: `http://${server.origin}/?folder=${folder}`,
      screenshots,
      report: (name, problem) => count(part, name, problem),
    });
  } finally {
    await browser.close();
    server.stop();
  }
}

const parts = {
  node: () => runTests('node', FIRST_PORT),
  web: () => runTests('web', FIRST_PORT + 1),
  person: () => runPerson(FIRST_PORT + 2),
};

const wanted = process.argv.slice(2);
const unknown = wanted.filter((part) => !Object.hasOwn(parts, part));
if (unknown.length > 0) {
  console.error(`Unknown: ${unknown.join(', ')}; known are ${Object.keys(parts).join(', ')}.`);
  process.exit(2);
}
if (!existsSync(CHROMIUM)) {
  console.log(`The workbench is not tested: there is no ${CHROMIUM}.`);
  console.log('0 passed, 0 failed');
  process.exit(0);
}
mkdirSync(screenshots, { recursive: true });
installWorkbench();
const packed = spawnSync(process.execPath, [join(root, 'scripts', 'package.mjs')], {
  encoding: 'utf8',
});
count('package', 'hyperstep.vsix', packed.status === 0 ? undefined : packed.stdout + packed.stderr);
if (packed.status === 0) {
  for (const part of wanted.length === 0 ? Object.keys(parts) : wanted) {
    try {
      await parts[part]();
    } catch (error) {
      count(part, 'the run', error instanceof Error ? error.stack : String(error));
    }
  }
}
console.log(`${passed} passed, ${failed} failed`);
process.exit(failed === 0 ? 0 : 1);
