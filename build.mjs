/**
 * Bundles everything that runs: the extension for both extension hosts, its webviews, the debug adapter and the
 * language server for Node and for web workers, and the command line.
 *
 *   node build.mjs [--sourcemap] [--minify]
 *
 * Nothing is installed or downloaded here. What a web bundle may not use (a Node module) is an
 * error of the build and not of the person who opens the browser.
 */
import { existsSync, readFileSync } from 'node:fs';
import { chmod, copyFile, mkdir, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { build } from 'esbuild';

const root = dirname(fileURLToPath(import.meta.url));
const { version } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'));

/** A CommonJS package inside an ES module bundle asks for `require`, which a module has not. */
const requireInModule =
  "import { createRequire as createRequireHere } from 'node:module'; const require = createRequireHere(import.meta.url);";

const bundles = [
  { entry: 'extension/main.ts', out: 'extension.cjs', host: 'node', format: 'cjs' },
  // VS Code's web host takes only CommonJS; without this ending `"type": "module"` would be obeyed.
  { entry: 'extension/web-main.ts', out: 'web/extension.cjs', host: 'web', format: 'cjs' },
  {
    entry: 'debug-adapter/worker-main.ts',
    out: 'debug-adapter-worker.js',
    host: 'node',
    format: 'esm',
    banner: requireInModule,
  },
  {
    entry: 'debug-adapter/web-worker-main.ts',
    out: 'web/debug-adapter-worker.js',
    host: 'web',
    format: 'iife',
  },
  {
    entry: 'extension/webviews/memory-map/main.ts',
    out: 'webviews/memory-map.js',
    host: 'web',
    format: 'iife',
  },
  { entry: 'extension/webviews/memory-map/style.css', out: 'webviews/memory-map.css', host: 'web' },
  { entry: 'language-server/main.ts', out: 'language-server.cjs', host: 'node', format: 'cjs' },
  {
    entry: 'language-server/web-main.ts',
    out: 'web/language-server.js',
    host: 'web',
    format: 'iife',
  },
  {
    entry: 'debug-adapter/command-line/main.ts',
    out: 'hyperstep.mjs',
    host: 'node',
    format: 'esm',
    banner: `#!/usr/bin/env node\n${requireInModule}`,
    executable: true,
  },
];

/**
 * iced-x86's npm build reads its WebAssembly file by `fs` and takes its text coders from `util`.
 * The bytes become part of the bundle and the coders those of the platform, so that one copy runs
 * in Node and in a web worker.
 */
const embedIced = {
  name: 'embed-iced-x86',
  setup({ onLoad }) {
    onLoad({ filter: /[\\/]iced-x86[\\/]iced_x86\.js$/ }, async ({ path }) => {
      const source = await readFile(path, 'utf8');
      const contents = source
        .replace('require(`util`)', 'globalThis')
        .replace(/^const path = require\('path'\).*$/m, '')
        .replace("require('fs').readFileSync(path)", "require('./iced_x86_bg.wasm')");
      if (/require\([`'"](?!\.\/iced_x86_bg\.wasm)/.test(contents.replace(/^\s*\*.*$/gm, ''))) {
        throw new Error(`${path} loads its parts in another way than this build knows.`);
      }
      return { contents, loader: 'js', resolveDir: dirname(path) };
    });
    onLoad({ filter: /iced_x86_bg\.wasm$/ }, async ({ path }) => {
      const text = (await readFile(path)).toString('base64');
      return { contents: `module.exports = fromBase64(${JSON.stringify(text)});${fromBase64}` };
    });
  },
};

const fromBase64 = `
function fromBase64(text) {
  if (typeof Buffer !== 'undefined') return Buffer.from(text, 'base64');
  const characters = atob(text);
  const bytes = new Uint8Array(characters.length);
  for (let at = 0; at < bytes.length; at++) bytes[at] = characters.charCodeAt(at);
  return bytes;
}`;

/**
 * The Node modules that @vscode/debugadapter names but needs only on a stream or for a log file.
 * In a web bundle `events` is a small emitter, the others are empty; a Node module that anyone else
 * asks for stays unresolved and fails the build.
 */
const debugAdapterOnTheWeb = {
  name: 'debug-adapter-on-the-web',
  setup({ onResolve, onLoad }) {
    onResolve({ filter: /^(events|fs|net|path|url)$/ }, ({ path, importer }) =>
      /[\\/]@vscode[\\/]debugadapter[\\/]/.test(importer)
        ? { path, namespace: 'node-on-the-web' }
        : undefined,
    );
    onLoad({ filter: /.*/, namespace: 'node-on-the-web' }, ({ path }) => ({
      contents: path === 'events' ? emitter : 'module.exports = {};',
    }));
  },
};

const emitter = `
exports.EventEmitter = class EventEmitter {
  listeners = new Map();
  on(name, listener) {
    this.listeners.set(name, [...(this.listeners.get(name) ?? []), listener]);
    return this;
  }
  emit(name, ...values) {
    const listeners = this.listeners.get(name) ?? [];
    for (const listener of listeners) listener.apply(this, values);
    return listeners.length > 0;
  }
};`;

function optionsOf({ entry, out, host, format, banner }, { sourcemap, minify }) {
  return {
    entryPoints: [join(root, entry)],
    outfile: join(root, 'dist', out),
    bundle: true,
    format,
    platform: host === 'web' ? 'browser' : 'node',
    target: host === 'web' ? 'es2022' : 'node20',
    external: ['vscode'],
    mainFields: host === 'web' ? ['browser', 'module', 'main'] : ['module', 'main'],
    define: {
      HYPERSTEP_VERSION: JSON.stringify(version),
      ...(host === 'web' ? { 'process.env.NODE_ENV': '"production"', global: 'globalThis' } : {}),
    },
    banner: banner === undefined ? {} : { js: banner },
    plugins: host === 'web' ? [embedIced, debugAdapterOnTheWeb] : [embedIced],
    sourcemap: sourcemap ? 'linked' : false,
    minify,
    legalComments: 'none',
    logLevel: 'warning',
  };
}

async function main(flags) {
  for (const flag of flags) {
    if (flag !== '--sourcemap' && flag !== '--minify') {
      throw new Error(`Unknown option ${flag}; known are --sourcemap and --minify.`);
    }
  }
  const options = {
    sourcemap: flags.includes('--sourcemap'),
    minify: flags.includes('--minify'),
  };
  await rm(join(root, 'dist'), { recursive: true, force: true });
  await mkdir(join(root, 'dist'), { recursive: true });
  for (const bundle of bundles) {
    if (!existsSync(join(root, bundle.entry))) {
      console.log(`skipped   ${bundle.out}: there is no ${bundle.entry} yet`);
      continue;
    }
    await build(optionsOf(bundle, options));
    const path = join(root, 'dist', bundle.out);
    if (bundle.executable) await chmod(path, 0o755);
    const { size } = await stat(path);
    console.log(`${String(Math.round(size / 1024)).padStart(6)} K  dist/${bundle.out}`);
  }
  await copyFile(
    join(root, 'emulator/scenario/hyperstep.schema.json'),
    join(root, 'dist/hyperstep.schema.json'),
  );
  await writeFile(join(root, 'dist', '.built'), '');
}

await main(process.argv.slice(2));
