/** One VMCS that may be entered, and one broken field a case. */
import { expect, test } from 'vitest';
import { objectionToEntry } from './entry.ts';
import { vmcsEncodingOf } from './vmcs-fields.ts';

const GOOD: Readonly<Record<string, bigint>> = {
  GUEST_CR0: 0x31n,
  GUEST_CR4: 1n << 13n,
  GUEST_RFLAGS: 2n,
  GUEST_RIP: 0x10_0000n,
  GUEST_DR7: 0x400n,
  GUEST_CS_ACCESS_RIGHTS: 0xc09bn,
  GUEST_TR_ACCESS_RIGHTS: 0x8bn,
  VMCS_LINK_POINTER: 0xffff_ffff_ffff_ffffn,
};

const objectionWith = (changes: Readonly<Record<string, bigint>>): string | undefined => {
  const fields = new Map(
    Object.entries({ ...GOOD, ...changes }).map(([name, value]) => [vmcsEncodingOf(name), value]),
  );
  return objectionToEntry((encoding) => fields.get(encoding) ?? 0n);
};

test('a VMCS that obeys every rule is entered', () => {
  expect(objectionWith({})).toBeUndefined();
});

test.each([
  ['CR0.PG', { GUEST_CR0: 0x8000_0030n }],
  ['CR4.VMXE', { GUEST_CR4: 0n }],
  ['IA32_EFER.LMA', { GUEST_IA32_EFER: 0x400n }],
  ['IA32_EFER has reserved', { GUEST_IA32_EFER: 2n }],
  ['RFLAGS', { GUEST_RFLAGS: 0n }],
  ['TR', { GUEST_TR_ACCESS_RIGHTS: 0x89n }],
  ['activity', { GUEST_ACTIVITY_STATE: 4n }],
  ['not active', { GUEST_ACTIVITY_STATE: 1n, GUEST_INTERRUPTIBILITY_STATE: 2n }],
  ['interruptibility', { GUEST_INTERRUPTIBILITY_STATE: 0x20n }],
  ['Blocking by STI is set', { GUEST_INTERRUPTIBILITY_STATE: 1n }],
  ['external interrupt', { ENTRY_INTERRUPTION_INFORMATION: 0x8000_0020n }],
  ['reserved type', { ENTRY_INTERRUPTION_INFORMATION: 0x8000_0103n }],
  ['NMI', { ENTRY_INTERRUPTION_INFORMATION: 0x8000_0203n }],
  ['DR7', { GUEST_DR7: 1n << 32n }],
  ['canonical', { GUEST_GDTR_BASE: 1n << 60n }],
  ['limit', { GUEST_IDTR_LIMIT: 0x1_0000n }],
  ['RIP', { GUEST_RIP: 1n << 32n }],
  ['link pointer', { VMCS_LINK_POINTER: 0n }],
])('an objection names %s', (words, changes) => {
  expect(objectionWith(changes)).toContain(words);
});
