import { expect, test } from 'vitest';
import { type Gfn, type Mfn, maddrOf } from '../../memory/addresses.ts';
import { hostAddressOf } from '../../memory/machine-memory.ts';
import type { XenDomain } from '../domain.ts';
import { OWNER_HYPERVISOR } from '../frames.ts';
import { GTF, readEntry, readStatus, writeEntry } from '../grants/grant-table.ts';
import { p2mMover } from '../grants/p2m-access.ts';
import { transferGrant } from '../grants/transfer.ts';
import type { Hypervisor } from '../hypervisor.ts';
import { ARGUMENT, buildHypervisor, call, field } from '../test-hypervisor.ts';

const GRANT_TABLE_OP = 20;
const DOMID_SELF = 0x7ff0;
type Structure = readonly (readonly [number, number, number])[];

const build = () => {
  const { hypervisor, domains } = buildHypervisor(3);
  const [first, second, third] = domains;
  if (first === undefined || second === undefined || third === undefined) throw new Error('none');
  return { hypervisor, first, second, third };
};

/** Grants a page of `owner` by a reference; version 1. */
const grant = (
  hypervisor: Hypervisor,
  owner: XenDomain,
  reference: number,
  flags: number,
  to: number,
  gfn: number,
): void => {
  writeEntry(hypervisor, owner.grants, reference, 4, 4, gfn);
  writeEntry(hypervisor, owner.grants, reference, 0, 2, flags);
  writeEntry(hypervisor, owner.grants, reference, 2, 2, to);
};

/** One structure of an operation; its status, at an offset. */
const operate = (
  hypervisor: Hypervisor,
  domain: XenDomain,
  command: number,
  statusAt: number,
  structure: Structure,
): number => {
  expect(call(hypervisor, domain, GRANT_TABLE_OP, [command, ARGUMENT, 1], structure)).toBe(0);
  return (field(hypervisor, domain, statusAt) << 16) >> 16;
};

const map = (
  hypervisor: Hypervisor,
  user: XenDomain,
  owner: number,
  reference: number,
  { flags = 2, address = 0x800_0000 } = {},
): number =>
  operate(hypervisor, user, 0, 18, [
    [0, 8, address],
    [8, 4, flags],
    [12, 4, reference],
    [16, 2, owner],
  ]);

const unmap = (hypervisor: Hypervisor, user: XenDomain, handle: number, address = 0x800_0000) =>
  operate(hypervisor, user, 1, 20, [
    [0, 8, address],
    [16, 4, handle],
  ]);

interface CopyEnds {
  readonly source: readonly [frame: number, domain: number, offset: number];
  readonly destination: readonly [frame: number, domain: number, offset: number];
  readonly length: number;
  readonly flags: number;
}

const copy = (
  hypervisor: Hypervisor,
  user: XenDomain,
  { source, destination, length, flags }: CopyEnds,
): number =>
  operate(hypervisor, user, 5, 20, [
    [0, 4, source[0]],
    [4, 2, source[1]],
    [6, 2, source[2]],
    [8, 4, destination[0]],
    [12, 2, destination[1]],
    [14, 2, destination[2]],
    [16, 2, length],
    [18, 2, flags],
  ]);

const mfnOf = (domain: XenDomain, gfn: number): Mfn => {
  const { mfn } = domain.p2m.lookup(gfn as Gfn);
  if (mfn === undefined) throw new Error(`Nothing is at gfn ${gfn}.`);
  return mfn;
};
const bytesAt = ({ hardware }: Hypervisor, mfn: Mfn): Uint8Array => {
  const host = hostAddressOf(maddrOf(mfn));
  return hardware.memory.bytes.subarray(host, host + 4096);
};
const flagsAt = (hypervisor: Hypervisor, { grants }: XenDomain, reference: number): number =>
  readEntry(hypervisor, grants, reference, 0, 2);

test('the rings are granted to domain 0, which uses them', () => {
  const { hypervisor, first } = build();

  for (const reference of [0, 1]) {
    expect(flagsAt(hypervisor, first, reference)).toBe(
      GTF.permitAccess | GTF.reading | GTF.writing,
    );
  }
  expect(readEntry(hypervisor, first.grants, 0, 4, 4)).toBe(0xf_efff);
  expect(readEntry(hypervisor, first.grants, 1, 4, 4)).toBe(0xf_effc);
});

