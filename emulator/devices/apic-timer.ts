/**
 * The timer of a local APIC: counts down from the initial count at the bus clock over the divisor,
 * once or again and again. Source: SDM Vol. 3A 10.5.4 "APIC Timer".
 */

/** The bus clock of Xen's virtual local APIC. */
const BUS_CYCLE_NS = 10;

export interface ApicTimerState {
  initialCount: number;
  divideConfiguration: number;
  isPeriodic: boolean;
  /** When the count that runs was the initial count; undefined: the timer stands. */
  startNs: number | undefined;
}

export const RESET_TIMER: ApicTimerState = {
  initialCount: 0,
  divideConfiguration: 0,
  isPeriodic: false,
  startNs: undefined,
};

/** Nanoseconds a count: bits 0, 1 and 3 give the divisor, 2 to 128 and 1. */
const countNs = ({ divideConfiguration }: ApicTimerState): number => {
  const code = (divideConfiguration & 3) | ((divideConfiguration & 8) >> 1);
  return BUS_CYCLE_NS * (1 << ((code + 1) & 7));
};

/** When the count will be 0; undefined if the timer stands. */
export const dueOf = (timer: ApicTimerState): number | undefined =>
  timer.startNs === undefined ? undefined : timer.startNs + timer.initialCount * countNs(timer);

/** Lets time pass; whether the count has been 0. */
export const passTime = (timer: ApicTimerState, nowNs: number): boolean => {
  const due = dueOf(timer);
  if (due === undefined || timer.startNs === undefined || due > nowNs) return false;
  const period = due - timer.startNs;
  const periods = Math.floor((nowNs - timer.startNs) / period);
  timer.startNs = timer.isPeriodic ? timer.startNs + periods * period : undefined;
  return true;
};

/** The current count, once time has passed. */
export const countOf = (timer: ApicTimerState, nowNs: number): number => {
  if (timer.startNs === undefined) return 0;
  return Math.max(0, timer.initialCount - Math.floor((nowNs - timer.startNs) / countNs(timer)));
};

/** A write of the initial count starts the timer; 0 stops it. */
export const startTimer = (timer: ApicTimerState, count: number, nowNs: number): void => {
  timer.initialCount = count;
  timer.startNs = count === 0 ? undefined : nowNs;
};

/** Another divisor: what is left of the count goes on at the new pace. */
export const divideBy = (timer: ApicTimerState, configuration: number, nowNs: number): void => {
  const passed = timer.initialCount - countOf(timer, nowNs);
  timer.divideConfiguration = configuration;
  if (timer.startNs !== undefined) timer.startNs = nowNs - passed * countNs(timer);
};
