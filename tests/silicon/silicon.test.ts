/** The reference engine beside the processor of this machine, where gcc and an x86-64 are present. */
import { execFileSync, spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import {
  decode,
  evaluate,
  type ReferenceHost,
  statusFlagsOf,
  statusWordsOf,
} from '../../isa/index.ts';
import { type Case, casesOf, REGISTERS, STATUS } from './cases.ts';

const CASE_BYTES = 72;
const RETURN = 0xc3;
const COUNT = 50_000;
const present = process.arch === 'x64' && spawnSync('gcc', ['--version']).status === 0;
if (!present) console.log('silicon: skipped, needs gcc on an x86-64 machine');

const onSilicon = (cases: readonly Case[]): Buffer => {
  const input = Buffer.alloc(cases.length * CASE_BYTES);
  cases.forEach(({ registers, flags, code }, index) => {
    const at = index * CASE_BYTES;
    registers.forEach((value, i) => {
      input.writeBigUInt64LE(value, at + 8 * i);
    });
    input.writeBigUInt64LE(BigInt(flags | 0x202), at + 48);
    input.set([...code, RETURN], at + 56);
  });
  const folder = mkdtempSync(join(tmpdir(), 'silicon-'));
  try {
    const program = join(folder, 'harness');
    execFileSync('gcc', ['-O1', '-o', program, join(import.meta.dirname, 'harness.c')]);
    return execFileSync(program, { input, maxBuffer: 2 * input.length });
  } finally {
    rmSync(folder, { recursive: true });
  }
};

const unexpected = (): never => {
  throw new Error('a register instruction touched memory, a segment or an exception');
};

const onReference = ({ code, registers, flags }: Case) => {
  const file = new Array<bigint>(16).fill(0n);
  REGISTERS.forEach((register, i) => {
    file[register] = registers[i] ?? 0n;
  });
  let status = flags;
  const host: ReferenceHost = {
    readRegister: (register) => file[register] ?? 0n,
    writeRegister: (register, value) => {
      file[register] = value;
    },
    readStatusWords: () => statusWordsOf(status),
    writeStatusWords: ({ result, sign, carry }) => {
      status = statusFlagsOf(result, sign, carry);
    },
    readDirectionFlag: () => false,
    writeDirectionFlag: unexpected,
    readSelector: unexpected,
    readInstructionPointer: () => 0n,
    writeInstructionPointer: () => undefined,
    linearOf: unexpected,
    read: unexpected,
    mayWrite: unexpected,
    write: unexpected,
    raise: unexpected,
  };
  const instruction = decode(Uint8Array.from(code), 0, 0n, 64);
  if (typeof instruction === 'string') throw new Error(instruction);
  evaluate(instruction, host);
  return { registers: REGISTERS.map((register) => file[register] ?? 0n), status };
};

test.skipIf(!present)(`${COUNT} seeded register instructions agree with the processor`, () => {
  const cases = casesOf(1, COUNT);
  const output = onSilicon(cases);
  expect(output.length).toBe(COUNT * CASE_BYTES);
  const differing = cases.flatMap((one, index) => {
    const at = index * CASE_BYTES;
    const wanted = REGISTERS.map((_, i) => output.readBigUInt64LE(at + 8 * i));
    const mask = STATUS & ~one.undefinedFlags;
    const wantedFlags = Number(output.readBigUInt64LE(at + 48)) & mask;
    const got = onReference(one);
    const same = got.registers.every((value, i) => value === wanted[i]);
    if (same && (got.status & mask) === wantedFlags) return [];
    const hex = Buffer.from(one.code).toString('hex');
    return [`${hex} got ${got.registers} ${got.status & mask} wanted ${wanted} ${wantedFlags}`];
  });
  expect(differing.slice(0, 20)).toEqual([]);
});
