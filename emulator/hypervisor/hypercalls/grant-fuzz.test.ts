/**
 * Hostile domains do with grants what they can: any argument to any operation, any bytes in their
 * tables. No frame gets a second owner, and what is counted comes out even when all is over.
 */
import { expect, test } from 'vitest';
import type { Gfn } from '../../memory/addresses.ts';

import { maddrOf } from '../../memory/addresses.ts';
import { releaseMappings } from '../grants/map.ts';
import { writeMaddr } from '../hypervisor.ts';
import { ARGUMENT, buildHypervisor, call } from '../test-hypervisor.ts';

const CALLS = 12_000;

test.each([1, 2, 3])('nothing is lost or doubled, seed %d', (seed) => {
  const { hypervisor, domains } = buildHypervisor(3);
  const { frames } = hypervisor;
  let state = seed;
  const seen = { map: 0, unmap: 0, transfer: 0 };
  hypervisor.events.subscribe(['grant'], (event) => {
    if (event.kind === 'grant') seen[event.action] += 1;
    return undefined;
  });
  const random = (limit: number): number => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    return Math.floor((state / 2 ** 32) * limit);
  };
  const pick = <T>(values: readonly T[]): T => values[random(values.length)] as T;
  const word = (): number =>
    pick([
      random(16),
      random(3),
      0x300 + random(4),
      0xf_effc,
      0x7ff0,
      0xffff_ffff,
      random(2 ** 32),
    ]);
  const address = (): number =>
    pick([0x800_0000 + 4096 * random(64), 0x800_0000, 0x30_0000, 0, 0xffff_f000]);
  const reference = (): number => 8 + random(8);
  const domid = (): number => 1 + random(3);
  /** What an operation looks for, or anything. */
  const words = (command: number): readonly number[] => {
    const aimed: Readonly<Record<number, () => readonly number[]>> = {
      0: () => [address(), 0, pick([2, 2, 6]), reference(), domid(), 0, 0, 0],
      1: () => [address(), 0, 0, 0, random(6), 0],
      5: () => [
        reference(),
        domid(),
        pick([0x300, reference()]),
        pick([domid(), 0x7ff0]),
        16 | ((1 + random(3)) << 16),
      ],
      8: () => [1 + random(2)],
      11: () => [reference(), reference(), 0],
    };
    const make = aimed[command];
    if (make !== undefined && random(4) > 0) return make();
    return Array.from({ length: 12 }, word);
  };
  const structure = (command: number) =>
    words(command).map((value, index) => [index * 4, 4, value >>> 0] as const);
  /** Makes entries as a domain may write them. */
  const scribble = (): void => {
    const mfn = pick(pick(domains).grants.shared);
    const bytes = new Uint8Array(8);
    const view = new DataView(bytes.buffer);
    view.setUint16(0, pick([0, 1, 1, 1, 1, 2, 3, 5, 0x101, random(2 ** 16)]), true);
    view.setUint16(2, pick([1, 2, 3, 0, random(2 ** 16)]), true);
    view.setUint32(4, pick([0x300 + random(0x80), 0x300 + random(0x80), 0xf_effc, word()]), true);
    writeMaddr(hypervisor, maddrOf(mfn, 64 + 8 * random(8)), bytes);
  };
  const owned = (id: number): number => frames.owners.filter((owner) => owner === id).length;
  const before = domains.map(({ id }) => owned(id));
  for (let count = 0; count < CALLS; count += 1) {
    if (random(3) === 0) scribble();
    const domain = pick(domains);
    if (domain.state === 'crashed') domain.state = 'running';
    const command = pick([0, 0, 0, 0, 0, 1, 1, 1, 5, 5, 2, 6, 11, random(20)]);
    const argument = pick([ARGUMENT, ARGUMENT, ARGUMENT, ARGUMENT, word()]);
    const items = pick([1, 1, 1, 0, 2, random(2 ** 32) | 0x8000_0000]);
    const result = call(hypervisor, domain, 20, [command, argument, items], structure(command));
    if (result > 0 || result < -100) throw new Error(`Operation ${command} returns ${result}.`);
  }

  expect(seen.map).toBeGreaterThan(50);
  expect(seen.unmap).toBeGreaterThan(20);
  expect(domains.map(({ id }) => owned(id))).toEqual(before);
  for (const { id, p2m } of domains) {
    for (let gfn = 0; gfn < 0x400; gfn += 1) {
      const { type, mfn } = p2m.lookup(gfn as Gfn);
      if (type === 'ram' && mfn !== undefined) expect(frames.owners[mfn]).toBe(id);
    }
  }
  for (const domain of domains) releaseMappings(hypervisor, domain);
  // What is left are the rings, which domain 0 uses.
  expect(domains.map(({ grants }) => [...grants.active.keys()].sort())).toEqual([
    [0, 1],
    [0, 1],
    [0, 1],
  ]);
  expect(frames.held().length).toBe(6);
});
