/**
 * package-lock.json is one that `npm ci` takes on every platform: it names each optional package of
 * other platforms too, and no place that packages are loaded from.
 */
import { readFileSync } from 'node:fs';
import { expect, test } from 'vitest';

interface LockedPackage {
  readonly version?: string;
  readonly integrity?: string;
  readonly resolved?: string;
  readonly optionalDependencies?: Readonly<Record<string, string>>;
}

const packages = Object.entries<LockedPackage>(
  JSON.parse(readFileSync(new URL('../package-lock.json', import.meta.url), 'utf8')).packages,
);
const paths = new Set(packages.map(([path]) => path));

/** Whether a package finds another in its own `node_modules` or in one further out. */
const finds = (from: string, name: string): boolean => {
  const prefix = from === '' ? '' : `${from}/`;
  if (paths.has(`${prefix}node_modules/${name}`)) return true;
  return (
    from !== '' && finds(from.slice(0, from.lastIndexOf('node_modules/')).replace(/\/$/, ''), name)
  );
};

test('the optional packages of every platform are locked', () => {
  const missing = packages.flatMap(([path, { optionalDependencies = {} }]) =>
    Object.keys(optionalDependencies).filter((name) => !finds(path, name)),
  );

  expect(missing).toEqual([]);
});

test('every package is locked by its version and its checksum, wherever it comes from', () => {
  const loose = packages.filter(
    ([path, { version, integrity, resolved }]) =>
      path !== '' &&
      (version === undefined || !/^sha512-/.test(integrity ?? '') || resolved !== undefined),
  );

  expect(loose.map(([path]) => path)).toEqual([]);
});
