import { expect, test } from 'vitest';
import { growTable, seedEntry } from '../../grants/grant-table.ts';
import { addTestGuest, type TestGuest } from './test-guest.ts';
import { createTestMachine } from './test-machine.ts';

const GRANT_TABLE_OP = 20;
const VCPU_OP = 24;
const UPDATE_VA_MAPPING = 14;
const MMUEXT_OP = 26;
const DOMID_SELF = 0x7ff0;
const ARGUMENT = 0x4000n;
const MAP = 0;
const UNMAP = 1;
const TRANSFER = 4;
const COPY = 5;
const UNMAP_AND_REPLACE = 7;
const HOST = 2;
const READ_ONLY = 4;
const P = 1n;

/** Two guests; the first grants frames of its own to the second. */
const build = () => {
  const machine = createTestMachine();
  const granter = addTestGuest(machine, 1, 24);
  const user = addTestGuest(machine, 2, 24);
  for (const { domain } of [granter, user]) growTable(machine.hypervisor, domain, 1);
  const grant = (reference: number, gfn: number): void =>
    seedEntry(machine.hypervisor, granter.domain, reference, 2, granter.mfn(gfn));
  return { machine, granter, user, grant };
};

/** Maps at a linear address; the status, and the handle. */
const map = (guest: TestGuest, linear: bigint, reference: number, flags: number) => {
  guest.put(ARGUMENT, [8, linear], [4, flags], [4, reference], [2, 1], [2, 0], [4, 0], [8, 0]);
  expect(guest.call(GRANT_TABLE_OP, MAP, ARGUMENT, 1)).toBe(0);
  const status = Number(BigInt.asIntN(16, guest.peek(ARGUMENT + 18n, 2)));
  return { status, handle: Number(guest.peek(ARGUMENT + 20n, 4)) };
};

const unmap = (guest: TestGuest, linear: bigint, handle: number): number => {
  guest.put(ARGUMENT, [8, linear], [8, 0], [4, handle], [4, 0]);
  expect(guest.call(GRANT_TABLE_OP, UNMAP, ARGUMENT, 1)).toBe(0);
  return Number(BigInt.asIntN(16, guest.peek(ARGUMENT + 20n, 2)));
};

const counts = ({ machine }: TestGuest, mfn: number): string => {
  const { pages, frames } = machine.paging.mmu;
  return `${pages.counts[mfn]} ${frames.references[mfn]}`;
};

test('a granted page is mapped by an entry that no guest could make, and holds it', () => {
  const { granter, user, grant, machine } = build();
  grant(8, 10);
  granter.put(granter.linear(10), [8, 0x1234]);
  const before = counts(granter, granter.mfn(10));

  const { status, handle } = map(user, user.linear(12), 8, HOST);
  expect(status).toBe(0);
  expect(user.peek(user.linear(12))).toBe(0x1234n);
  expect(machine.read(user.mfn(3), 12) & 0xfffn).toBe(0x67n);
  expect(counts(granter, granter.mfn(10))).toBe('3 3');
  expect(unmap(user, user.linear(13), handle)).toBe(-1);
  expect(unmap(user, user.linear(12), handle)).toBe(0);
  expect(machine.read(user.mfn(3), 12)).toBe(0n);
  expect(counts(granter, granter.mfn(10))).toBe(before);
});

test('a page table is granted for reading only', () => {
  const { granter, user, grant } = build();
  grant(8, 3);

  expect(map(user, user.linear(12), 8, HOST).status).toBe(-1);
  const { status, handle } = map(user, user.linear(12), 8, HOST | READ_ONLY);
  expect(status).toBe(0);
  expect(user.peek(user.linear(12))).toBe(granter.machine.read(granter.mfn(3), 0));
  expect(unmap(user, user.linear(12), handle)).toBe(0);
});