test('a page is mapped, used, and given back', () => {
  const { hypervisor, first, second } = build();
  grant(hypervisor, first, 9, GTF.permitAccess, 2, 0x300);
  const mfn = mfnOf(first, 0x300);

  expect(map(hypervisor, second, 1, 9)).toBe(0);
  expect(field(hypervisor, second, 20)).toBe(0);
  expect(second.p2m.lookup(0x8000 as Gfn)).toMatchObject({ type: 'grant', mfn, access: 3 });
  expect(flagsAt(hypervisor, first, 9)).toBe(GTF.permitAccess | GTF.reading | GTF.writing);
  expect(hypervisor.frames.isHeld(mfn)).toBe(true);
  expect(hypervisor.frames.owners[mfn]).toBe(1);

  expect(unmap(hypervisor, second, 0)).toBe(0);
  expect(second.p2m.lookup(0x8000 as Gfn)).toMatchObject({ type: 'hole' });
  expect(flagsAt(hypervisor, first, 9)).toBe(GTF.permitAccess);
  expect(hypervisor.frames.isHeld(mfn)).toBe(false);
  expect(unmap(hypervisor, second, 0)).toBe(-4);
});

test('a page that its owner gives back while it is mapped is freed with the mapping', () => {
  const { hypervisor, first, second } = build();
  grant(hypervisor, first, 9, GTF.permitAccess, 2, 0x300);
  map(hypervisor, second, 1, 9);
  const mfn = mfnOf(first, 0x300);
  bytesAt(hypervisor, mfnOf(first, 3)).set([0, 3, 0, 0]);
  const reservation: Structure = [
    [0, 4, 0x3000],
    [4, 4, 1],
    [16, 2, DOMID_SELF],
  ];
  const { free } = hypervisor.frames;

  expect(call(hypervisor, first, 12, [1, ARGUMENT], reservation)).toBe(1);
  expect(hypervisor.frames.isLeaving(mfn)).toBe(true);
  expect(unmap(hypervisor, second, 0)).toBe(0);
  expect(hypervisor.frames.isLeaving(mfn)).toBe(false);
  expect(hypervisor.frames.free).toBeGreaterThanOrEqual(free);
});

test.each([
  ['no mapping at all', { flags: 4 }, 9, 1, -3],
  ['a mapping for devices', { flags: 3 }, 9, 1, -1],
  ['a mapping by PTE', { flags: 0x12 }, 9, 1, -1],
  ['an unknown domain', {}, 9, 77, -2],
  ['itself by DOMID_SELF', {}, 9, DOMID_SELF, -2],
  ['a reference beyond the table', {}, 512, 1, -3],
  ['a grant to another', {}, 10, 1, -1],
  ['an entry that grants nothing', {}, 11, 1, -1],
  ['writing what may be read', {}, 12, 1, -1],
  ['reading what may be read', { flags: 6 }, 12, 1, 0],
  ['a grant of a page that is not there', {}, 13, 1, -9],
  ['an offer to take a page', {}, 14, 1, -1],
] as const)('mapping %s is answered as by Xen', (_, options, reference, owner, status) => {
  const { hypervisor, first, second } = build();
  grant(hypervisor, first, 9, GTF.permitAccess, 2, 0x300);
  grant(hypervisor, first, 10, GTF.permitAccess, 3, 0x300);
  grant(hypervisor, first, 12, GTF.permitAccess | GTF.readOnly, 2, 0x300);
  grant(hypervisor, first, 13, GTF.permitAccess, 2, 0x9000);
  grant(hypervisor, first, 14, GTF.acceptTransfer, 2, 0x300);

  expect(map(hypervisor, second, owner, reference, options)).toBe(status);
  expect(second.grants.mappings.size).toBe(status === 0 ? 1 : 0);
  if (status !== 0) expect(first.grants.active.has(reference)).toBe(false);
});

test('a second user is refused while the first maps, and counts are kept by kind', () => {
  const { hypervisor, first, second, third } = build();
  grant(hypervisor, first, 9, GTF.permitAccess, 2, 0x300);
  map(hypervisor, second, 1, 9, { flags: 6 });
  expect(flagsAt(hypervisor, first, 9)).toBe(GTF.permitAccess | GTF.reading);
  map(hypervisor, second, 1, 9, { address: 0x900_0000 });
  grant(hypervisor, first, 9, flagsAt(hypervisor, first, 9), 3, 0x300);

  expect(map(hypervisor, third, 1, 9)).toBe(-1);
  expect(unmap(hypervisor, second, 1, 0x900_0000)).toBe(0);
  expect(flagsAt(hypervisor, first, 9) & GTF.writing).toBe(0);
  expect(flagsAt(hypervisor, first, 9) & GTF.reading).toBe(GTF.reading);
  expect(unmap(hypervisor, second, 0, 0x900_0000)).toBe(-1);
  expect(unmap(hypervisor, second, 0)).toBe(0);
  expect(flagsAt(hypervisor, first, 9) & GTF.reading).toBe(0);
  expect(map(hypervisor, third, 1, 9)).toBe(0);
});

