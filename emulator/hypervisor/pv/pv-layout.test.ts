import { expect, test } from 'vitest';
import type { LoadedProgram, PvProgram } from '../../loader/index.ts';
import { layOutPv } from './pv-layout.ts';

const program = (address: number, memoryBytes: number): LoadedProgram => ({
  format: 'elf64',
  segments: [{ address, memoryBytes, bytes: new Uint8Array() }],
  entry: undefined,
  pv: undefined,
  symbols: [],
  lines: [],
  notes: [],
});
const PAGES = 0x8000;

test('a Linux kernel with 128 MiB is laid out as xl has done it', () => {
  const linux: PvProgram = {
    entry: 0xffff_ffff_8304_c1c0n,
    virtualBase: 0xffff_ffff_8000_0000n,
    paddrOffset: 0,
    p2mBase: 0x80_0000_0000n,
    hypercallPage: undefined,
    hasUnmappedModule: true,
  };
  const moduleBytes = 0x1e5 * 4096;

  expect(layOutPv(program(0x100_0000, 0x2e0_0000), linux, PAGES, moduleBytes)).toMatchObject({
    startInfo: 0x3e00,
    xenstore: 0x3e01,
    console: 0x3e02,
    tables: 0x3e03,
    tableCount: 35,
    bootStack: 0x3e26,
    mappedEnd: 0x4000,
    module: { pfn: 0x4000, isMapped: false },
    p2mPfn: 0x41e5,
    p2mPages: 0x40,
    p2mTables: 3,
    end: 0x41e5 + 0x43,
  });
});

test('without a place of its own the P2M list is with the kernel, the module before it', () => {
  const small: PvProgram = {
    entry: 0x10_0000n,
    virtualBase: 0n,
    paddrOffset: 0,
    p2mBase: undefined,
    hypercallPage: undefined,
    hasUnmappedModule: false,
  };

  expect(layOutPv(program(0x10_0000, 0x30_0184), small, PAGES, 5000)).toMatchObject({
    module: { pfn: 0x401, isMapped: true },
    p2mPfn: 0x403,
    p2mAddress: 0x40_3000n,
    startInfo: 0x443,
    mappedEnd: 0x800,
    // An L4, an L3, an L2, and an L1 for each 2 MiB.
    tableCount: 7,
  });
});
