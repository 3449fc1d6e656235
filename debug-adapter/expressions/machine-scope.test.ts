import { expect, test } from 'vitest';
import type { Machine } from '../../emulator/index.ts';
import { evaluateExpression } from './evaluate.ts';
import { createMachineScope } from './machine-scope.ts';
import { parseExpression } from './parse.ts';

const registers = new Map([
  ['rax', 0x1122_3344_5566_7788n],
  ['rflags', 0x42n],
  ['rip', 5n],
]);
const vcpu = {
  id: 0,
  domain: 1,
  register: (name: string) => registers.get(name),
  segments: () => [
    { name: 'fs', selector: 0x23, base: 0x7000n, limit: 0xfffff, accessRights: 0xc0f3 },
  ],
  vmcs: () => [
    { title: '', fields: [{ name: 'Exit reason', encoding: 0x4402, value: 10n, widthBits: 32 }] },
  ],
};
const exit = {
  kind: 'vm-exit',
  domain: 1,
  vcpu: 0,
  reason: 'CPUID',
  number: 10,
  qualification: 0n,
};
const machine = {
  domains: [{ id: 1, vcpus: [vcpu], p2m: () => [{ first: 0x10, count: 4, mfn: 0x100 }] }],
  exitInProgress: { event: exit },
  program: () => ({ symbols: [{ name: 'start', address: 0x10_0000n }] }),
  walk: () => ({ verdict: 'not present in the PTE' }),
  peekMemory: (space: { kind: string }, address: bigint, length: number) => ({
    bytes: new Uint8Array(length).fill(space.kind === 'gpa' ? 1 : 2),
    holes: address < 0x1000n ? [] : [{ offset: 0, lengthBytes: length }],
  }),
} as unknown as Machine;
const evaluate = (text: string) =>
  evaluateExpression(parseExpression(text), createMachineScope(machine, { domain: 1, vcpu: 0 }));

test.each([
  ['eax', 0x5566_7788n],
  ['AH', 0x77n],
  ['zf', 1n],
  ['cf', 0n],
  ['d1.v0.rip', 5n],
  ['vmcs.exit_reason', 10n],
  ["exit.name == 'CPUID' && exit.leaf == eax", 1n],
  ['fs + fs.base', 0x7023n],
  ['FS.limit', 0xf_ffffn],
  ['start', 0x10_0000n],
  ['word [rip]', 0x202n],
  ['gpa(0)', 0x0101_0101_0101_0101n],
  ['p2m(0x12)', 0x102n],
  ['walk(0)', 'not present in the PTE'],
])('%s', (text, value) => {
  expect(evaluate(text)).toBe(value);
});

test.each([
  'd2.v0.rip',
  'hypercall.name',
  'qword [0x1000]',
  'p2m(0x14)',
  'fs.nothing',
  'constructor',
])('refuses %s', (text) => {
  expect(() => evaluate(text)).toThrow('column 1');
});
