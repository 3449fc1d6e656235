/**
 * Hit conditions: `5` or `= 5` (the fifth hit), `< 3`, `<= 3`, `> 3`, `>= 3`, `% 10` (every tenth).
 */
export type HitCondition = (hits: number) => boolean;

const TESTS: Readonly<Record<string, (hits: number, count: number) => boolean>> = {
  '': (hits, count) => hits === count,
  '=': (hits, count) => hits === count,
  '==': (hits, count) => hits === count,
  '<': (hits, count) => hits < count,
  '<=': (hits, count) => hits <= count,
  '>': (hits, count) => hits > count,
  '>=': (hits, count) => hits >= count,
  '%': (hits, count) => hits % count === 0,
};

/** A sentence if the text is no hit condition. */
export const parseHitCondition = (text: string): HitCondition | string => {
  const [, operator = '', digits = ''] = /^\s*(==?|<=?|>=?|%)?\s*(\d+)\s*$/.exec(text) ?? [];
  const count = Number(digits);
  const test = TESTS[operator];
  if (digits === '' || test === undefined || (operator === '%' && count === 0)) {
    return `'${text}' is no hit condition; expected are 5, = 5, < 5, <= 5, > 5, >= 5 or % 5.`;
  }
  return (hits) => test(hits, count);
};
