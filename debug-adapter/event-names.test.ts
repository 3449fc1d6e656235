import { expect, test } from 'vitest';
import { parseEventName } from './event-names.ts';

test.each([
  ['vmexit', { kind: 'event', event: 'vm-exit' }],
  ['VMEXIT:CPUID', { kind: 'event', event: 'vm-exit', filter: { names: ['cpuid'] } }],
  ['vm-exit:10,0xc', { kind: 'event', event: 'vm-exit', filter: { numbers: [10, 12] } }],
  ['balloon:decrease', { kind: 'event', event: 'balloon', filter: { direction: 'decrease' } }],
  [
    'ept:read,write',
    { kind: 'event', event: 'ept-violation', filter: { access: ['read', 'write'] } },
  ],
])('%s', (text, event) => {
  expect(parseEventName(text)).toEqual(event);
});

test.each(['', 'vmexits', 'balloon:up', 'ept-violation:reed', 'vmexit:', 'vmexit:10,cpuid'])(
  'refuses %s with a sentence',
  (text) => {
    expect(parseEventName(text)).toEqual({ problem: expect.stringContaining("'") });
  },
);
