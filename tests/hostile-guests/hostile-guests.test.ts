/**
 * Guests that pass anything to any hypercall, sched_op and iret included. The hypervisor neither
 * throws nor hangs, its counts stay right, and a domain that does nothing keeps every byte.
 */
import { expect, test } from 'vitest';
import { EventStream } from '../../emulator/events.ts';
import { OWNER_FREE, OWNER_HYPERVISOR } from '../../emulator/hypervisor/frames.ts';
import { directPagingOf } from '../../emulator/hypervisor/pv/mmu/direct-paging.ts';
import { runXl } from '../../emulator/hypervisor/toolstack.ts';
import { fireTimers } from '../../emulator/hypervisor/turns.ts';
import { createCaller } from './calls.ts';
import { contradictions, fixedFrames } from './invariants.ts';
import { createHostileMachine, type HostileMachine, untouchedBytes } from './machine.ts';
import { randomFrom } from './random.ts';

const SEED = Number(process.env.HOSTILE_SEED ?? 20_261_128);
/** Of the suite; `npm run test:hostile` makes a million. */
const CALLS = Number(process.env.HOSTILE_CALLS ?? 60_000);
const CALLS_OF_MACHINE = 40_000;
const CALLS_OF_TURN = 100;
const CHECK_EVERY = 4000;
/** A new domain needs so many. */
const FRAMES_OF_GUEST = 1500;
/** Far more than any call needs, even on a busy machine. */
const LONGEST_TURN_MS = 20_000;

/** Kinds of event that are built, and seen by nobody in particular. */
const EVENTS = [
  'balloon',
  'console',
  'domain',
  'event-channel',
  'grant',
  'hypercall',
  'mmu-refusal',
  'p2m-change',
  'page-table-pin',
  'page-table-update',
  'shadow-update',
  'xenstore',
] as const;

interface Run {
  readonly calls: number;
  readonly replaced: number;
}

const runMachine = (seed: number, limit: number): Run => {
  const random = randomFrom(seed);
  const events = new EventStream();
  if (seed % 4 === 0) events.subscribe(EVENTS, () => undefined);
  const machine = createHostileMachine(events);
  const { hypervisor, bystander } = machine;
  const caller = createCaller(machine, random);
  const before = untouchedBytes(machine);
  let fixed = fixedFrames(hypervisor);
  let calls = 0;
  let replaced = 0;
  const check = (): void => {
    expect(contradictions(hypervisor), `seed ${seed}, after ${calls} calls`).toEqual([]);
    expect(fixedFrames(hypervisor)).toBe(fixed);
    expect(bystander.state).toBe('running');
    expect(Buffer.compare(untouchedBytes(machine), before)).toBe(0);
  };
  const replaceDead = (): boolean => {
    for (const guest of [...machine.guests]) {
      if (guest.domain.state === 'running') continue;
      if (hypervisor.frames.free + guest.domain.pages < FRAMES_OF_GUEST) return false;
      machine.replace(guest);
      replaced += 1;
      fixed = fixedFrames(hypervisor);
    }
    return true;
  };
  const turn = (): boolean => {
    const guest = random.pick(machine.guests);
    const made = caller.makeCalls(guest, CALLS_OF_TURN);
    calls += made;
    hypervisor.nowNs += random.below(100_000);
    fireTimers(hypervisor, hypervisor.nowNs);
    if (made === 0) guest.domain.state = 'crashed';
    return replaceDead();
  };
  try {
    for (let checked = 0; calls < limit; ) {
      const start = performance.now();
      const goesOn = turn();
      expect(performance.now() - start, caller.last).toBeLessThan(LONGEST_TURN_MS);
      if (!goesOn) break;
      if (calls - checked < CHECK_EVERY) continue;
      checked = calls;
      check();
    }
  } catch (error) {
    throw new Error(`Seed ${seed}, call ${calls}, ${caller.last}`, { cause: error });
  }
  check();
  expectNothingLeft(machine);
  return { calls, replaced };
};

/** All domains die, in some order: their frames are free, and nothing is counted any more. */
const expectNothingLeft = (machine: HostileMachine): void => {
  const { hypervisor, guests, bystander } = machine;
  const { frames } = hypervisor;
  for (const guest of [...guests].reverse()) machine.destroy(guest);
  expect(runXl(hypervisor, `destroy ${bystander.id}`).ok).toBe(true);
  expect(contradictions(hypervisor)).toEqual([]);
  expect(frames.held()).toEqual([]);
  expect(directPagingOf(hypervisor).mmu.pages.counts.every((count) => count === 0)).toBe(true);
  const ids = new Set([OWNER_FREE, OWNER_HYPERVISOR, 0]);
  expect(frames.owners.every((owner) => ids.has(owner))).toBe(true);
};

test('no argument of any hypercall harms the hypervisor or a domain that does nothing', () => {
  let calls = 0;
  let replaced = 0;
  let seed = SEED;
  const start = process.cpuUsage();
  while (calls < CALLS) {
    const run = runMachine(seed, Math.min(CALLS_OF_MACHINE, CALLS - calls));
    calls += run.calls;
    replaced += run.replaced;
    seed += 1;
  }
  const { user } = process.cpuUsage(start);
  console.log(
    `Seeds ${SEED} to ${seed - 1}: ${calls} hypercalls of guests, ${replaced} of which died, in ${(user / 1e6).toFixed(1)} s of processor time.`,
  );
  expect(calls).toBeGreaterThanOrEqual(CALLS);
}, 900_000);
