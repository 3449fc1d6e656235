/** The page walk of a PV guest: machine frames, what they are used as, and whose they are. */
import { readFileSync } from 'node:fs';
import { dirname, join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { expect, test } from 'vitest';
import { assemble } from '../../assembler/index.ts';
import { createMachine } from '../../emulator/index.ts';

const root = dirname(dirname(dirname(fileURLToPath(import.meta.url))));
const SOURCE = '%include "pv-boot.inc"\nmain:\n        ret\n';
/** The first linear address of the M2P. */
const M2P = 0xffff_8000_0000_0000n;

const start = () => {
  const path = join(root, 'samples/pv-hello/guest.asm');
  const { bytes, diagnostics } = assemble(SOURCE, {
    path,
    readFile: (name: string) => {
      const found = resolve(root, 'samples/include', name);
      return { path: found, bytes: readFileSync(found) };
    },
  });
  expect(diagnostics).toEqual([]);
  const machine = createMachine({
    domains: [{ name: 'guest', program: bytes, memoryBytes: 16 << 20 }],
  });
  const vcpu = machine.domains[0]?.vcpus[0];
  return { machine, rip: vcpu?.rip ?? 0n };
};

test('every entry is in a machine frame, whose use and guest number are told', () => {
  const { machine, rip } = start();
  const walk = machine.walk(1, 0, rip);
  const gfn = Number(rip >> 12n);

  expect(walk.levels.map(({ table, frame }) => [table, frame?.type, frame?.owner])).toEqual([
    ['PML4E', 'l4_page_table', 1],
    ['PDPTE', 'l3_page_table', 1],
    ['PDE', 'l2_page_table', 1],
    ['PTE', 'l1_page_table', 1],
  ]);
  expect(walk.levels[0]?.frame).toMatchObject({ isPinned: true, uses: 2, references: 3 });
  expect(walk.levels[3]?.bits).toContain('guest kernel');
  expect(walk.frame).toMatchObject({ gfn, type: 'writable_page', uses: 1 });
  expect(walk.gpa).toBeUndefined();
  expect(walk.verdict).toMatch(
    `is gfn 0x${gfn.toString(16)}; it is writable by 1 entry, and can be no page table.`,
  );
});

test('the M2P and the guest agree about the walk', () => {
  const { machine, rip } = start();
  const { frame } = machine.walk(1, 0, rip);
  const entry = machine.walk(1, 0, M2P + BigInt((frame?.mfn ?? 0) * 8));

  expect(entry.permissions).toBe('r--u');
  const { bytes } = machine.peekMemory({ kind: 'maddr' }, BigInt(entry.maddr ?? 0), 8);
  expect(new DataView(bytes.buffer).getBigUint64(0, true)).toBe(rip >> 12n);
});