test('pages are copied by grants on either side', () => {
  const { hypervisor, first, second } = build();
  grant(hypervisor, first, 9, GTF.permitAccess, 2, 0x300);
  bytesAt(hypervisor, mfnOf(first, 0x300)).fill(0x5a);
  const own = bytesAt(hypervisor, mfnOf(second, 0x301));

  expect(
    copy(hypervisor, second, {
      source: [9, 1, 10],
      destination: [0x301, DOMID_SELF, 20],
      length: 100,
      flags: 1,
    }),
  ).toBe(0);
  expect([own[19], own[20], own[119], own[120]]).toEqual([0, 0x5a, 0x5a, 0]);
  expect(flagsAt(hypervisor, first, 9)).toBe(GTF.permitAccess);
  expect(first.grants.active.has(9)).toBe(false);
});

test.each([
  ['nothing', { length: 0 }, 0],
  ['nothing from no domain', { length: 0, source: [9, 99, 0] }, -2],
  ['beyond the page', { source: [9, 1, 4000], length: 100 }, -10],
  ['another domain without a grant', { source: [0x300, 1, 0], flags: 0 }, -8],
  ['from an unknown domain', { source: [9, 77, 0] }, -2],
  ['from a frame of its own that is not there', { source: [0x9000, DOMID_SELF, 0], flags: 0 }, -9],
  ['to what may only be read', { destination: [12, 1, 0], flags: 3 }, -1],
  ['to a reference that is not there', { destination: [512, 1, 0], flags: 3 }, -3],
] as const)('copying %s is answered as by Xen', (_, changed, status) => {
  const { hypervisor, first, second } = build();
  grant(hypervisor, first, 9, GTF.permitAccess, 2, 0x300);
  grant(hypervisor, first, 12, GTF.permitAccess | GTF.readOnly, 2, 0x300);
  const ends = {
    source: [9, 1, 0],
    destination: [0x301, DOMID_SELF, 0],
    length: 16,
    flags: 1,
  } as const;

  expect(copy(hypervisor, second, { ...ends, ...changed })).toBe(status);
  expect(first.grants.active.has(9)).toBe(false);
  expect(flagsAt(hypervisor, first, 9)).toBe(GTF.permitAccess);
});

test('a domain whose P2M the hypervisor keeps may not give pages away, nor move mappings', () => {
  const { hypervisor, first } = build();

  for (const command of [4, 7, 9, 3, 12]) {
    expect(call(hypervisor, first, GRANT_TABLE_OP, [command, ARGUMENT, 1])).toBe(-38);
  }
});

/** Gives a frame with a text in it to a domain. */
const give = (hypervisor: Hypervisor, to: XenDomain, from: XenDomain, reference: number) => {
  const mfn = hypervisor.frames.allocate(OWNER_HYPERVISOR);
  if (mfn === undefined) throw new Error('There is no frame.');
  bytesAt(hypervisor, mfn).fill(7);
  const mover = { ...p2mMover(hypervisor), take: () => mfn };
  const request = { gfn: 0, domain: to.id, reference };
  return { mfn, status: transferGrant(hypervisor, from, request, mover) };
};

test('a page that comes by transfer enters the P2M where it was offered', () => {
  const { hypervisor, first, second } = build();
  second.maximumPages += 1;
  grant(hypervisor, second, 9, GTF.acceptTransfer, 1, 0x9000);
  const { pages } = second;
  const { mfn, status } = give(hypervisor, second, first, 9);

  expect(status).toBe('okay');
  expect(second.p2m.lookup(0x9000 as Gfn)).toMatchObject({ type: 'ram', mfn });
  expect(hypervisor.frames.owners[mfn]).toBe(2);
  expect(hypervisor.frames.gfns[mfn]).toBe(0x9000);
  expect(second.pages).toBe(pages + 1);
  expect(bytesAt(hypervisor, mfn)[4095]).toBe(7);
  expect(flagsAt(hypervisor, second, 9)).toBe(
    GTF.acceptTransfer | GTF.transferCommitted | GTF.transferCompleted,
  );
});

