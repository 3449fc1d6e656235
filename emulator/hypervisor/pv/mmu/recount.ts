/**
 * For tests: what direct paging has counted, counted again from the page tables as they stand.
 */
import { expect } from 'vitest';
import { OWNER_FREE, OWNER_HYPERVISOR } from '../../frames.ts';
import { ENTRIES, frameOf, isGuestSlot, PRESENT, WRITABLE } from './entries.ts';
import { exists, wordOf } from './mmu.ts';
import { L4_TABLE, PINNED, SHARED, WRITABLE_PAGE } from './page-types.ts';
import type { TestMachine } from './test-machine.ts';

interface Counts {
  readonly references: Uint32Array;
  readonly types: Uint32Array;
  /** What must not be, in words. */
  readonly objections: string[];
}

const recount = ({ paging, hypervisor }: TestMachine): Counts => {
  const { mmu } = paging;
  const { owners } = mmu.frames;
  const { types, counts, flags } = mmu.pages;
  const { words } = mmu.memory;
  const found: Counts = {
    references: new Uint32Array(owners.length),
    types: new Uint32Array(owners.length),
    objections: [],
  };
  const use = (mfn: number, asType: boolean): void => {
    found.references[mfn] = (found.references[mfn] ?? 0) + 1;
    if (asType) found.types[mfn] = (found.types[mfn] ?? 0) + 1;
  };
  const follow = (table: number, level: number, slot: number): void => {
    const at = wordOf(table, slot);
    const low = words[at] ?? 0;
    const mfn = frameOf(low, words[at + 1] ?? 0);
    if ((low & PRESENT) === 0 || (level > 1 && mfn === table)) return;
    const where = `slot ${slot} of L${level} table ${table}`;
    if (!exists(mmu, mfn) || owners[mfn] !== owners[table]) {
      found.objections.push(`${where} leads to frame ${mfn} of ${owners[mfn]}`);
      return;
    }
    const isWritable = (low & WRITABLE) !== 0;
    if (level === 1 && isWritable && types[mfn] !== WRITABLE_PAGE) {
      found.objections.push(`${where} maps frame ${mfn} writable, of type ${types[mfn]}`);
    }
    const isTable = types[mfn] === level - 1 || (types[mfn] === level && !isWritable);
    if (level > 1 && !isTable) found.objections.push(`${where} leads to type ${types[mfn]}`);
    use(mfn, level > 1 || isWritable);
  };
  for (let mfn = 0; mfn < owners.length; mfn += 1) {
    const level = types[mfn] ?? 0;
    if (((flags[mfn] ?? 0) & PINNED) !== 0) use(mfn, true);
    if (((flags[mfn] ?? 0) & SHARED) !== 0) found.types[mfn] = (found.types[mfn] ?? 0) + 1;
    if (level === 0 || level > L4_TABLE || counts[mfn] === 0) continue;
    for (let slot = 0; slot < ENTRIES; slot += 1) {
      if (isGuestSlot(level, slot)) follow(mfn, level, slot);
    }
  }
  for (const { vcpus } of hypervisor.domains.values()) {
    for (const vcpu of vcpus) {
      const { kernel, user } = paging.roots(vcpu);
      for (const root of [kernel, user]) if (root !== 0) use(root, true);
      for (const mfn of vcpu.pv?.gdtFrames ?? []) use(mfn, true);
    }
  }
  return found;
};

const differences = (have: ArrayLike<number>, want: ArrayLike<number>): string[] => {
  const found: string[] = [];
  for (let mfn = 0; mfn < want.length; mfn += 1) {
    if (have[mfn] !== want[mfn]) found.push(`frame ${mfn}: ${have[mfn]}, not ${want[mfn]}`);
  }
  return found;
};

/** Counts are right, nobody maps what is not theirs, and M2P and P2Ms say the same. */
export const expectConsistent = (machine: TestMachine): void => {
  const { hypervisor, paging } = machine;
  const { frames, pages, m2p } = paging.mmu;
  const { references, types, objections } = recount(machine);
  expect(objections).toEqual([]);
  expect(differences(frames.references, references)).toEqual([]);
  expect(differences(pages.counts, types)).toEqual([]);
  const owned = new Map<number, number>();
  const wrong: number[] = [];
  frames.owners.forEach((owner, mfn) => {
    owned.set(owner, (owned.get(owner) ?? 0) + 1);
    const hasNone = owner === OWNER_FREE || owner === OWNER_HYPERVISOR;
    if (hasNone && m2p.gfn(mfn) !== undefined) wrong.push(mfn);
  });
  expect(wrong).toEqual([]);
  expect(frames.free).toBe(owned.get(OWNER_FREE) ?? 0);
  for (const { id, pages: count, p2m } of hypervisor.domains.values()) {
    expect(owned.get(id) ?? 0).toBe(count);
    p2m.eachRun((gfn, length, _type, mfn) => {
      for (let page = 0; page < length; page += 1) {
        if (m2p.gfn((mfn ?? 0) + page) !== gfn + page) wrong.push(gfn + page);
      }
    });
    expect(wrong).toEqual([]);
  }
};
