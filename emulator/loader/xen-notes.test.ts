import { expect, test } from 'vitest';
import { ProgramError } from './loader.ts';
import { interpretNotes } from './xen-notes.ts';

const number = (value: bigint): Uint8Array => {
  const bytes = new Uint8Array(8);
  new DataView(bytes.buffer).setBigUint64(0, value, true);
  return bytes;
};

test('notes for PV and for PVH are both read', () => {
  const notes = new Map([
    [1, number(0xffff_ffff_8304_c1c0n)],
    [3, number(0xffff_ffff_8000_0000n)],
    [15, number(0x80_0000_0000n)],
    [16, number(1n)],
    [18, number(0x100_0850n).slice(0, 4)],
  ]);

  expect(interpretNotes(notes, undefined, 0n)).toMatchObject({
    pvhEntry: 0x100_0850,
    pv: {
      entry: 0xffff_ffff_8304_c1c0n,
      virtualBase: 0xffff_ffff_8000_0000n,
      paddrOffset: 0,
      p2mBase: 0x80_0000_0000n,
      hasUnmappedModule: true,
    },
  });
});

test('the older section tells the same in words; its addresses are virtual unless it says so', () => {
  const text =
    'GUEST_OS=GNU Mach,XEN_VER=xen-3.0,VIRT_BASE=0x40000000,HYPERCALL_PAGE=0x2,PAE=yes\0rest';

  expect(interpretNotes(new Map(), text, 0x4000_0100n).pv).toMatchObject({
    entry: 0x4000_0100n,
    virtualBase: 0x4000_0000n,
    paddrOffset: 0x4000_0000,
    hypercallPage: 0x4000_2000n,
  });
});

test('a program that says nothing of PV has none; what is no number is an error', () => {
  expect(interpretNotes(new Map([[18, number(1n)]]), undefined, 0n).pv).toBeUndefined();
  expect(() => interpretNotes(new Map(), 'VIRT_BASE=here', 0n)).toThrow(ProgramError);
  expect(() => interpretNotes(new Map([[1, new Uint8Array(3)]]), undefined, 0n)).toThrow(/ENTRY/);
});
