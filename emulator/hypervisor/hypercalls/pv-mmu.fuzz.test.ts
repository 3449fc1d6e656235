/**
 * A PV guest that passes anything to the hypercalls about its memory. The hypervisor neither throws
 * nor hangs, its counts stay right, and a domain that does nothing keeps every byte.
 */
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { maddrOf } from '../../memory/addresses.ts';
import { hostAddressOf } from '../../memory/machine-memory.ts';
import { expectConsistent } from '../pv/mmu/recount.ts';
import { addTestGuest, DOMID_SELF, type TestGuest } from '../pv/mmu/test-guest.ts';
import { createTestMachine } from '../pv/mmu/test-machine.ts';

const PAGES = 64;
const MAPPED = 48;
const RUNS = 20;
const CALLS = 5000;
const CHECK_EVERY = 500;
/** set_gdt, update_descriptor, memory_op, update_va_mapping and of other, mmuext_op, mmu_update. */
const NUMBERS = [2, 10, 12, 14, 22, 26, 26, 1, 1, 1];
const MEMORY_COMMANDS = [0, 1, 2, 3, 4, 5, 6, 7, 9, 11, 12, 15];
const LIST = 4n * 4096n;
const LIST_BYTES = 192;

/** xorshift32: the same numbers for the same seed. */
const randomFrom = (seed: number) => {
  let state = seed | 1;
  const next = (): number => {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    return state >>> 0;
  };
  return {
    below: (limit: number): number => next() % limit,
    wide: (): bigint => (BigInt(next()) << 32n) | BigInt(next()),
  };
};
type Random = ReturnType<typeof randomFrom>;

const BITS = [0n, 1n, 3n, 5n, 7n, 0x67n, 0x85n, 0x107n, (1n << 63n) | 5n];

/** A value that means something to some call. */
const anyValue = (random: Random, guest: TestGuest, other: TestGuest): bigint => {
  const own = BigInt(guest.mfn(6 + random.below(PAGES - 6)));
  const slot = BigInt(random.below(512) * 8);
  switch (random.below(16)) {
    case 0:
      return random.wide();
    case 1:
      return 0xffff_8000_0000_0000n + BigInt(random.below(0x1_0000));
    case 2:
      return 0xffff_ffff_ffff_ffffn;
    case 3:
      return BigInt(other.mfn(random.below(PAGES))) * 4096n + slot;
    case 4:
      return BigInt(random.below(PAGES)) * 4096n;
    case 5:
      return LIST + BigInt(random.below(LIST_BYTES));
    case 6:
      return BigInt(random.below(0x1000));
    case 7:
      return 1n << BigInt(random.below(64));
    case 8:
    case 9:
      return own;
    case 10:
    case 11:
      return own * 4096n + slot + BigInt(random.below(4));
    case 12:
    case 13:
    case 14:
      return own * 4096n + (BITS[random.below(BITS.length)] ?? 0n);
    default:
      return BigInt(random.below(24));
  }
};

const callAnything = (random: Random, guest: TestGuest, other: TestGuest): void => {
  const value = (): bigint => anyValue(random, guest, other);
  const number = NUMBERS[random.below(NUMBERS.length)] ?? 1;
  const args = [0, 1, 2, 3, 4].map(value);
  if (random.below(4) > 0) {
    if (number === 12) args[0] = BigInt(MEMORY_COMMANDS[random.below(MEMORY_COMMANDS.length)] ?? 0);
    if (number === 12) args[1] = LIST;
    if (number === 1 || number === 26) {
      args.splice(0, 4, LIST, BigInt(random.below(6)), 0n, BigInt(DOMID_SELF));
    }
  }
  guest.call(number, ...args);
};

/** Puts anything where the lists and structures are, whatever the guest's tables say. */
const fillList = (random: Random, guest: TestGuest, other: TestGuest): void => {
  for (let slot = 0; slot < LIST_BYTES / 8; slot += 1) {
    const value = slot % 3 === 0 && random.below(2) > 0 ? BigInt(random.below(21)) : undefined;
    const domid = random.below(6) === 0 ? BigInt(DOMID_SELF) : undefined;
    guest.machine.write(guest.mfn(4), slot, domid ?? value ?? anyValue(random, guest, other));
  }
};

test('no argument makes the hypervisor throw, miscount or touch another domain', () => {
  let calls = 0;
  fc.assert(
    fc.property(fc.integer({ min: 1 }), (seed) => {
      const random = randomFrom(seed);
      const machine = createTestMachine(4 << 20);
      const guest = addTestGuest(machine, 1, PAGES, MAPPED);
      const other = addTestGuest(machine, 2, PAGES);
      const { bytes } = machine.hypervisor.hardware.memory;
      const pages = other.mfns.map((mfn) => hostAddressOf(maddrOf(mfn)));
      const before = pages.map((at) => bytes.slice(at, at + 4096));
      for (let call = 1; call <= CALLS; call += 1) {
        if (call % 8 === 1) machine.paging.setKernelRoot(guest.vcpu, guest.mfn(0));
        fillList(random, guest, other);
        callAnything(random, guest, other);
        calls += 1;
        if (call % CHECK_EVERY === 0) expectConsistent(machine);
      }
      pages.forEach((at, index) => {
        expect(Buffer.compare(bytes.subarray(at, at + 4096), before[index] ?? bytes)).toBe(0);
      });
    }),
    { numRuns: RUNS },
  );
  expect(calls).toBe(RUNS * CALLS);
}, 120_000);
