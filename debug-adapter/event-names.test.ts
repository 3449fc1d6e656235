import { expect, test } from 'vitest';
import { parseEventName, parseWatchName } from './event-names.ts';

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

test.each([
  ['vmexit:cpuit', "'cpuit' is no event of kind vm-exit; there are"],
  ['hypercall:memory_opp', "'memory_opp' is no event of kind hypercall; there are"],
  ['exception:99', 'exceptions have vectors from 0 to 31, not 99'],
  ['exception:pg', "'pg' is no event of kind exception"],
  ['event-channel:sent', 'there are send, bind, close, upcall'],
  ['domain:3', 'events of kind domain have no numbers'],
  ['console:hello', 'events of kind console have no names'],
])('refuses %s, which nothing would ever be', (text, sentence) => {
  expect(parseEventName(text)).toEqual({ problem: expect.stringContaining(sentence) });
});

test.each([
  'hypercall:XENMEM_decrease_reservation',
  'exception:#PF,gp',
  'vm-exit:EPT_VIOLATION',
  'interrupt:64',
])('takes %s', (text) => {
  expect(parseEventName(text)).not.toHaveProperty('problem');
});

test.each(['', 'vmexits', 'balloon:up', 'ept-violation:reed', 'vmexit:', 'vmexit:10,cpuid'])(
  'refuses %s with a sentence',
  (text) => {
    expect(parseEventName(text)).toEqual({ problem: expect.stringContaining("'") });
  },
);

test.each([
  ['watch:gpa:0x1000', 'gpa', 1, 1],
  ['watch:d2:gva:0x1000-0x1007', 'gva', 2, 8],
])('%s is watched memory of a domain', (text, space, domain, lengthBytes) => {
  expect(parseWatchName(text, 1)).toEqual({
    kind: 'data',
    space,
    address: 0x1000n,
    lengthBytes,
    access: 'write',
    domain,
  });
});
