import { expect, test } from 'vitest';
import { describeChoice, requestsOf } from './event-choices.ts';

test('only what is ticked is asked for, without empty terms', () => {
  expect(
    requestsOf([
      { name: 'vm-exit:cpuid', isEnabled: true, condition: ' ', hitCondition: '% 10' },
      { name: 'balloon', isEnabled: false },
    ]),
  ).toEqual([{ name: 'vm-exit:cpuid', hitCondition: '% 10' }]);
});

test('terms are told in words', () => {
  const choice = { name: 'vm-exit', isEnabled: true, condition: 'rax == 1', logMessage: 'x' };

  expect(describeChoice(choice)).toBe('if rax == 1, logs x');
  expect(describeChoice({ name: 'vm-exit', isEnabled: true })).toBeUndefined();
});