test.each([
  ['by an entry that accepts nothing', 10, 1],
  ['by a reference beyond the table', 512, 1],
  ['by an entry for another domain', 11, 1],
  ['to a domain that has all it may have', 9, 0],
] as const)('a transfer %s loses the page, as on Xen', (_, reference, room) => {
  const { hypervisor, first, second } = build();
  second.maximumPages = second.pages + room;
  grant(hypervisor, second, 9, GTF.acceptTransfer, 1, 0x9000);
  grant(hypervisor, second, 11, GTF.acceptTransfer, 3, 0x9000);
  const { mfn, status } = give(hypervisor, second, first, reference);

  expect(status).toBe('general_error');
  expect(hypervisor.frames.owners[mfn]).toBe(0xffff);
});

test('a page of the domain itself leaves the place where it was, when it is mapped', () => {
  const { hypervisor, first } = build();
  grant(hypervisor, first, 9, GTF.permitAccess, 1, 0x300);
  const mfn = mfnOf(first, 0x300);

  expect(map(hypervisor, first, 1, 9)).toBe(0);
  expect(first.p2m.lookup(0x300 as Gfn).mfn).toBeUndefined();
  expect(first.p2m.lookup(0x8000 as Gfn)).toMatchObject({ type: 'grant', mfn });
});

test('a mapping in the place of another one is the end of the domain', () => {
  const { hypervisor, first, second } = build();
  grant(hypervisor, first, 9, GTF.permitAccess, 2, 0x300);
  grant(hypervisor, first, 10, GTF.permitAccess, 2, 0x301);
  map(hypervisor, second, 1, 9);

  expect(map(hypervisor, second, 1, 10)).toBe(-1);
  expect(second.state).toBe('crashed');
});

test('the table grows, and says where its frames are', () => {
  const { hypervisor, first } = build();
  const setUp = (frames: number, dom = DOMID_SELF) =>
    operate(hypervisor, first, 2, 8, [
      [0, 2, dom],
      [4, 4, frames],
      [12, 4, 0x3000],
    ]);
  const query: Structure = [[0, 2, DOMID_SELF]];

  expect(operate(hypervisor, first, 6, 12, query)).toBe(0);
  expect([field(hypervisor, first, 4), field(hypervisor, first, 8)]).toEqual([1, 64]);
  expect(call(hypervisor, first, GRANT_TABLE_OP, [6, ARGUMENT, 2], query)).toBe(-22);
  expect(call(hypervisor, first, GRANT_TABLE_OP, [3, ARGUMENT, 1], query)).toBe(-38);
  expect(setUp(3)).toBe(0);
  expect(bytesAt(hypervisor, mfnOf(first, 3)).slice(0, 4)).toEqual(
    Uint8Array.of(255, 255, 255, 255),
  );
  expect(setUp(65)).toBe(-1);
  expect(setUp(1, 77)).toBe(-2);
  expect(setUp(1, 2)).toBe(-8);
  const place: Structure = [
    [0, 2, DOMID_SELF],
    [4, 4, 1],
    [8, 4, 2],
    [12, 4, 0x9000],
  ];
  expect(call(hypervisor, first, 12, [7, ARGUMENT], place)).toBe(0);
  expect(setUp(3)).toBe(0);
  expect(bytesAt(hypervisor, mfnOf(first, 3)).slice(8, 12)).toEqual(Uint8Array.of(0, 0x90, 0, 0));
  expect(first.p2m.lookup(0x9000 as Gfn).mfn).toBe(first.grants.shared[2]);
});

const setVersion = (hypervisor: Hypervisor, domain: XenDomain, version: number): number =>
  call(hypervisor, domain, GRANT_TABLE_OP, [8, ARGUMENT], [[0, 4, version]]);

test('version 2 keeps the reserved entries, with their marks in the status frames', () => {
  const { hypervisor, first } = build();

  expect(setVersion(hypervisor, first, 3)).toBe(-22);
  expect(field(hypervisor, first, 0)).toBe(1);
  expect(setVersion(hypervisor, first, 2)).toBe(0);
  expect(field(hypervisor, first, 0)).toBe(2);
  expect(flagsAt(hypervisor, first, 1)).toBe(GTF.permitAccess);
  expect(readStatus(hypervisor, first.grants, 1)).toBe(GTF.reading | GTF.writing);
  expect(readEntry(hypervisor, first.grants, 1, 8, 8)).toBe(0xf_effc);
  expect(first.grants.status.length).toBe(1);
  expect(setVersion(hypervisor, first, 1)).toBe(0);
  expect(flagsAt(hypervisor, first, 1)).toBe(GTF.permitAccess | GTF.reading | GTF.writing);
  expect(first.grants.status.length).toBe(0);
});

