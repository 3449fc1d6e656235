import { expect, test } from 'vitest';
import { loadElf } from './elf.ts';
import { loadProgram } from './index.ts';
import { ProgramError } from './loader.ts';

/** A 64-bit executable of one segment and, if asked, the PVH note. */
const executable = ({ note = true, fileBytes = 0x10 } = {}): Uint8Array => {
  const bytes = new Uint8Array(0x200);
  const view = new DataView(bytes.buffer);
  bytes.set([0x7f, 0x45, 0x4c, 0x46, 2, 1, 1]);
  view.setUint16(16, 2, true);
  view.setUint16(18, 62, true);
  view.setBigUint64(32, 64n, true);
  view.setUint16(54, 56, true);
  view.setUint16(56, 2, true);
  const header = (at: number, fields: readonly number[]): void => {
    const [type = 0, offset = 0, address = 0, file = 0, memory = 0] = fields;
    view.setUint32(at, type, true);
    view.setBigUint64(at + 8, BigInt(offset), true);
    view.setBigUint64(at + 24, BigInt(address), true);
    view.setBigUint64(at + 32, BigInt(file), true);
    view.setBigUint64(at + 40, BigInt(memory), true);
    view.setBigUint64(at + 48, 4n, true);
  };
  header(64, [1, 0x100, 0x10_0000, fileBytes, 0x2000]);
  header(120, [note ? 4 : 0, 0x180, 0, 20, 20]);
  view.setUint32(0x180, 4, true);
  view.setUint32(0x184, 4, true);
  view.setUint32(0x188, 18, true);
  bytes.set([0x58, 0x65, 0x6e, 0], 0x18c);
  view.setUint32(0x190, 0x10_0008, true);
  return bytes;
};

const problem = (bytes: Uint8Array): string => {
  try {
    loadElf(bytes);
  } catch (error) {
    if (error instanceof ProgramError) return error.message;
    throw error;
  }
  return '';
};

test('segments and the PVH entry are found', () => {
  const { segments, entry, notes } = loadElf(executable());

  expect(entry).toBe(0x10_0008);
  expect(notes).toEqual(['PHYS32_ENTRY = 0x100008']);
  expect(segments).toMatchObject([{ address: 0x10_0000, memoryBytes: 0x2000 }]);
});

test('a program without entry note is refused', () => {
  expect(problem(executable({ note: false }))).toContain('PHYS32_ENTRY');
});

test('a truncated segment names its header', () => {
  expect(problem(executable({ fileBytes: 0x1000 }))).toContain('program header 0');
});

test('random damage is an error or a program, never anything else', () => {
  let seed = 1;
  const random = (): number => {
    seed = (Math.imul(seed, 1_103_515_245) + 12_345) >>> 0;
    return seed >>> 8;
  };
  const whole = executable();
  let refused = 0;
  for (let round = 0; round < 10_000; round += 1) {
    const bytes = whole.slice(0, random() % 4 === 0 ? random() % whole.length : whole.length);
    for (let count = random() % 6; count > 0; count -= 1) bytes[random() % 0x1a0] = random() & 0xff;
    try {
      loadProgram(bytes, 0x10_0000);
    } catch (error) {
      if (!(error instanceof ProgramError)) throw error;
      refused += 1;
    }
  }
  expect(refused).toBeGreaterThan(1000);
});
