/**
 * Long arrays in few numbers: pairs of a value and how often it follows itself.
 */
export type RunLengths = readonly (readonly [value: number, count: number])[];

export const runLengthsOf = (values: Iterable<number>): RunLengths => {
  const runs: [number, number][] = [];
  for (const value of values) {
    const last = runs.at(-1);
    if (last !== undefined && last[0] === value) last[1] += 1;
    else runs.push([value, 1]);
  }
  return runs;
};

/** Fills the array with what `runLengthsOf` gave for one of its length. */
export const fillFromRuns = (
  into: { fill(value: number, start: number, end: number): unknown },
  runs: RunLengths,
): void => {
  let at = 0;
  for (const [value, count] of runs) {
    into.fill(value, at, at + count);
    at += count;
  }
};