test('the version does not change while grants are in use', () => {
  const { hypervisor, first, second } = build();
  grant(hypervisor, first, 9, GTF.permitAccess, 2, 0x300);
  map(hypervisor, second, 1, 9);

  expect(setVersion(hypervisor, first, 2)).toBe(-16);
  unmap(hypervisor, second, 0);
  expect(setVersion(hypervisor, first, 2)).toBe(0);
});

test('parts of pages, and grants of grants, are copied and not mapped', () => {
  const { hypervisor, first, second, third } = build();
  for (const domain of [first, second]) setVersion(hypervisor, domain, 2);
  const part = (flags: number): void => {
    const { grants } = first;
    writeEntry(hypervisor, grants, 9, 4, 2, 16);
    writeEntry(hypervisor, grants, 9, 6, 2, 32);
    writeEntry(hypervisor, grants, 9, 8, 8, 0x300);
    writeEntry(hypervisor, grants, 9, 0, 2, flags);
    writeEntry(hypervisor, grants, 9, 2, 2, 2);
  };
  part(GTF.permitAccess | GTF.subPage);
  bytesAt(hypervisor, mfnOf(first, 0x300)).fill(0x5a);
  const ends = {
    source: [9, 1, 16],
    destination: [0x301, DOMID_SELF, 0],
    length: 32,
    flags: 1,
  } as const;

  expect(map(hypervisor, second, 1, 9)).toBe(-1);
  expect(copy(hypervisor, second, ends)).toBe(0);
  expect(copy(hypervisor, second, { ...ends, source: [9, 1, 17] })).toBe(-1);
  expect(copy(hypervisor, second, { ...ends, source: [9, 1, 15] })).toBe(-1);

  // Domain 2 passes it on to domain 3.
  writeEntry(hypervisor, second.grants, 20, 4, 2, 1);
  writeEntry(hypervisor, second.grants, 20, 8, 4, 9);
  writeEntry(hypervisor, second.grants, 20, 0, 2, GTF.transitive);
  writeEntry(hypervisor, second.grants, 20, 2, 2, 3);
  const own = bytesAt(hypervisor, mfnOf(third, 0x301));
  expect(copy(hypervisor, third, { ...ends, source: [20, 2, 16] })).toBe(0);
  expect(own[0]).toBe(0x5a);
  expect(map(hypervisor, third, 2, 20)).toBe(-1);
  expect(copy(hypervisor, third, { ...ends, source: [9, 1, 16] })).toBe(-1);
  expect(first.grants.active.size).toBe(2);
  expect(second.grants.active.size).toBe(2);
});

test('two entries are exchanged unless one is in use', () => {
  const { hypervisor, first, second } = build();
  grant(hypervisor, first, 9, GTF.permitAccess, 2, 0x300);
  const swap = (a: number, b: number) =>
    operate(hypervisor, first, 11, 8, [
      [0, 4, a],
      [4, 4, b],
    ]);

  expect(swap(9, 10)).toBe(0);
  expect(flagsAt(hypervisor, first, 9)).toBe(0);
  expect(map(hypervisor, second, 1, 10)).toBe(0);
  expect(swap(9, 10)).toBe(-12);
  expect(swap(9, 9)).toBe(0);
  expect(swap(9, 600)).toBe(-3);
});

test('a list of operations is done to its end, with a status each', () => {
  const { hypervisor, first, second } = build();
  grant(hypervisor, first, 9, GTF.permitAccess, 2, 0x300);
  const two: Structure = [
    [0, 8, 0x800_0000],
    [8, 4, 2],
    [12, 4, 700],
    [16, 2, 1],
    [32, 8, 0x800_0000],
    [40, 4, 2],
    [44, 4, 9],
    [48, 2, 1],
  ];

  expect(call(hypervisor, second, GRANT_TABLE_OP, [0, ARGUMENT, 2], two)).toBe(0);
  expect(field(hypervisor, second, 16) >> 16).toBe(-3);
  expect(field(hypervisor, second, 48) >> 16).toBe(0);
  expect(call(hypervisor, second, GRANT_TABLE_OP, [0, ARGUMENT, 0xffff_ffff], two)).toBe(-22);
  expect(call(hypervisor, second, GRANT_TABLE_OP, [0, 0x8000_0000, 1])).toBe(-14);
  expect(call(hypervisor, second, GRANT_TABLE_OP, [0, 0x8000_0000, 0])).toBe(0);
});
