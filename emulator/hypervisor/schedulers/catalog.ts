/**
 * Every scheduling policy.
 */
import type { SchedulerName } from '../../machine.ts';
import { createCredit2 } from './credit2.ts';
import { createRoundRobin } from './round-robin.ts';
import type { Scheduler } from './scheduler.ts';

export const SCHEDULERS: Readonly<Record<SchedulerName, () => Scheduler>> = {
  'round-robin': createRoundRobin,
  credit2: createCredit2,
};
