import { expect, test } from 'vitest';
import type { ReplacementName } from '../../machine.ts';
import type { Gfn } from '../../memory/addresses.ts';
import type { XenDomain } from '../domain.ts';
import { createMemoryDevice, type SwapDevice } from './swap-device.ts';
import { createSwapSlots, deviceBytesFor } from './swap-slots.ts';
import {
  buildTestMachine,
  contradictions,
  fillPage,
  peekPage,
  readPage,
  type TestMachine,
} from './test-machine.ts';

const MIB = 1 << 20;
const FIRST = 300;
const PAGES = 12;
const SLOTS = 600;

/** A device of which one write is cut short after a part of its bytes. */
const createFailingDevice = (device: SwapDevice) => {
  let writes = 0;
  let failing = -1;
  let part = 0;
  return {
    lengthBytes: device.lengthBytes,
    read: device.read,
    write(offset: number, bytes: Uint8Array): boolean {
      writes += 1;
      if (writes !== failing) return device.write(offset, bytes);
      device.write(offset, bytes.subarray(0, Math.floor(bytes.length * part)));
      return false;
    },
    /** Counts writes from 1 again; the one with this number fails. */
    arm(number: number, done: number) {
      writes = 0;
      failing = number;
      part = done;
    },
    get writes() {
      return writes;
    },
  };
};

/** Pages go, come back changed, and go again, so that slots are used anew; what they hold. */
const churn = (machine: TestMachine, domain: XenDomain, seed: number): number[] => {
  const values: number[] = [];
  for (let round = 0; round < 3; round += 1) {
    for (let page = 0; page < PAGES; page += 1) {
      if (round > 0 && (page + round) % 3 === 0) continue;
      values[page] = seed * 10_000 + round * 1000 + page + 1;
      fillPage(machine, domain, FIRST + page, values[page] ?? 0);
    }
    for (let page = 0; page < PAGES; page += 2 - (round % 2)) {
      machine.units.swap.pageOut(domain, (FIRST + page) as Gfn);
    }
  }
  return values;
};

const build = (device: SwapDevice) => {
  const machine = buildTestMachine(8 * MIB, [2 * MIB], { swap: { policy: 'clock', device } });
  const [domain] = machine.domains;
  if (domain === undefined) throw new Error('no domain');
  return { machine, domain };
};

test('whichever write fails, and however much of it was done, no page is lost', () => {
  const bytes = createMemoryDevice(deviceBytesFor(SLOTS));
  const device = createFailingDevice(bytes);
  const { machine, domain } = build(device);
  churn(machine, domain, 0);
  churn(machine, domain, 1);
  const { writes } = device;
  expect(writes).toBeGreaterThan(100);
  let seed = 2;
  for (let failing = 1; failing <= writes / 2 + 2; failing += 1) {
    for (const done of [0, 0.3, 0.8, 1]) {
      device.arm(failing, done);
      const values = churn(machine, domain, seed);
      device.arm(-1, 0);
      seed += 1;

      // What a reader finds who knows the device alone: each page that is away, as it was.
      const slots = createSwapSlots(bytes);
      const stored = new Map(slots.recover().map((page) => [page.gfn, page.slot]));
      for (const [page, value] of values.entries()) {
        const gfn = FIRST + page;
        if (domain.p2m.typeOf(gfn as Gfn) === 'paged') {
          const found = slots.load(stored.get(gfn) ?? -1, { domain: domain.id, gfn });
          expect(new Uint32Array(found?.slice().buffer ?? new ArrayBuffer(4))[0]).toBe(value);
        }
        expect(readPage(machine, domain, gfn)).toBe(value);
      }
    }
  }
  expect(contradictions(machine)).toEqual([]);
});

test('a page that the device does not give back whole is not given to the guest', () => {
  const bytes = createMemoryDevice(deviceBytesFor(SLOTS));
  const { machine, domain } = build(bytes);
  fillPage(machine, domain, FIRST, 7);
  expect(machine.units.swap.pageOut(domain, FIRST as Gfn)).toBe(true);
  const last = bytes.lengthBytes - 4096 * SLOTS - (bytes.lengthBytes % 4096);
  for (let at = last; at < bytes.lengthBytes; at += 4096) bytes.write(at + 5, Uint8Array.of(1));

  expect(machine.units.prepare(domain, FIRST as Gfn, 'read')).toBe('lost');
  expect(domain.p2m.typeOf(FIRST as Gfn)).toBe('paged');
});

test('a full device refuses, and the page stays', () => {
  const { machine, domain } = build(createMemoryDevice(deviceBytesFor(2)));
  const results = [0, 1, 2].map((page) =>
    machine.units.swap.pageOut(domain, (FIRST + page) as Gfn),
  );

  expect(results).toEqual([true, true, false]);
  expect(domain.p2m.typeOf((FIRST + 2) as Gfn)).toBe('ram');
});

test.each<ReplacementName>(['random', 'lru', 'clock'])(
  '%s: a page that comes back is replaced by another, so that the target is kept',
  (policy) => {
    const { machine, domain } = build(createMemoryDevice(deviceBytesFor(600)));
    for (let page = 0; page < PAGES; page += 1) fillPage(machine, domain, FIRST + page, page + 1);
    const { swap, counts } = machine.units;
    swap.setTarget(domain, 400, policy);
    expect(swap.settle(domain)).toBe(true);
    const { free } = machine.hypervisor.frames;
    for (let page = 0; page < PAGES; page += 1) {
      expect(readPage(machine, domain, FIRST + page)).toBe(page + 1);
      machine.hypervisor.nowNs += 100_000;
    }

    expect(counts.of(domain).paged).toBe(400);
    expect(counts.of(domain).pageIns).toBeGreaterThan(5);
    expect(machine.hypervisor.frames.free).toBe(free);
    swap.setTarget(domain, 0, policy);
    expect(swap.settle(domain)).toBe(true);
    expect(swap.slots.used).toBe(0);
    expect(peekPage(machine, domain, FIRST + 1)).toBe(2);
  },
);

test.each<ReplacementName>(['lru', 'clock'])('%s lets go what is not accessed', (policy) => {
  const { machine, domain } = build(createMemoryDevice(deviceBytesFor(600)));
  const { swap } = machine.units;
  const { view } = machine.hypervisor.hardware.memory;
  const ramAt = view.byteLength - machine.hypervisor.hardware.memory.ramBytes;
  /** As the processor does when it walks to the page. */
  const access = (gfn: number): void => {
    const at = ramAt + (domain.p2m.path(gfn as Gfn).at(-1)?.maddr ?? 0);
    view.setUint8(at + 1, view.getUint8(at + 1) | 1);
  };
  swap.setTarget(domain, 200, policy);
  for (let round = 0; round < 4; round += 1) {
    for (let gfn = 0; gfn < 200; gfn += 1) access(gfn);
    machine.hypervisor.nowNs += 2_000_000;
    swap.evict(domain);
  }
  for (let gfn = 0; gfn < 200; gfn += 1) access(gfn);
  swap.settle(domain);
  const away = Array.from({ length: 200 }, (_, gfn) => domain.p2m.typeOf(gfn as Gfn));

  expect(away.filter((type) => type === 'paged').length).toBeLessThan(5);
});
