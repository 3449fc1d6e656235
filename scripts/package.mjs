/**
 * npm run package: builds small bundles and packs one .vsix, hyperstep.vsix.
 */
import { stat } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { exitCodeOf, installPackages, root } from './prepare.mjs';

const LIMIT_BYTES = 5_000_000;

installPackages();
const built = exitCodeOf(process.execPath, [join(root, 'build.mjs'), '--minify']);
if (built !== 0) process.exit(built);
const vsce = join(
  dirname(createRequire(import.meta.url).resolve('@vscode/vsce/package.json')),
  'vsce',
);
const out = join(root, 'hyperstep.vsix');
const packed = exitCodeOf(process.execPath, [
  vsce,
  'package',
  '--no-dependencies',
  '--allow-missing-repository',
  '--no-rewrite-relative-links',
  '--out',
  out,
]);
if (packed !== 0) process.exit(packed);
const { size } = await stat(out);
console.log(`hyperstep.vsix: ${Math.round(size / 1000)} kB`);
if (size > LIMIT_BYTES) {
  console.error(`The package has ${size} bytes; ${LIMIT_BYTES} are allowed.`);
  process.exit(1);
}
