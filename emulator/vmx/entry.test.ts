/** VMCSs that may be entered, and one broken rule a case. */
import { describe, expect, test } from 'vitest';
import { CONTROL_FIELDS } from './controls.ts';
import { refusalOfEntry } from './entry.ts';
import { vmcsEncodingOf } from './vmcs-fields.ts';

type Changes = Readonly<Record<string, bigint>>;

const bits = (...positions: readonly number[]): bigint =>
  positions.reduce((sum, position) => sum | (1n << BigInt(position)), 0n);

const segments = (names: readonly string[], rights: bigint, limit: bigint): Changes =>
  Object.fromEntries(
    names.flatMap((name) => [
      [`GUEST_${name}_ACCESS_RIGHTS`, rights],
      [`GUEST_${name}_LIMIT`, limit],
    ]),
  );

const PRIMARY = 0x0400_6172n | bits(7, 24, 28, 31);
const EXIT = 0x3_6dfbn | bits(2, 9, 18, 19, 20, 21);
const ENTRY = 0x11fbn | bits(2, 14, 15);

/** A guest in flat protected mode with EPT, unrestricted. */
const GOOD: Changes = {
  PIN_BASED_CONTROLS: 0x1fn,
  PRIMARY_PROCESSOR_BASED_CONTROLS: PRIMARY,
  SECONDARY_PROCESSOR_BASED_CONTROLS: bits(1, 3, 5, 6, 7, 12),
  EXIT_CONTROLS: EXIT,
  ENTRY_CONTROLS: ENTRY,
  VPID: 1n,
  EPT_POINTER: 0x1_001en,
  MSR_BITMAPS: 0x2000n,
  GUEST_CR0: 0x31n,
  GUEST_CR4: bits(13),
  GUEST_IA32_PAT: 0x0007_0406_0007_0406n,
  GUEST_RFLAGS: 2n,
  GUEST_RIP: 0x10_0000n,
  GUEST_DR7: 0x400n,
  ...segments(['CS'], 0xc09bn, 0xffff_ffffn),
  ...segments(['SS', 'DS', 'ES', 'FS', 'GS'], 0xc093n, 0xffff_ffffn),
  ...segments(['TR'], 0x8bn, 0x67n),
  ...segments(['LDTR'], bits(16), 0n),
  VMCS_LINK_POINTER: 0xffff_ffff_ffff_ffffn,
};

/** A guest in 64-bit mode at level 3, of a processor that checks segments in full. */
const LONG: Changes = {
  ...GOOD,
  SECONDARY_PROCESSOR_BASED_CONTROLS: bits(1),
  ENTRY_CONTROLS: ENTRY | bits(9),
  GUEST_CR0: 0x8005_0033n,
  GUEST_CR4: bits(5, 13),
  GUEST_IA32_EFER: 0xd01n,
  GUEST_RFLAGS: 0x202n,
  GUEST_RIP: 0x0000_8000_0000_0000n,
  ...segments(['CS'], 0xa0fbn, 0xffff_ffffn),
  ...segments(['SS'], 0xc0f3n, 0xffff_ffffn),
  ...segments(['DS', 'ES'], bits(16), 0n),
  ...segments(['FS', 'GS'], 0xc0f3n, 0xffff_ffffn),
  GUEST_CS_SELECTOR: 0x33n,
  GUEST_SS_SELECTOR: 0x2bn,
  GUEST_GS_BASE: 0xffff_8000_0000_0000n,
};

/** A guest in real mode; the code segment is still that of protected mode. */
const REAL: Changes = { ...GOOD, GUEST_CR0: 0x30n, ...segments(['CS'], 0x93n, 0xffffn) };

const VIRTUAL_8086: Changes = {
  ...GOOD,
  GUEST_RFLAGS: bits(1, 17),
  ...segments(['CS', 'SS', 'DS', 'ES', 'FS', 'GS'], 0xf3n, 0xffffn),
  GUEST_CS_SELECTOR: 0x1000n,
  GUEST_CS_BASE: 0x1_0000n,
};

const refusalOf = (fields: Changes) => {
  const values = new Map(
    Object.entries(fields).map(([name, value]) => [vmcsEncodingOf(name), value]),
  );
  return refusalOfEntry((encoding) => values.get(encoding) ?? 0n);
};

const MODES = { protected: GOOD, long: LONG, real: REAL, 'virtual-8086': VIRTUAL_8086 } as const;

test.each(Object.entries(MODES))('a guest in %s mode is entered', (_name, fields) => {
  expect(refusalOf(fields)).toBeUndefined();
});

const event = (type: number, vector: number, hasCode = false): Changes => ({
  ENTRY_INTERRUPTION_INFORMATION:
    bits(31) | BigInt((type << 8) | vector) | (hasCode ? bits(11) : 0n),
});

