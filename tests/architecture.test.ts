/**
 * Who may know whom. The table is the house's one statement of it; an import that it does not
 * allow fails with the file, the line's text and the rule.
 */
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { dirname, join, relative, resolve, sep } from 'node:path';
import { fileURLToPath } from 'node:url';
import { expect, test } from 'vitest';

const root = dirname(dirname(fileURLToPath(import.meta.url)));

/** A folder and the folders it may import. */
const mayKnow: Readonly<Record<string, readonly string[]>> = {
  isa: [],
  assembler: ['isa'],
  emulator: ['isa'],
  'language-server': ['isa', 'assembler'],
  'debug-adapter': ['isa', 'assembler', 'emulator'],
  extension: [],
};

const pure = new Set(['isa', 'assembler', 'emulator']);

interface Import {
  readonly file: string;
  readonly from: string;
  readonly typeOnly: boolean;
}

const sourcesBelow = (folder: string): string[] =>
  readdirSync(join(root, folder), { recursive: true, encoding: 'utf8' })
    .filter((name) => name.endsWith('.ts'))
    .map((name) => join(folder, name));

const importsOf = (file: string): Import[] => {
  const text = readFileSync(join(root, file), 'utf8');
  const pattern =
    /^\s*(?:import|export)\s+(type\s)?[^'"`;]*?from\s+'([^']+)'|\bimport\('([^']+)'\)/gm;
  return [...text.matchAll(pattern)].map((match) => ({
    file,
    from: match[2] ?? match[3] ?? '',
    typeOnly: match[1] !== undefined,
  }));
};

/** The sentence that says what is wrong with an import; undefined if nothing is. */
const objectionTo = ({ file, from, typeOnly }: Import): string | undefined => {
  const folder = file.split(sep)[0] ?? '';
  if (from === 'vscode' || from.startsWith('vscode/')) {
    return folder === 'extension' ? undefined : `${file}: only extension/ may import vscode.`;
  }
  const isTest = file.endsWith('.test.ts');
  if (from.startsWith('node:')) {
    return pure.has(folder) && !isTest ? `${file}: ${folder}/ may not import ${from}.` : undefined;
  }
  if (!from.startsWith('.')) return undefined;
  const target = relative(root, resolve(root, dirname(file), from)).split(sep);
  const other = target[0] ?? '';
  if (other === folder) return undefined;
  if (target.at(-1) === 'protocol.ts' && folder === 'extension') {
    return typeOnly ? undefined : `${file}: ${from} may be imported as types only.`;
  }
  if (isTest && other === 'tests') return undefined;
  if (!mayKnow[folder]?.includes(other)) return `${file}: ${folder}/ may not know ${other}/.`;
  return target.length === 2 && target[1] === 'index.ts'
    ? undefined
    : `${file}: ${other}/ is entered through its index.ts, not ${from}.`;
};

test('every import goes down the table', () => {
  const objections = Object.keys(mayKnow)
    .filter((folder) => existsSync(join(root, folder)))
    .flatMap(sourcesBelow)
    .flatMap(importsOf)
    .flatMap((one) => objectionTo(one) ?? []);

  expect(objections).toEqual([]);
});

test.each([
  ['isa/x.ts', '../emulator/index.ts', false],
  ['emulator/x.ts', 'node:fs', false],
  ['emulator/cpu/x.ts', '../../isa/flags.ts', false],
  ['debug-adapter/x.ts', 'vscode', false],
  ['extension/x.ts', '../debug-adapter/protocol.ts', false],
])('%s may not import %s', (file, from, typeOnly) => {
  expect(objectionTo({ file: join(...file.split('/')), from, typeOnly })).toContain(
    file.split('/')[0],
  );
});

test.each([
  ['emulator/cpu/x.ts', '../../isa/index.ts', false],
  ['emulator/cpu/x.ts', './state.ts', false],
  ['extension/x.ts', '../debug-adapter/protocol.ts', true],
  ['emulator/x.test.ts', 'node:fs', false],
])('%s may import %s', (file, from, typeOnly) => {
  expect(objectionTo({ file: join(...file.split('/')), from, typeOnly })).toBeUndefined();
});