test('a page that another domain writes becomes no table, by no way', () => {
  const { granter, user, grant } = build();
  grant(8, 10);
  granter.call(UPDATE_VA_MAPPING, 10 * 4096, 0, 0);
  const pin = (): number => {
    granter.put(ARGUMENT, [8, 0], [8, granter.mfn(10)], [8, 0]);
    return granter.call(MMUEXT_OP, ARGUMENT, 1, 0, DOMID_SELF);
  };
  const { handle } = map(user, user.linear(12), 8, HOST);

  expect(pin()).toBe(-22);
  unmap(user, user.linear(12), handle);
  expect(pin()).toBe(0);
  user.put(ARGUMENT, [8, user.mfn(11)], [2, DOMID_SELF], [2, 0], [4, 0]);
  user.put(ARGUMENT + 16n, [8, 8], [2, 1], [2, 0], [4, 0]);
  user.put(ARGUMENT + 32n, [2, 64], [2, 2], [4, 0]);
  user.call(GRANT_TABLE_OP, COPY, ARGUMENT, 1);
  expect(BigInt.asIntN(16, user.peek(ARGUMENT + 36n, 2))).toBe(-1n);
});

test('an entry that the guest has cleared itself cannot be unmapped, and leaks nothing', () => {
  const { granter, user, grant, machine } = build();
  grant(8, 10);
  const { handle } = map(user, user.linear(12), 8, HOST);
  user.call(UPDATE_VA_MAPPING, 12 * 4096, 0, 0);

  expect(unmap(user, user.linear(12), handle)).toBe(-1);
  expect(counts(granter, granter.mfn(10))).toBe('2 2');
  machine.paging.releaseDomain(user.domain);
  expect(counts(granter, granter.mfn(10))).toBe('2 2');
});

test('the place of a mapping is taken by another entry', () => {
  const { user, grant, machine } = build();
  grant(8, 10);
  const { handle } = map(user, user.linear(12), 8, HOST);
  const other = machine.read(user.mfn(3), 14);
  user.put(ARGUMENT, [8, user.linear(12)], [8, user.linear(14)], [4, handle], [4, 0]);

  expect(user.call(GRANT_TABLE_OP, UNMAP_AND_REPLACE, ARGUMENT, 1)).toBe(0);
  expect(user.peek(ARGUMENT + 20n, 2)).toBe(0n);
  expect([12, 14].map((slot) => machine.read(user.mfn(3), slot))).toEqual([other, 0n]);
});

test('a page that is transferred changes its owner and its number', () => {
  const { machine, granter, user } = build();
  const { frames, m2p } = machine.paging.mmu;
  const mfn = user.mfn(12);
  user.call(UPDATE_VA_MAPPING, 12 * 4096, 0, 0);
  // GTF_accept_transfer, to be put at frame number 90.
  machine.write(granter.domain.grants.shared[0] ?? 0, 8, 2n | (2n << 16n) | (90n << 32n));
  const transfer = (): bigint => {
    user.put(ARGUMENT, [8, mfn], [2, 1], [2, 0], [4, 8], [8, 0]);
    user.call(GRANT_TABLE_OP, TRANSFER, ARGUMENT, 1);
    return BigInt.asIntN(16, user.peek(ARGUMENT + 16n, 2));
  };
  granter.domain.maximumPages += 1;

  expect(transfer()).toBe(0n);
  expect([frames.owners[mfn], m2p.gfn(mfn)]).toEqual([1, 90]);
  expect([granter.domain.pages, user.domain.pages]).toEqual([25, 23]);
});

test('a vcpu_info is in no page table, and none is where one is', () => {
  const { granter } = build();
  const register = (gfn: number): number => {
    granter.put(ARGUMENT, [8, granter.mfn(gfn)], [4, 64], [4, 0]);
    return granter.call(VCPU_OP, 10, 0, ARGUMENT);
  };

  expect(register(3)).toBe(-22);
  expect(register(10)).toBe(0);
  granter.call(UPDATE_VA_MAPPING, 10 * 4096, granter.entry(10, P), 0);
  granter.put(ARGUMENT, [8, 0], [8, granter.mfn(10)], [8, 0]);
  expect(granter.call(MMUEXT_OP, ARGUMENT, 1, 0, DOMID_SELF)).toBe(-22);
  granter.machine.paging.releaseDomain(granter.domain);
  expect(granter.domain.pages).toBe(0);
});
