/**
 * Runs the machine in slices of a few milliseconds, so that requests are answered while it runs
 * and a pause takes effect at once.
 */
import type { Machine, StopReason } from '../emulator/index.ts';
import type { AdapterHost } from './host.ts';

/** Executes at most `budget` instructions; 'budget' if there is more to do. */
export type Slice = (budget: number) => StopReason;

export interface Runner {
  readonly isRunning: boolean;
  /**
   * Begins with `first`, then goes on with `next`, by default with what the machine was about to do,
   * until something stops the machine or `pause` is called.
   */
  start(first: Slice, next?: Slice): void;
  pause(): void;
  /** Stops without a report; a later start is a new run. */
  abandon(): void;
}

const SLICE_MS = 6;
const FIRST_BUDGET = 20_000;
const SMALLEST_BUDGET = 500;
const LARGEST_BUDGET = 50_000_000;

/**
 * `stopped` gets the reason, 'budget' after a pause; `failed` gets what was thrown, which is our
 * own bug. `sliced` is called after every slice.
 */
export const createRunner = (
  host: AdapterHost,
  machine: Machine,
  report: {
    stopped(stop: StopReason): void;
    failed(error: unknown): void;
    sliced(): void;
  },
): Runner => {
  let run = 0;
  let running = false;
  let pauseIsAsked = false;
  let budget = FIRST_BUDGET;

  const slice = (step: Slice): StopReason => {
    const start = host.now();
    const stop = step(budget);
    const took = host.now() - start;
    if (took > SLICE_MS * 1.5) budget = Math.max(SMALLEST_BUDGET, Math.floor(budget / 2));
    else if (took < SLICE_MS / 2) budget = Math.min(LARGEST_BUDGET, budget * 2);
    return stop;
  };
  const loop = async (own: number, first: Slice, next: Slice): Promise<void> => {
    let step = first;
    for (;;) {
      await host.yieldNow();
      if (own !== run) return;
      if (pauseIsAsked) return finish({ why: 'budget' });
      const stop = slice(step);
      report.sliced();
      if (own !== run) return;
      if (stop.why !== 'budget') return finish(stop);
      step = next;
    }
  };
  const finish = (stop: StopReason): void => {
    running = false;
    report.stopped(stop);
  };
  return {
    get isRunning() {
      return running;
    },
    start(first, next = machine.resume) {
      run += 1;
      running = true;
      pauseIsAsked = false;
      loop(run, first, next).catch((error: unknown) => {
        running = false;
        report.failed(error);
      });
    },
    pause() {
      pauseIsAsked = true;
    },
    abandon() {
      run += 1;
      running = false;
    },
  };
};
