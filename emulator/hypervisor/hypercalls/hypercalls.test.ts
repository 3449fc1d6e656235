import { expect, test } from 'vitest';
import type { Gfn } from '../../memory/addresses.ts';
import { isPending, raiseVirq, VIRQ_TIMER } from '../event-channels.ts';
import { copyToGuest } from '../hypervisor.ts';
import { ARGUMENT, buildHypervisor, call, field } from '../test-hypervisor.ts';
import { HYPERCALLS } from './catalog.ts';

const LIST = 0x3000;

const build = (count = 1) => buildHypervisor(count, { withDom0: false });

test('names and numbers of the catalog are unique', () => {
  const keys = HYPERCALLS.map(({ number, command, only }) => `${number}.${command} ${only}`);
  const names = HYPERCALLS.map(({ name, only }) => `${name} ${only}`);

  expect(new Set(keys).size).toBe(keys.length);
  expect(new Set(names).size).toBe(keys.length);
});

test('a balloon gives a frame back and takes one again', () => {
  const { hypervisor, domains } = build();
  const [domain] = domains;
  const vcpu = domain?.vcpus[0];
  if (domain === undefined || vcpu === undefined) throw new Error('no domain');
  const free = hypervisor.frames.free;
  copyToGuest(hypervisor, vcpu, BigInt(LIST), Uint8Array.of(0, 3, 0, 0, 1, 3, 0, 0));
  const structure = [
    [0, 4, LIST],
    [4, 4, 2],
    [16, 2, 0x7ff0],
  ] as const;

  expect(call(hypervisor, domain, 12, [1, ARGUMENT], structure)).toBe(2);
  expect(domain.p2m.lookup(0x300 as Gfn)).toMatchObject({ type: 'ballooned' });
  expect(domain.pages).toBe(1022);
  expect(call(hypervisor, domain, 12, [1, ARGUMENT], structure)).toBe(0);
  expect(call(hypervisor, domain, 12, [6, ARGUMENT], structure)).toBe(2);
  expect(domain.p2m.lookup(0x300 as Gfn)).toMatchObject({ type: 'ram' });
  // The large page was split: one table more.
  expect(hypervisor.frames.free).toBe(free - 1);
});

test('an argument that is not mapped is EFAULT, but no extents for reservations', () => {
  const { hypervisor, domains } = build();

  expect(call(hypervisor, domains[0], 12, [3, 0x8000_0000])).toBe(-14);
  expect(call(hypervisor, domains[0], 12, [1, 0x8000_0000])).toBe(0);
  expect(call(hypervisor, domains[0], 12, [1 | (5 << 6), 0x8000_0000])).toBe(5);
});

test('a domain of others is EPERM, one that is not there ESRCH', () => {
  const { hypervisor, domains } = build(2);
  const about = (domid: number) => call(hypervisor, domains[0], 12, [3, ARGUMENT], [[0, 2, domid]]);

  expect([about(2), about(0), about(3)]).toEqual([-1, -1, -3]);
});

test('an event reaches the other domain, and wakes it', () => {
  const { hypervisor, domains } = build(2);
  const [first, second] = domains;
  const target = second?.vcpus[0];
  if (target === undefined || second === undefined) throw new Error('no domain');
  const opened = call(
    hypervisor,
    first,
    32,
    [6, ARGUMENT],
    [
      [0, 2, 0x7ff0],
      [2, 2, 2],
    ],
  );
  const port = field(hypervisor, first, 4);
  const bound = call(
    hypervisor,
    second,
    32,
    [0, ARGUMENT],
    [
      [0, 2, 1],
      [4, 4, port],
    ],
  );
  target.state = 'blocked';

  expect([opened, port, bound]).toEqual([0, 1, 0]);
  second.channels.set(2, { state: 'virq', virq: VIRQ_TIMER, vcpu: 0 });
  expect(call(hypervisor, first, 32, [4, ARGUMENT], [[0, 4, port]])).toBe(0);
  expect(isPending(hypervisor, second, 1)).toBe(true);
  raiseVirq(hypervisor, target, VIRQ_TIMER);
  expect(isPending(hypervisor, second, 2)).toBe(true);
  expect(target.state).toBe('runnable');
});

test('a timer in the past fires at once, whatever the flag "future" says', () => {
  const { hypervisor, domains } = build();
  const set = (timeout: number, flags: number) =>
    call(
      hypervisor,
      domains[0],
      24,
      [8, 0, ARGUMENT],
      [
        [0, 8, timeout],
        [8, 4, flags],
      ],
    );

  expect(set(500, 1)).toBe(0);
  expect(domains[0]?.vcpus[0]?.timerNs).toBeUndefined();
  expect(set(5000, 1)).toBe(0);
  expect(domains[0]?.vcpus[0]?.timerNs).toBe(5000);
});

test('a callback vector is set by HVM_PARAM_CALLBACK_IRQ of type 2', () => {
  const { hypervisor, domains } = build();
  const structure = [
    [0, 2, 0x7ff0],
    [4, 4, 0],
    [8, 4, 0xf3],
    [12, 4, 0x0200_0000],
  ] as const;

  expect(call(hypervisor, domains[0], 34, [0, ARGUMENT], structure)).toBe(0);
  expect(domains[0]?.callbackVector).toBe(0xf3);
});
