import { expect, test } from 'vitest';
import { buildTestMachine, fillPage } from '../memory/test-machine.ts';
import { runXl } from '../toolstack.ts';

const MIB = 1 << 20;
const build = () => {
  const machine = buildTestMachine(12 * MIB, [2 * MIB, 2 * MIB]);
  const [first] = machine.domains;
  if (first === undefined) throw new Error('no domain');
  return { machine, first, xl: (command: string) => runXl(machine.hypervisor, command) };
};

test('sharing counts the pages of each domain', () => {
  const { machine, xl } = build();
  machine.units.sharing.scan(5000, 'zero');
  const { text } = xl('sharing');

  expect(text).toMatch(/^Name +ID +Mem +Shared\ntest0 +1 +2 +1 +\d+ pages\ntest1 +2 /);
  expect(text).toMatch(/ pages share 1 frames; the scan is off\.\n$/);
  expect(xl('sharing nobody').ok).toBe(false);
});

test('the scan is set and ended', () => {
  const { xl } = build();

  expect(xl('mem-sharing identical 2 100').text).toBe(
    'The scan is on (identical), 100 pages each 2 ms.\n',
  );
  expect(xl('mem-sharing off').text).toBe('The scan is off.\n');
  for (const wrong of ['', 'all', 'zero 0', 'zero 1 0.5']) {
    expect(xl(`mem-sharing ${wrong}`).ok).toBe(false);
  }
});

test('memory beyond the paging target is swapped out, and brought back', () => {
  const { machine, first, xl } = build();

  expect(xl('mem-paging-set test0 1536k lru').text).toBe(
    '128 pages of domain 1 are swapped out, chosen by lru.\n',
  );
  expect(machine.units.counts.of(first).paged).toBe(128);
  expect(xl('mem-paging-set 1 2m').text).toMatch(/^0 pages .* by lru/);
  for (const wrong of ['', '1', '1 1m fifo', '9 1m']) {
    expect(xl(`mem-paging-set ${wrong}`).ok).toBe(false);
  }
});

test('dirty pages are listed, and clean again', () => {
  const { machine, first, xl } = build();
  expect(xl('log-dirty 1').text).toMatch(/off\.\n$/);
  xl('log-dirty 1 on');
  fillPage(machine, first, 0x140, 1);

  expect(xl('log-dirty 1 clean').text).toBe('1 pages of domain 1 are dirty: gfn 0x140.\n');
  expect(xl('log-dirty 1').text).toBe('0 pages of domain 1 are dirty.\n');
  expect(xl('log-dirty 1 off').text).toMatch(/off\.\n$/);
});
