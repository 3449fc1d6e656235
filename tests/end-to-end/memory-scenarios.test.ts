/**
 * Scenarios whose domains' memory is shared, swapped and overcommitted: every guest prints what it
 * prints alone, on both engines, whoever watches, and from a snapshot on.
 */
import { readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { describe, expect, test } from 'vitest';
import { nodeHost } from '../../debug-adapter/command-line/node-host.ts';
import { openGuests } from '../../debug-adapter/programs/open-guests.ts';
import { createMachine, type EngineName, type Machine } from '../../emulator/index.ts';

const samples = join(dirname(dirname(dirname(fileURLToPath(import.meta.url)))), 'samples');
const LIMIT = 5_000_000;

const open = async (name: string) => {
  const path = join(samples, name, `${name}.hyperstep.json`);
  const include = [join(samples, 'include')];
  const { config } = await openGuests(nodeHost, path, { include });
  return (engine: EngineName = 'interpreter') => createMachine({ ...config, engine });
};

const guestsOf = ({ domains }: Machine) => domains.filter(({ id }) => id > 0);
const runToEnd = (machine: Machine): void => {
  const ended = () => guestsOf(machine).every(({ state }) => state === 'shutdown');
  while (!ended()) {
    const stop = machine.run(LIMIT);
    expect(['end', 'budget']).toContain(stop.why);
    expect(machine.retired).toBeLessThan(LIMIT);
  }
};
const total = (machine: Machine, count: 'shares' | 'unshares' | 'pageIns' | 'populates'): number =>
  guestsOf(machine).reduce((sum, { memoryCounts }) => sum + memoryCounts[count], 0);
const outcome = (machine: Machine) => ({
  hash: machine.stateHash(),
  texts: guestsOf(machine).map(({ consoleText }) => consoleText),
});

describe.each([
  ['zero-page-sharing', ['shares', 'unshares']],
  ['memory-swap', ['pageIns']],
  ['overcommit', ['shares', 'pageIns', 'populates']],
] as const)('%s', (name, used) => {
  test('the guests do not notice, and it is done indeed', async () => {
    const machine = (await open(name))();
    runToEnd(machine);
    const expected = readFileSync(join(samples, name, 'expected.txt'), 'utf8');

    for (const { name: guest, consoleText } of guestsOf(machine)) {
      if (guest === 'balloon') expect(consoleText).toMatch(/Gave back \d+ pages/);
      else expect(consoleText).toBe(expected);
    }
    for (const count of used) expect(total(machine, count)).toBeGreaterThan(100);
  });

  test('a listener to everything changes nothing', async () => {
    const create = await open(name);
    const [watched, alone] = [create(), create()];
    let events = 0;
    watched.events.subscribe(
      ['vm-exit', 'ept-violation', 'p2m-change', 'page-shared', 'page-unshared', 'page-swapped'],
      () => {
        events += 1;
        return undefined;
      },
    );
    for (const machine of [watched, alone]) runToEnd(machine);

    expect(events).toBeGreaterThan(500);
    expect(outcome(watched)).toEqual(outcome(alone));
  });

  test('a machine that is saved on the way goes on as the other', async () => {
    const create = await open(name);
    const [whole, first] = [create(), create()];
    runToEnd(whole);
    first.run(Math.floor(whole.retired / 2));
    const second = create();
    second.restore(first.save());
    for (const machine of [first, second]) runToEnd(machine);

    expect(outcome(second)).toEqual(outcome(first));
    expect(outcome(second)).toEqual(outcome(whole));
  });

  test('the engines agree', async () => {
    const create = await open(name);
    const [interpreter, reference] = [create(), create('reference')];
    for (let round = 0; round < 12; round += 1) {
      for (const machine of [interpreter, reference]) machine.run(3001);
      expect(outcome(interpreter)).toEqual(outcome(reference));
    }
  });
});
