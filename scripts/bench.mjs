/** npm run bench: bundles tests/benchmarks and runs it. */
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { build } from 'esbuild';

const outfile = join('dist', 'bench.mjs');
mkdirSync('dist', { recursive: true });
await build({
  entryPoints: [join('tests', 'benchmarks', 'main.ts')],
  outfile,
  bundle: true,
  format: 'esm',
  platform: 'node',
  packages: 'external',
});
await import(pathToFileURL(outfile).href);
