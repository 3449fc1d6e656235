import { expect, test } from 'vitest';
import type { MachineEvent } from '../../events.ts';
import type { Gfn } from '../../memory/addresses.ts';
import { buildTestMachine, fillPage, readPage } from './test-machine.ts';

const MIB = 1 << 20;
const gfn = (value: number) => value as Gfn;

test('the first write of each page is noted and told, reads are not', () => {
  const machine = buildTestMachine(8 * MIB, [2 * MIB]);
  const [domain] = machine.domains;
  if (domain === undefined) throw new Error('no domain');
  const seen: MachineEvent[] = [];
  machine.hypervisor.events.subscribe(['log-dirty'], (event) => {
    seen.push(event);
    return undefined;
  });
  const { logDirty } = machine.units;
  logDirty.start(domain);
  expect(domain.p2m.lookup(gfn(300))).toMatchObject({ type: 'logdirty', pageBytes: 2 * MIB });
  readPage(machine, domain, 301);
  for (const page of [300, 300, 511]) fillPage(machine, domain, page, 1);

  expect(logDirty.dirty(domain)).toEqual([300, 511]);
  expect(seen.map((event) => event.kind === 'log-dirty' && event.gfn)).toEqual([300, 511]);
  expect(domain.p2m.lookup(gfn(300))).toMatchObject({ type: 'ram', pageBytes: 4096 });
  expect(logDirty.clean(domain)).toEqual([300, 511]);
  expect(logDirty.dirty(domain)).toEqual([]);
  expect(domain.p2m.typeOf(gfn(300))).toBe('logdirty');
  fillPage(machine, domain, 300, 2);
  logDirty.stop(domain);
  expect(domain.p2m.lookup(gfn(300))).toMatchObject({ type: 'ram', pageBytes: 2 * MIB });
});

test('a page that comes back by a read is clean, and dirty by a write', () => {
  const machine = buildTestMachine(8 * MIB, [2 * MIB]);
  const [domain] = machine.domains;
  if (domain === undefined) throw new Error('no domain');
  const { logDirty, swap } = machine.units;
  for (const page of [400, 401]) swap.pageOut(domain, gfn(page));
  logDirty.start(domain);
  readPage(machine, domain, 400);
  fillPage(machine, domain, 401, 3);

  expect(domain.p2m.typeOf(gfn(400))).toBe('logdirty');
  expect(logDirty.dirty(domain)).toEqual([401]);
});

test('where no frame is left to split a large page, all of it is dirty', () => {
  const machine = buildTestMachine(8 * MIB, [2 * MIB]);
  const [domain] = machine.domains;
  if (domain === undefined) throw new Error('no domain');
  machine.units.logDirty.start(domain);
  while (machine.hypervisor.frames.allocate(1) !== undefined);
  fillPage(machine, domain, 300, 1);

  expect(machine.units.logDirty.dirty(domain)).toHaveLength(512);
});
