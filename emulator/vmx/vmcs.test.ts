import { expect, test } from 'vitest';
import { WINDOW_BYTES } from '../cpu/state.ts';
import { type Mfn, maddrOf } from '../memory/addresses.ts';
import { createMachineMemory } from '../memory/machine-memory.ts';
import { EXIT_REASONS, exitReasonOf } from './exit-reasons.ts';
import {
  clearVmcs,
  readVmcs,
  runningWindow,
  savedWindow,
  VMCS_REVISION,
  writeVmcs,
} from './vmcs.ts';
import { VMCS_FIELDS } from './vmcs-fields.ts';

const memory = createMachineMemory(0x1_0000);
const region = maddrOf(1 as Mfn);

test('names, encodings and reasons are unique', () => {
  const unique = (values: readonly unknown[]) => new Set(values).size === values.length;

  expect(unique(VMCS_FIELDS.map(({ name }) => name))).toBe(true);
  expect(unique(VMCS_FIELDS.map(({ encoding }) => encoding))).toBe(true);
  expect(unique(EXIT_REASONS.map(({ number }) => number))).toBe(true);
  expect(exitReasonOf(0x8000_0021)?.name).toBe('ENTRY_FAILURE_GUEST_STATE');
});

test('the table and the encodings agree on area and width', () => {
  for (const { name, area, width } of VMCS_FIELDS) {
    expect(name.startsWith('HOST_'), name).toBe(area === 'host');
    if (/_(CR[034]|BASE|RSP|RIP)$/.test(name)) expect(width, name).toBe('natural');
  }
});

test.each([
  ['the running vCPU', () => runningWindow(memory)],
  ['a saved window', () => savedWindow(new Uint8Array(WINDOW_BYTES))],
])('every field keeps what is written to it, cut to its width: %s', (_name, makeWindow) => {
  const window = makeWindow();
  clearVmcs(memory, region);
  const written = VMCS_FIELDS.map(({ encoding, width }, index) => {
    const value = 0xffff_0000_0000_0000n + BigInt(index) * 0x1_0001n + 0x8000_0000n;
    writeVmcs(memory, region, window, encoding, value);
    return width === 16 ? value & 0xffffn : width === 32 ? value & 0xffff_ffffn : value;
  });

  VMCS_FIELDS.forEach(({ encoding, name }, index) => {
    const expected = name === 'GUEST_RFLAGS' ? (written[index] ?? 0n) | 2n : written[index];
    expect(readVmcs(memory, region, window, encoding), name).toBe(expected);
  });
});

test('an unknown field is neither read nor written', () => {
  const window = runningWindow(memory);
  expect(readVmcs(memory, region, window, 0x7ffe)).toBeUndefined();
  expect(writeVmcs(memory, region, window, 0x7ffe, 1n)).toBe(false);
});

test('a cleared VMCS has its revision identifier', () => {
  clearVmcs(memory, region);
  expect(memory.view.getUint32(0x400_0000 + region, true)).toBe(VMCS_REVISION);
});
