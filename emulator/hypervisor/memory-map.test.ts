import { expect, test } from 'vitest';
import { FRAME_KINDS, NO_DOMAIN } from '../machine.ts';
import type { Gfn } from '../memory/addresses.ts';
import { OWNER_FREE, OWNER_HYPERVISOR } from './frames.ts';
import { buildTestMachine, fillPage } from './memory/test-machine.ts';
import { mapMemory, viewFrame } from './memory-map.ts';
import { createTestMachine } from './pv/mmu/test-machine.ts';

const MIB = 2 ** 20;

const kindOf = (machine: ReturnType<typeof buildTestMachine>, mfn: number): string | undefined =>
  FRAME_KINDS[mapMemory(machine.hypervisor).kinds[mfn] ?? 0];

test('every frame is free, the hypervisor’s or a domain’s, as its owner says', () => {
  const { hypervisor } = buildTestMachine(32 * MIB, [4 * MIB, 2 * MIB]);
  const { owners } = hypervisor.frames;
  const { kinds, domains } = mapMemory(hypervisor);

  expect(kinds.length).toBe(owners.length);
  for (const [mfn, owner] of owners.entries()) {
    const kind = FRAME_KINDS[kinds[mfn] ?? 0];
    if (owner === OWNER_FREE) expect(kind).toBe('free');
    else if (owner < 0x7ff0) expect([kind, domains[mfn]]).toEqual([expect.anything(), owner]);
    else expect(kind).not.toBe('ram');
  }
  expect(new Set(domains)).toEqual(new Set([1, 2, NO_DOMAIN]));
});

test('the tables of a P2M serve their domain', () => {
  const machine = buildTestMachine(16 * MIB, [2 * MIB]);
  const [domain] = machine.domains;
  const root = domain?.p2m.root ?? 0;

  expect(machine.hypervisor.frames.owners[root]).toBe(OWNER_HYPERVISOR);
  expect(viewFrame(machine.hypervisor, root)).toMatchObject({
    kind: 'p2m-table',
    owner: 'hypervisor',
    domain: 1,
    gfnCount: 0,
  });
});

test('a shared frame knows all gfns that have it', () => {
  const machine = buildTestMachine(16 * MIB, [2 * MIB, 2 * MIB]);
  const [first, second] = machine.domains;
  if (first === undefined || second === undefined) throw new Error('No domains.');
  for (const domain of [first, second]) fillPage(machine, domain, 9, 77);
  machine.units.sharing.scan(2000, 'identical');
  const mfn = first.p2m.mfnOf(9 as Gfn) ?? 0;

  expect(second.p2m.mfnOf(9 as Gfn)).toBe(mfn);
  const view = viewFrame(machine.hypervisor, mfn);
  expect(view).toMatchObject({ kind: 'shared', owner: 'shared', gfnCount: 2 });
  expect(view?.gfns.map(({ domain, gfn, type }) => [domain, gfn, type])).toEqual([
    [1, 9, 'shared'],
    [2, 9, 'shared'],
  ]);
});

test('a frame whose page is swapped out tells whose page it was, until it is used again', () => {
  const machine = buildTestMachine(16 * MIB, [2 * MIB]);
  const [domain] = machine.domains;
  if (domain === undefined) throw new Error('No domain.');
  fillPage(machine, domain, 20, 5);
  machine.units.swap.setTarget(domain, 1, 'clock');
  const mfn = domain.p2m.mfnOf(20 as Gfn) ?? 0;
  expect(machine.units.swap.pageOut(domain, 20 as Gfn)).toBe(true);

  expect(kindOf(machine, mfn)).toBe('swapped');
  expect(viewFrame(machine.hypervisor, mfn)).toMatchObject({
    owner: 'free',
    domain: 1,
    former: { domain: 1, gfn: 20 },
  });
  const { frames, emptied } = machine.hypervisor;
  while (frames.owners[mfn] === OWNER_FREE) frames.allocate(1);
  expect(kindOf(machine, mfn)).toBe('ram');
  frames.release(mfn as never);
  expect(kindOf(machine, mfn)).toBe('free');
  expect(emptied.save()).toEqual([]);
});

test('what free frames were is saved and comes back', () => {
  const machine = buildTestMachine(16 * MIB, [2 * MIB]);
  const { emptied, frames } = machine.hypervisor;
  const mfn = frames.owners.indexOf(OWNER_FREE);
  emptied.note(mfn as never, 'ballooned', 1, 0x123);
  const saved = emptied.save();
  emptied.restore([]);
  expect(emptied.of(mfn)).toBeUndefined();
  emptied.restore(saved);

  expect(emptied.of(mfn)).toEqual({ reason: 'ballooned', domain: 1, gfn: 0x123 });
});

test('a frame that is in use is not noted as emptied', () => {
  const { hypervisor } = buildTestMachine(16 * MIB, [2 * MIB]);
  hypervisor.emptied.note(0 as never, 'ballooned', 1, 0);

  expect(hypervisor.emptied.of(0)).toBeUndefined();
});

test('a pinned page table of a PV domain has its type, count and number', () => {
  const machine = createTestMachine();
  const { vcpu, mfns } = machine.addDomain(1, 16);
  const mfn = mfns[3] ?? 0;
  expect(machine.paging.pin(vcpu, mfn, 1)).toBeUndefined();

  expect(viewFrame(machine.hypervisor, mfn)).toMatchObject({
    kind: 'page-table',
    owner: 1,
    gfns: [{ domain: 1, gfn: 3, type: 'ram' }],
    pageType: { type: 'l1_page_table', uses: 1, isPinned: true },
  });
});

test('there is no frame beyond memory', () => {
  const { hypervisor } = buildTestMachine(16 * MIB, [2 * MIB]);

  expect(viewFrame(hypervisor, hypervisor.frames.owners.length)).toBeUndefined();
});
