/**
 * npm run test:electron: the test module in a VS Code that @vscode/test-electron downloads, where
 * downloads work.
 */
import { cpSync, mkdtempSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { runTests } from '@vscode/test-electron';
import { buildWhenStale, installPackages, root } from '../../scripts/prepare.mjs';

installPackages();
buildWhenStale();
const folder = join(mkdtempSync(join(tmpdir(), 'hyperstep-')), 'samples');
cpSync(join(root, 'samples'), folder, { recursive: true });
try {
  process.exitCode = await runTests({
    extensionDevelopmentPath: root,
    extensionTestsPath: join(root, 'tests', 'workbench', 'session-tests.js'),
    launchArgs: [folder, '--disable-workspace-trust', '--disable-extensions'],
  });
} catch (error) {
  console.error(
    `VS Code could not be downloaded or run: ${error instanceof Error ? error.message : error}`,
  );
  process.exitCode = 1;
}
