import { expect, test } from 'vitest';
import { exitReasonOf } from '../../vmx/exit-reasons.ts';
import { vmcsFieldOf } from '../../vmx/vmcs-fields.ts';
import { FIELD } from '../hardware.ts';
import { EXIT_HANDLERS } from './catalog.ts';

test('each exit has one handler, of a reason that the SDM knows', () => {
  const numbers = EXIT_HANDLERS.map(({ number }) => number);

  expect(new Set(numbers).size).toBe(numbers.length);
  expect(numbers.filter((number) => exitReasonOf(number) === undefined)).toEqual([]);
});

test('each field that the hypervisor uses is a field of the VMCS', () => {
  const unknown = Object.entries(FIELD).filter(
    ([, encoding]) => vmcsFieldOf(encoding) === undefined,
  );

  expect(unknown).toEqual([]);
});
