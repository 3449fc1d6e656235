import { expect, test } from 'vitest';
import { parseScenario } from './parse-scenario.ts';

const problems = (text: string) => parseScenario(text).problems;

test('options carry the names of xl.cfg and have its defaults', () => {
  const { scenario } = parseScenario(
    '{"machine": {"pcpus": 4}, "domains": [{"name": "a", "kernel": "a.asm", "cpus": "0-3,^1"}]}',
  );

  expect(scenario?.domains[0]).toMatchObject({
    memory: 32,
    vcpus: 1,
    cpus: [0, 2, 3],
    cpu_weight: 256,
  });
});

test('hap is a truth value, or 0 and 1 as in xl.cfg', () => {
  const hapOf = (text: string) =>
    parseScenario(`{"domains": [{"name": "a", "kernel": "k", "hap": ${text}}]}`);

  expect(['true', 'false', '1', '0'].map((text) => hapOf(text).scenario?.domains[0]?.hap)).toEqual([
    true,
    false,
    true,
    false,
  ]);
  expect(hapOf('2').problems).toMatchObject([{ path: 'domains[0].hap' }]);
});

test('a mistake names its path, line and column', () => {
  expect(problems('{\n "domains": [\n  {"name": "a", "kernel": "k", "memory": "64"}]}')).toEqual([
    {
      message: 'domains[0].memory: a whole number from 1 to 3072 was expected.',
      path: 'domains[0].memory',
      line: 3,
      column: 42,
    },
  ]);
});

test('an unknown option and a missing one are both told', () => {
  expect(problems('{"domains": [{"name": "a", "kernal": "k"}]}')).toHaveLength(2);
});

test('a text that is not JSON is one problem at its place', () => {
  expect(problems('{"domains": [}')).toMatchObject([{ line: 1, column: 14 }]);
});

test('names are given once', () => {
  const text = '{"domains": [{"name": "a", "kernel": "k"}, {"name": "a", "kernel": "k"}]}';

  expect(problems(text)).toMatchObject([{ path: 'domains[1]' }]);
});

test('memory may be shared, swapped and overcommitted', () => {
  const { scenario } = parseScenario(
    '{"machine": {"sharing": {"intervalMs": 0.5}, "swap": {"policy": "lru"}, "overcommit": {"low": 5}},' +
      ' "domains": [{"name": "a", "kernel": "k", "memory": 16, "mem_target_paging": 12}]}',
  );

  expect(scenario?.machine).toMatchObject({
    sharing: { intervalMs: 0.5, pagesPerScan: 1024, mode: 'zero' },
    swap: { policy: 'lru' },
    overcommit: { low: 5, high: 20, intervalMs: 1 },
  });
  expect(scenario?.domains[0]?.mem_target_paging).toBe(12);
});

test.each([
  ['"sharing": {"mode": "all"}', 'machine.sharing.mode'],
  ['"sharing": {"intervalMs": 0}', 'machine.sharing.intervalMs'],
  ['"swap": {"policy": "fifo"}', 'machine.swap.policy'],
  ['"overcommit": {"low": 30, "high": 20}', 'machine.overcommit.high'],
])('%s is refused at its place', (option, path) => {
  const text = `{"machine": {${option}}, "domains": [{"name": "a", "kernel": "k"}]}`;

  expect(problems(text)).toMatchObject([{ path }]);
});