describe('controls: VMfailValid', () => {
  test.each(CONTROL_FIELDS)('reserved bits of the $title', ({ field, mustBeOne, title }) => {
    const good = GOOD[field] ?? 0n;
    if (mustBeOne !== 0) {
      const lowest = BigInt(mustBeOne & -mustBeOne);
      expect(refusalOf({ ...GOOD, [field]: good & ~lowest })?.words).toContain(title);
    }
    for (const position of [14, 18, 31]) {
      const changed = good | bits(position);
      if (changed === good || field === 'PRIMARY_PROCESSOR_BASED_CONTROLS') continue;
      const isKnown = CONTROL_FIELDS.some(
        (one) => one.field === field && Object.values(one.bits).includes(position),
      );
      if (isKnown) continue;
      expect(refusalOf({ ...GOOD, [field]: changed })).toMatchObject({ kind: 'controls' });
    }
  });

  test('secondary controls are not looked at unless they are activated', () => {
    const primary = 0x0400_6172n;
    const fields = { PRIMARY_PROCESSOR_BASED_CONTROLS: primary, GUEST_CR0: 0x8000_0031n };
    const unused = { SECONDARY_PROCESSOR_BASED_CONTROLS: bits(30), EPT_POINTER: 7n, VPID: 0n };
    expect(refusalOf({ ...GOOD, ...fields, ...unused })).toBeUndefined();
  });

  test.each<[string, Changes]>([
    ['CR3-target', { CR3_TARGET_COUNT: 5n }],
    ['I/O-bitmap', { PRIMARY_PROCESSOR_BASED_CONTROLS: PRIMARY | bits(25), IO_BITMAP_B: 0x800n }],
    ['MSR-bitmap', { MSR_BITMAPS: bits(46) }],
    ['"virtual NMIs"', { PIN_BASED_CONTROLS: 0x16n | bits(5) }],
    ['"NMI-window', { PRIMARY_PROCESSOR_BASED_CONTROLS: PRIMARY | bits(22) }],
    ['VPID', { VPID: 0n }],
    ['EPT pointer', { EPT_POINTER: 0x1_0019n }],
    ['EPT pointer', { EPT_POINTER: 0x1_0026n }],
    ['EPT pointer', { EPT_POINTER: 0x1_009en }],
    ['EPT pointer', { EPT_POINTER: bits(46) | 0x1en }],
    ['"unrestricted guest"', { SECONDARY_PROCESSOR_BASED_CONTROLS: bits(7) }],
    ['timer', { EXIT_CONTROLS: EXIT | bits(22) }],
    ['exit MSR-store', { EXIT_MSR_STORE_COUNT: 1n, EXIT_MSR_STORE_ADDRESS: 8n }],
    ['exit MSR-load', { EXIT_MSR_LOAD_COUNT: 2n, EXIT_MSR_LOAD_ADDRESS: bits(46) - 16n }],
    ['entry MSR-load', { ENTRY_MSR_LOAD_COUNT: 1n, ENTRY_MSR_LOAD_ADDRESS: bits(46) }],
    ['reserved type', event(1, 3)],
    ['reserved bits', { ENTRY_INTERRUPTION_INFORMATION: bits(31, 12) | 0x306n }],
    ['NMI', event(2, 3)],
    ['above 31', event(3, 32)],
    ['monitor trap flag', event(7, 1)],
    ['error code', event(3, 13)],
    ['error code', event(3, 6, true)],
    ['error code', event(0, 13, true)],
    ['beyond 15', { ...event(3, 14, true), ENTRY_EXCEPTION_ERROR_CODE: 0x1_0000n }],
    ['instruction length', event(4, 0x80)],
    ['instruction length', { ...event(6, 3), ENTRY_INSTRUCTION_LENGTH: 16n }],
  ])('%s', (words, changes) => {
    expect(refusalOf({ ...GOOD, ...changes })).toMatchObject({
      kind: 'controls',
      words: expect.stringContaining(words),
    });
  });

  test('in real mode no exception has an error code', () => {
    expect(refusalOf({ ...REAL, ...event(3, 13) })).toBeUndefined();
    expect(refusalOf({ ...REAL, ...event(3, 13, true) })?.words).toContain('error code');
  });
});

const STEPS: Changes = { GUEST_RFLAGS: 0x302n, GUEST_INTERRUPTIBILITY_STATE: 2n };

