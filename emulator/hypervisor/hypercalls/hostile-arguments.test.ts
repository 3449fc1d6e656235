/** What hostile guests have found (tests/hostile-guests/), case by case. */
import { expect, test } from 'vitest';
import { CODE_WIDTH, registerSlot } from '../../cpu/state.ts';
import type { Gfn } from '../../memory/addresses.ts';
import { growTable, releaseTable, seedEntry, statusFramesFor } from '../grants/grant-table.ts';
import { setGrantVersion } from '../grants/version.ts';
import { MAXIMUM_GFN } from '../p2m.ts';
import { createTestGuest, DOMID_SELF } from '../pv/mmu/test-guest.ts';
import { ARGUMENT, buildHypervisor, call } from '../test-hypervisor.ts';
import { runXl } from '../toolstack.ts';
import { decodeHypercall, performHypercall } from './dispatch.ts';

const MEMORY_OP = 12;
const MULTICALL = 13;
const GRANT_TABLE_OP = 20;
const XENVER_VERSION = [17, 0] as const;
const LIST = 0x4000n;
const EINVAL = -22;
/** A PV guest calls with 64-bit registers: RDI, RSI, RDX. */
const ARGUMENTS = [7, 6, 2];

test('a list of calls within a list of calls is refused, and the rest goes on', () => {
  const guest = createTestGuest();
  const entry = (at: bigint, number: number, ...args: readonly (number | bigint)[]): void => {
    guest.put(at, [8, number], [8, 0], ...args.map((argument) => [8, argument] as const));
  };
  entry(LIST, MULTICALL, LIST, 2);
  entry(LIST + 64n, ...XENVER_VERSION);

  expect(guest.call(MULTICALL, LIST, 2)).toBe(0);
  expect(BigInt.asIntN(64, guest.peek(LIST + 8n))).toBe(BigInt(EINVAL));
  expect(guest.peek(LIST + 64n + 8n)).toBe(0x4_0011n);
});

/** One call, without its continuations; undefined if it is to go on. */
const callOnce = (number: number, count: number): bigint | undefined => {
  const guest = createTestGuest();
  const { hypervisor } = guest.machine;
  const { hardware } = hypervisor;
  // All the linear addresses that there are lead to one page of zeros.
  for (let slot = 4; slot < 512; slot += 1) {
    guest.machine.write(guest.mfn(3), slot, guest.entry(8, 3n));
  }
  hardware.setSlot(guest.vcpu, CODE_WIDTH, 64n);
  hardware.setSlot(guest.vcpu, registerSlot(0), BigInt(number));
  const isGrants = number === GRANT_TABLE_OP;
  const args = isGrants ? [4n, LIST, BigInt(count)] : [LIST, BigInt(count), 0n];
  ARGUMENTS.forEach((register, index) => {
    hardware.setSlot(guest.vcpu, registerSlot(register), args[index] ?? 0n);
  });
  return performHypercall(decodeHypercall(hypervisor, guest.vcpu));
};

test('long lists of calls and of grant operations give others their turn', () => {
  expect(callOnce(MULTICALL, 8)).toBe(0n);
  expect(callOnce(MULTICALL, 1000)).toBeUndefined();
  expect(callOnce(GRANT_TABLE_OP, 8)).toBe(0n);
  expect(callOnce(GRANT_TABLE_OP, 1000)).toBeUndefined();
});

test('a gfn that the frames cannot tell of is always a hole', () => {
  const { hypervisor, domains } = buildHypervisor(1, { withDom0: false });
  const [domain] = domains;
  const place = (gfn: number): number => {
    const fields = [
      [0, 2, DOMID_SELF],
      [4, 4, 0],
      [8, 4, 0],
      [12, 4, gfn],
    ] as const;
    return call(hypervisor, domain, MEMORY_OP, [7, ARGUMENT], fields);
  };

  expect(place(MAXIMUM_GFN)).toBe(EINVAL);
  expect(place(MAXIMUM_GFN - 1)).toBe(0);
  expect(hypervisor.frames.gfns[domain?.sharedInfo ?? 0]).toBe(MAXIMUM_GFN - 1);
  expect(domain?.p2m.set((2 ** 40) as Gfn, 'ballooned', undefined)).toBe(false);
});

test('a frame of the grant table that a PV guest gives back is taken back once', () => {
  const { machine, domain, call: hypercall, put } = createTestGuest();
  const { hypervisor, paging } = machine;
  const { pages } = paging.mmu;
  growTable(hypervisor, domain, 1);
  const mfn = domain.grants.shared[0] ?? 0;
  const free = hypervisor.frames.free;
  put(LIST + 0x100n, [8, mfn]);
  put(LIST, [8, LIST + 0x100n], [8, 1], [4, 0], [4, 0], [8, DOMID_SELF]);

  expect(hypercall(MEMORY_OP, 1, LIST)).toBe(1);
  expect(hypercall(MEMORY_OP, 1, LIST)).toBe(0);
  releaseTable(hypervisor, domain);
  expect(pages.counts[mfn]).toBe(0);
  expect(hypervisor.frames.free).toBe(free + 1);
});

test.each([1, 2] as const)('a grant of version %i outlives the domain that gave it', (version) => {
  const { hypervisor, domains } = buildHypervisor(2);
  const [owner, user] = domains;
  if (owner === undefined) throw new Error('There is no domain.');
  seedEntry(hypervisor, owner, 9, 2, 0x100);
  if (version === 2) expect(setGrantVersion(hypervisor, owner, 2)).toBeUndefined();
  if (version === 2) seedEntry(hypervisor, owner, 7, 2, 0);
  const reference = version === 1 ? 9 : 7;
  const fields = [
    [0, 8, 0x30_0000],
    [8, 4, 2],
    [12, 4, reference],
    [16, 2, 1],
  ] as const;

  expect(call(hypervisor, user, GRANT_TABLE_OP, [0, ARGUMENT, 1], fields)).toBe(0);
  expect(owner.grants.active.has(reference)).toBe(true);
  expect(runXl(hypervisor, 'destroy 1').ok).toBe(true);
  expect(runXl(hypervisor, 'destroy 2').ok).toBe(true);
  expect(hypervisor.frames.held()).toEqual([]);
});

test('a table of version 2 that finds too few frames has a status for each of its entries', () => {
  const { hypervisor, domains } = buildHypervisor(1);
  const [domain] = domains;
  if (domain === undefined) throw new Error('There is no domain.');
  expect(setGrantVersion(hypervisor, domain, 2)).toBeUndefined();
  while (hypervisor.frames.free > 8) hypervisor.frames.allocate(0);

  expect(growTable(hypervisor, domain, 9)).toBe(false);
  const { shared, status } = domain.grants;
  expect(shared.length).toBe(8);
  expect(status.length).toBeGreaterThanOrEqual(statusFramesFor(shared.length));
  expect(growTable(hypervisor, domain, 10)).toBe(false);
});
