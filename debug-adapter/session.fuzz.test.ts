/**
 * Malformed requests: 10,000 with arguments of all shapes. Each gets one answer; the session stays.
 */
import type { DebugProtocol } from '@vscode/debugprotocol';
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { REQUESTS } from './requests/catalog.ts';
import { HyperstepSession } from './session.ts';

const SOURCE = [
  'global _start',
  'section .note.Xen note alloc',
  'dd 4, 4, 18',
  'db "Xen", 0',
  'dd _start',
  'section .text',
  'bits 32',
  '_start: nop',
  'jmp _start',
].join('\n');

const NAMES = [
  ...['threadId', 'frameId', 'variablesReference', 'name', 'value', 'expression', 'context'],
  ...['breakpoints', 'source', 'path', 'line', 'column', 'lines', 'filters', 'filterOptions'],
  ...['memoryReference', 'offset', 'count', 'data', 'instructionOffset', 'instructionCount'],
  ...['view', 'parent', 'input', 'uri', 'targetId', 'dataId', 'instructionReference', 'text'],
];
const WORDS = [
  ...['0x100000', 'd1.v0:0x100000', 'gpa:d1:0', 'maddr:0', '[rax', 'rip', 'xl list', 'x/4 rip'],
  ...['vm-exit:cpuid', 'watch:gpa:0-7', 'hyperstep-asm:/d1.v0/0x100000.asm', 'domains', 'pageWalk'],
  ...['d1', 'd9.v9', '/guest/main.asm', '_start', 'page 0', 'p2m', '{', '% 0'],
];

const value = fc.oneof(
  { maxDepth: 3 },
  fc.constantFrom<unknown>(...WORDS),
  fc.constantFrom<unknown>(
    0,
    1,
    -1,
    256,
    32_768,
    32_769,
    1e9,
    0.5,
    Number.NaN,
    null,
    undefined,
    true,
  ),
  fc.string(),
  fc.array(fc.dictionary(fc.constantFrom(...NAMES), fc.constantFrom<unknown>(...WORDS, 0, null))),
  fc.dictionary(fc.constantFrom(...NAMES), fc.constantFrom<unknown>(...WORDS, 1, -5)),
);
const request = fc.record({
  command: fc.oneof(fc.constantFrom(...REQUESTS.map((one) => one.command)), fc.string()),
  arguments: fc.oneof(
    { weight: 5, arbitrary: fc.dictionary(fc.constantFrom(...NAMES), value) },
    { weight: 1, arbitrary: value },
  ),
});

/** These end or restart the session, and are tried in tests of their own. */
const ENDING = new Set(['disconnect', 'terminate', 'restart', 'launch', 'configurationDone']);

test('every request is answered', { timeout: 120_000 }, async () => {
  const session = new HyperstepSession({
    readFile: async () => new TextEncoder().encode(SOURCE),
    now: () => performance.now(),
    yieldNow: () => new Promise((resolve) => setImmediate(resolve)),
  });
  const waiting = new Map<number, () => void>();
  session.onDidSendMessage((message) => {
    const response = message as DebugProtocol.Response;
    if (response.type === 'response') waiting.get(response.request_seq)?.();
  });
  let seq = 0;
  const send = (one: object): Promise<void> => {
    seq += 1;
    const own = seq;
    return new Promise((resolve) => {
      waiting.set(own, resolve);
      session.handleMessage({ ...one, seq: own, type: 'request' } as never);
    });
  };
  await send({ command: 'launch', arguments: { program: '/guest/main.asm' } });
  await send({ command: 'configurationDone' });
  await fc.assert(
    fc.asyncProperty(request, async (one) => {
      if (!ENDING.has(one.command)) await send(one);
    }),
    { numRuns: 10_000, seed: 20_231 },
  );
  session.pause();
  await send({ command: 'threads' });

  expect(seq).toBeGreaterThan(8000);
});