describe('guest state: a VM exit', () => {
  test.each<[string, keyof typeof MODES, Changes]>([
    ['CR0.NE', 'protected', { GUEST_CR0: 0x11n }],
    ['without "unrestricted guest"', 'long', { GUEST_CR0: 0x30n }],
    ['CR0.PG', 'protected', { GUEST_CR0: 0x8000_0030n }],
    ['CR4.VMXE', 'protected', { GUEST_CR4: 0n }],
    ['CR4 has bits', 'protected', { GUEST_CR4: bits(13, 12) }],
    ['DEBUGCTL', 'protected', { GUEST_IA32_DEBUGCTL: bits(4) }],
    ['CR4.PAE', 'long', { GUEST_CR4: bits(13) }],
    ['CR3', 'protected', { GUEST_CR3: bits(46) }],
    ['DR7', 'protected', { GUEST_DR7: bits(32) }],
    ['SYSENTER', 'protected', { GUEST_IA32_SYSENTER_EIP: bits(47) }],
    ['PAT', 'protected', { GUEST_IA32_PAT: 2n }],
    ['IA32_EFER.LMA', 'protected', { GUEST_IA32_EFER: 0x400n }],
    ['IA32_EFER.LME', 'long', { GUEST_IA32_EFER: 0x400n }],
    ['IA32_EFER has reserved', 'protected', { GUEST_IA32_EFER: 2n }],
    ['canonical', 'protected', { GUEST_GDTR_BASE: bits(60) }],
    ['limit', 'protected', { GUEST_IDTR_LIMIT: 0x1_0000n }],
    ['RIP', 'protected', { GUEST_RIP: bits(32) }],
    ['RIP', 'long', { GUEST_RIP: bits(48) }],
    ['RFLAGS must', 'protected', { GUEST_RFLAGS: 0n }],
    ['RFLAGS has reserved', 'protected', { GUEST_RFLAGS: 0xan }],
    ['RFLAGS.VM', 'long', { GUEST_RFLAGS: bits(1, 17) }],
    ['RFLAGS.IF', 'protected', event(0, 0x20)],
    ['0 to 3', 'protected', { GUEST_ACTIVITY_STATE: 4n }],
    ['HLT', 'long', { GUEST_ACTIVITY_STATE: 1n }],
    ['not active', 'protected', { GUEST_ACTIVITY_STATE: 1n, GUEST_INTERRUPTIBILITY_STATE: 2n }],
    ['activity state', 'protected', { GUEST_ACTIVITY_STATE: 1n, ...event(3, 6) }],
    ['activity state', 'protected', { GUEST_ACTIVITY_STATE: 2n, ...event(3, 1) }],
    ['activity state', 'protected', { GUEST_ACTIVITY_STATE: 3n, ...event(2, 2) }],
    ['interruptibility', 'protected', { GUEST_INTERRUPTIBILITY_STATE: 0x20n }],
    ['interruptibility', 'protected', { GUEST_INTERRUPTIBILITY_STATE: 4n }],
    ['both set', 'protected', { GUEST_INTERRUPTIBILITY_STATE: 3n, GUEST_RFLAGS: 0x202n }],
    ['Blocking by STI is set', 'protected', { GUEST_INTERRUPTIBILITY_STATE: 1n }],
    ['STI or MOV SS', 'long', { GUEST_INTERRUPTIBILITY_STATE: 1n, ...event(0, 0x20) }],
    ['MOV SS', 'protected', { GUEST_INTERRUPTIBILITY_STATE: 2n, ...event(2, 2) }],
    [
      'NMIs are blocked',
      'protected',
      { GUEST_INTERRUPTIBILITY_STATE: 8n, PIN_BASED_CONTROLS: 0x3fn, ...event(2, 2) },
    ],
    ['pending debug', 'protected', { GUEST_PENDING_DEBUG_EXCEPTIONS: bits(13) }],
    ['single-step', 'protected', STEPS],
    [
      'single-step',
      'long',
      { ...STEPS, GUEST_RFLAGS: 2n, GUEST_PENDING_DEBUG_EXCEPTIONS: bits(14) },
    ],
  ])('%s in %s mode', (words, mode, changes) => {
    expect(refusalOf({ ...MODES[mode], ...changes })).toMatchObject({
      kind: 'guest-state',
      words: expect.stringContaining(words),
      qualification: 0n,
    });
  });

  test.each<[string, Changes]>([
    ['an NMI wakes a processor that is shut down', { GUEST_ACTIVITY_STATE: 2n, ...event(2, 2) }],
    ['#DB wakes one in HLT', { GUEST_ACTIVITY_STATE: 1n, ...event(3, 1) }],
    ['a held single step', { ...STEPS, GUEST_PENDING_DEBUG_EXCEPTIONS: bits(14) }],
  ])('%s is allowed', (_name, changes) => {
    expect(refusalOf({ ...GOOD, ...changes })).toBeUndefined();
  });

  test('a link pointer has its own qualification, and so have bad PDPTE fields', () => {
    expect(refusalOf({ ...GOOD, VMCS_LINK_POINTER: 0n })?.kind).toBe('guest-state');
    expect(refusalOf({ ...GOOD, VMCS_LINK_POINTER: 0n })).toMatchObject({ qualification: 4n });
    const pae = { GUEST_CR0: 0x8000_0031n, GUEST_CR4: bits(5, 13) };
    expect(refusalOf({ ...GOOD, ...pae, GUEST_PDPTE1: 0x1001n })).toBeUndefined();
    expect(refusalOf({ ...GOOD, ...pae, GUEST_PDPTE1: 0x1003n })).toMatchObject({
      qualification: 2n,
    });
  });
});

