import { describe, expect, test } from 'vitest';
import type { ReplacementName } from '../../machine.ts';
import type { Gfn } from '../../memory/addresses.ts';
import type { SavedValue } from '../hypervisor.ts';
import {
  buildTestMachine,
  contradictions,
  fillPage,
  peekPage,
  readPage,
  type TestMachine,
} from './test-machine.ts';

const MIB = 1 << 20;
const PAGES = 512;
const OPERATIONS = 5000;
const POLICIES: readonly ReplacementName[] = ['random', 'lru', 'clock'];

/** Numbers below a bound, the same each time. */
const createDraw = (seed: number) => {
  let state = seed;
  return (below: number): number => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    return Math.floor((state / 2 ** 32) * below);
  };
};

/** Pages that are not the program's, with what they should hold. */
const firstPage = 300;

const runRandomly = (machine: TestMachine, seed: number, operations: number): void => {
  const { hypervisor, domains, units } = machine;
  const draw = createDraw(seed);
  const expected = domains.map(() => new Map<number, number>());
  for (const model of expected) for (let gfn = firstPage; gfn < PAGES; gfn += 1) model.set(gfn, 0);
  for (let done = 0; done < operations; done += 1) {
    const index = draw(domains.length);
    const domain = domains[index];
    const model = expected[index];
    if (domain === undefined || model === undefined) throw new Error('no domain');
    const gfn = firstPage + draw(PAGES - firstPage);
    const isThere = model.has(gfn);
    hypervisor.nowNs += 1 + draw(100_000);
    switch (draw(12)) {
      case 0:
      case 1:
      case 2: {
        const value = draw(6);
        const done = fillPage(machine, domain, gfn, value);
        if (!isThere) expect(done).toBe(false);
        if (done) model.set(gfn, value);
        break;
      }
      case 3:
      case 4: {
        const seen = readPage(machine, domain, gfn);
        if (seen !== undefined || !isThere) expect(seen).toBe(model.get(gfn));
        break;
      }
      case 5:
        units.swap.pageOut(domain, gfn as Gfn);
        break;
      case 6:
        units.sharing.scan(draw(200), draw(2) === 0 ? 'zero' : 'identical');
        break;
      case 7:
        if (units.remove(domain, gfn as Gfn, 'ballooned') !== 'no-frame') model.delete(gfn);
        break;
      case 8: {
        if (isThere) break;
        if (units.populate(domain, gfn as Gfn) === undefined) break;
        domain.pages += 1;
        model.set(gfn, 0);
        break;
      }
      case 9:
        units.swap.setTarget(domain, draw(40), POLICIES[draw(3)] ?? 'lru');
        units.swap.settle(domain);
        break;
      case 10:
        if (!units.logDirty.isOn(domain)) units.logDirty.start(domain);
        else if (draw(2) === 0) units.logDirty.clean(domain);
        else units.logDirty.stop(domain);
        break;
      default:
        expect(peekPage(machine, domain, gfn)).toBe(model.get(gfn));
    }
    if (done % 1000 !== 0) continue;
    expect(contradictions(machine)).toEqual([]);
    for (const [page, value] of model) expect(peekPage(machine, domain, page)).toBe(value);
  }
  expect(contradictions(machine)).toEqual([]);
};

describe.each([1, 2, 3])('seed %i', (seed) => {
  test('random operations keep every page, and every frame has one owner', () => {
    const machine = buildTestMachine(12 * MIB, [2 * MIB, 2 * MIB, 2 * MIB]);
    const { free } = machine.hypervisor.frames;
    runRandomly(machine, seed, OPERATIONS);
    for (const domain of machine.domains) machine.units.drop(domain);

    expect(contradictions(machine)).toEqual([]);
    // All frames of RAM, and the tables that were made when large pages were split.
    expect(machine.hypervisor.frames.free).toBeGreaterThanOrEqual(free + 3 * PAGES);
  });

  test('the same while frames are short', () => {
    const overcommit = { lowPercent: 10, highPercent: 20, intervalMs: 1 };
    const machine = buildTestMachine(5 * MIB, [2 * MIB, 2 * MIB, 2 * MIB], { overcommit });
    runRandomly(machine, seed + 10, OPERATIONS);
  });
});

test('units that are restored go on as those that were saved', () => {
  const first = buildTestMachine(12 * MIB, [2 * MIB, 2 * MIB]);
  runRandomly(first, 9, 2000);
  const saved = Object.fromEntries(
    [...first.hypervisor.parts].map(([name, part]) => [name, JSON.stringify(part.save())]),
  );
  const second = buildTestMachine(12 * MIB, [2 * MIB, 2 * MIB]);
  second.hypervisor.hardware.memory.bytes.set(first.hypervisor.hardware.memory.bytes);
  second.hypervisor.frames.restore(first.hypervisor.frames.owners, first.hypervisor.frames.held());
  second.hypervisor.nowNs = first.hypervisor.nowNs;
  for (const [index, domain] of second.domains.entries()) {
    domain.p2m.noteFrames();
    domain.pages = first.domains[index]?.pages ?? 0;
  }
  for (const [name, part] of second.hypervisor.parts) {
    part.restore(JSON.parse(saved[name] ?? 'null') as SavedValue);
  }

  expect(contradictions(second)).toEqual([]);
  for (const machine of [first, second]) {
    for (let round = 0; round < 300; round += 1) {
      for (const domain of machine.domains) {
        fillPage(machine, domain, firstPage + ((round * 37) % 200), round);
        machine.hypervisor.nowNs += 10_000;
      }
      machine.units.sharing.scan(50, 'identical');
    }
  }
  const states = [first, second].map(({ hypervisor }) =>
    [...hypervisor.parts].map(([name, part]) => [name, JSON.stringify(part.save())]),
  );
  expect(states[1]).toEqual(states[0]);
});
