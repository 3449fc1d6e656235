/**
 * Every request of the protocol is answered here, or left out for a reason that stands here.
 */
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { expect, test } from 'vitest';
import { REQUESTS } from './catalog.ts';

const LEFT_OUT: Readonly<Record<string, string>> = {
  attach: 'a machine lives in its session',
  cancel: 'no request takes long',
  locations: 'no value has a location',
  modules: 'VS Code does not ask; programs are loaded sources',
  restartFrame: 'needs time travel',
  reverseContinue: 'needs time travel',
  runInTerminal: 'asked by adapters; consoles are output events',
  startDebugging: 'asked by adapters; one session has all domains',
  stepBack: 'needs time travel',
  terminateThreads: 'xl destroy ends a domain',
};

const typings = readFileSync(
  join(
    dirname(createRequire(import.meta.url).resolve('@vscode/debugprotocol/package.json')),
    'lib/debugProtocol.d.ts',
  ),
  'utf8',
);
const protocol = [...typings.matchAll(/^\s*\/\/ command: '(\w+)';/gm)].map(
  ([, name]) => name ?? '',
);

test('the typings have been understood', () => {
  expect(protocol.length).toBeGreaterThan(40);
});

test.each(protocol)('%s', (command) => {
  const isAnswered = REQUESTS.some((request) => request.command === command);

  expect(isAnswered ? 'answered' : LEFT_OUT[command]).toBeDefined();
  expect(isAnswered && command in LEFT_OUT).toBe(false);
});

test('no command is answered twice, and the others carry the prefix', () => {
  const commands = REQUESTS.map(({ command }) => command);

  expect(new Set(commands).size).toBe(commands.length);
  expect(
    commands.filter((name) => !protocol.includes(name) && !name.startsWith('hyperstep/')),
  ).toEqual([]);
});