describe('segments: a VM exit', () => {
  test.each<[string, keyof typeof MODES, Changes]>([
    ['CS must be a code or data', 'protected', { GUEST_CS_ACCESS_RIGHTS: 0xc08bn }],
    ['CS must be present', 'protected', { GUEST_CS_ACCESS_RIGHTS: 0xc01bn }],
    ['CS has reserved', 'protected', { GUEST_CS_ACCESS_RIGHTS: 0xc19bn }],
    ['CS has a granularity', 'protected', { GUEST_CS_LIMIT: 0xffff_fffen }],
    ['DS has a granularity', 'protected', { GUEST_DS_ACCESS_RIGHTS: 0x4093n }],
    ['CS must be an accessed code', 'protected', { GUEST_CS_ACCESS_RIGHTS: 0xc09an }],
    ['CS must be an accessed code', 'long', { GUEST_CS_ACCESS_RIGHTS: 0xc0f3n, GUEST_RIP: 0n }],
    ['CS has a DPL', 'protected', { GUEST_CS_ACCESS_RIGHTS: 0xc0fbn }],
    ['CS has a DPL', 'protected', { GUEST_CS_ACCESS_RIGHTS: 0xc0ffn }],
    ['CS has L and D/B', 'long', { GUEST_CS_ACCESS_RIGHTS: 0xe0fbn }],
    ['CS has a base', 'protected', { GUEST_CS_BASE: bits(32) }],
    ['SS has an RPL', 'long', { GUEST_SS_SELECTOR: 0x28n }],
    ['SS must be', 'protected', { GUEST_SS_ACCESS_RIGHTS: 0xc091n }],
    ['SS has a DPL', 'real', { GUEST_SS_ACCESS_RIGHTS: 0xc0f3n }],
    ['SS has a base', 'protected', { GUEST_SS_BASE: bits(32) }],
    ['DS must be', 'protected', { GUEST_DS_ACCESS_RIGHTS: 0xc099n }],
    ['ES must be', 'protected', { GUEST_ES_ACCESS_RIGHTS: 0xc092n }],
    ['FS has a DPL', 'long', { GUEST_FS_ACCESS_RIGHTS: 0xc093n, GUEST_FS_SELECTOR: 3n }],
    ['GS has a base', 'protected', { GUEST_GS_BASE: bits(47) }],
    ['TR has its', 'protected', { GUEST_TR_SELECTOR: 4n }],
    ['TR must be', 'protected', { GUEST_TR_ACCESS_RIGHTS: 0x89n }],
    ['TR must be', 'long', { GUEST_TR_ACCESS_RIGHTS: 0x83n }],
    ['TR must be', 'protected', { GUEST_TR_ACCESS_RIGHTS: bits(16) | 0x8bn }],
    ['TR has a granularity', 'protected', { GUEST_TR_LIMIT: 0x10_0000n }],
    ['LDTR has its', 'protected', { GUEST_LDTR_ACCESS_RIGHTS: 0x82n, GUEST_LDTR_SELECTOR: 4n }],
    ['LDTR must be', 'protected', { GUEST_LDTR_ACCESS_RIGHTS: 0x81n }],
    [
      'LDTR has a base',
      'protected',
      { GUEST_LDTR_ACCESS_RIGHTS: 0x82n, GUEST_LDTR_BASE: bits(47) },
    ],
    ['LDTR has a gran', 'protected', { GUEST_LDTR_ACCESS_RIGHTS: 0x8082n, GUEST_LDTR_LIMIT: 7n }],
    ['ES has a base', 'virtual-8086', { GUEST_ES_BASE: 0x10n }],
    ['GS has a limit', 'virtual-8086', { GUEST_GS_LIMIT: 0xf_ffffn }],
    ['SS has access rights', 'virtual-8086', { GUEST_SS_ACCESS_RIGHTS: 0x93n }],
  ])('%s in %s mode', (words, mode, changes) => {
    expect(refusalOf({ ...MODES[mode], ...changes })).toMatchObject({
      kind: 'guest-state',
      words: expect.stringContaining(words),
      qualification: 0n,
    });
  });
});
