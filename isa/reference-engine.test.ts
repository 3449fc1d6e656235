/**
 * The reference engine on single instructions, given as bytes. Expected values are worked out from
 * the SDM's definitions; a real processor's results are compared in tests/silicon.
 */
import { describe, expect, test } from 'vitest';
import { decode } from './decode.ts';
import { STATUS_FLAGS, statusFlagsOf, statusWordsOf } from './flags.ts';
import { type Evaluation, evaluate, type ReferenceHost } from './reference-engine.ts';

const RAX = 0;
const RCX = 1;
const RDX = 2;
const RSP = 4;
const RSI = 6;
const RDI = 7;
const MEMORY_BYTES = 0x2000;

interface Machine {
  readonly registers: bigint[];
  readonly memory: Uint8Array;
  flags: number;
  rip: bigint;
  fault: string | undefined;
}

const machineWith = (registers: Record<number, bigint>, flags = 0): Machine => {
  const machine: Machine = {
    registers: new Array<bigint>(16).fill(0n),
    memory: new Uint8Array(MEMORY_BYTES),
    flags,
    rip: 0x100n,
    fault: undefined,
  };
  for (const [register, value] of Object.entries(registers)) {
    machine.registers[Number(register)] = value;
  }
  return machine;
};

const hostOf = (machine: Machine): ReferenceHost => {
  const inside = (linear: bigint, bytes: number) => linear + BigInt(bytes) <= MEMORY_BYTES;
  const check = (linear: bigint, bytes: number) => {
    if (!inside(linear, bytes)) machine.fault = 'PF';
    return inside(linear, bytes);
  };
  return {
    readRegister: (register) => machine.registers[register] ?? 0n,
    writeRegister: (register, value) => {
      machine.registers[register] = value;
    },
    readStatusWords: () => statusWordsOf(machine.flags),
    writeStatusWords: ({ result, sign, carry }) => {
      machine.flags = (machine.flags & ~STATUS_FLAGS) | statusFlagsOf(result, sign, carry);
    },
    readDirectionFlag: () => (machine.flags & 0x400) !== 0,
    writeDirectionFlag: (value) => {
      machine.flags = (machine.flags & ~0x400) | (value ? 0x400 : 0);
    },
    readSelector: () => 0n,
    readInstructionPointer: () => machine.rip,
    writeInstructionPointer: (value) => {
      machine.rip = value;
    },
    isInCodeSegment: () => true,
    linearOf: (_segment, offset) => offset,
    read: (linear, bytes) => {
      if (!check(linear, bytes)) return undefined;
      let value = 0n;
      for (let i = bytes - 1; i >= 0; i -= 1) {
        value = (value << 8n) | BigInt(machine.memory[Number(linear) + i] ?? 0);
      }
      return value;
    },
    mayWrite: check,
    write: (linear, bytes, value) => {
      for (let i = 0; i < bytes; i += 1) {
        machine.memory[Number(linear) + i] = Number((value >> BigInt(8 * i)) & 0xffn);
      }
    },
    raise: (exception) => {
      machine.fault = exception;
    },
  };
};

const execute = (machine: Machine, hex: string): Evaluation => {
  const instruction = decode(Uint8Array.from(Buffer.from(hex, 'hex')), 0, machine.rip, 64);
  if (typeof instruction === 'string') throw new Error(`${hex} is ${instruction}`);
  return evaluate(instruction, hostOf(machine));
};

describe('results and flags', () => {
  test.each([
    ['add al, cl', '00c8', 0xffn, 0x01n, 0x00n, 0x055],
    ['add eax, ecx', '01c8', 0x7fff_ffffn, 1n, 0x8000_0000n, 0x894],
    ['sub rax, rcx', '4829c8', 0n, 1n, 0xffff_ffff_ffff_ffffn, 0x095],
    ['adc ax, cx', '6611c8', 0xffffn, 0n, 0x0000n, 0x055],
    ['and eax, ecx', '21c8', 0xf0f0n, 0x0ff0n, 0x00f0n, 0x004],
    ['shl eax, cl', 'd3e0', 0x8000_0001n, 1n, 2n, 0x801],
    ['sar al, cl', 'd2f8', 0x80n, 9n, 0xffn, 0x085],
    ['rol al, cl', 'd2c0', 0x81n, 1n, 0x03n, 0x801],
    ['rcr al, cl', 'd2d8', 0x01n, 1n, 0x80n, 0x801],
    ['popcnt eax, ecx', 'f30fb8c1', 0n, 0xf0f0n, 8n, 0x000],
    ['bsf eax, ecx', '0fbcc1', 5n, 0x100n, 8n, undefined],
    ['movzx eax, cl', '0fb6c1', ~0n, 0x1ffn, 0xffn, undefined],
    ['movsx rax, cx', '480fbfc1', 0n, 0x8000n, 0xffff_ffff_ffff_8000n, undefined],
    ['bswap rax', '480fc8', 0x0102_0304_0506_0708n, 0n, 0x0807_0605_0403_0201n, undefined],
  ])('%s', (_text, hex, rax, rcx, expected, flags) => {
    const machine = machineWith({ [RAX]: BigInt.asUintN(64, rax), [RCX]: rcx }, 0x001);

    expect(execute(machine, hex).kind).toBe('next');
    expect(machine.registers[RAX]).toBe(expected);
    if (flags !== undefined) expect(machine.flags & STATUS_FLAGS & ~0x10).toBe(flags & ~0x10);
  });
});

test('inc keeps CF and dec too', () => {
  const machine = machineWith({ [RAX]: 0xffn }, 0x001);

  execute(machine, 'fec0');
  expect(machine.registers[RAX]).toBe(0n);
  expect(machine.flags & STATUS_FLAGS).toBe(0x055);
  execute(machine, 'fec8');
  expect(machine.flags & 0x001).toBe(1);
});

test("mul and div are each other's inverse", () => {
  const machine = machineWith({ [RAX]: 0x1234_5678_9abc_def0n, [RCX]: 0xfedc_ba98_7654_3210n });

  execute(machine, '48f7e1');
  const high = machine.registers[RDX];
  execute(machine, '48f7f1');

  expect(high).toBe((0x1234_5678_9abc_def0n * 0xfedc_ba98_7654_3210n) >> 64n);
  expect(machine.registers[RAX]).toBe(0x1234_5678_9abc_def0n);
  expect(machine.registers[RDX]).toBe(0n);
});

test('division by zero and a quotient that is too large are #DE, and change nothing', () => {
  const machine = machineWith({ [RAX]: 7n, [RDX]: 1n, [RCX]: 1n });

  expect(execute(machine, '48f7f1').kind).toBe('pending');
  expect(machine.fault).toBe('DE');
  expect([machine.registers[RAX], machine.registers[RDX], machine.rip]).toEqual([7n, 1n, 0x100n]);
});

test('push stores below RSP, and a push that faults leaves RSP alone', () => {
  const machine = machineWith({ [RAX]: 0x1122n, [RSP]: 0x1000n });
  execute(machine, '50');
  expect(machine.registers[RSP]).toBe(0xff8n);
  expect(machine.memory[0xff8]).toBe(0x22);

  const faulting = machineWith({ [RSP]: 0x1_0000n });
  expect(execute(faulting, '50').kind).toBe('pending');
  expect(faulting.registers[RSP]).toBe(0x1_0000n);
});

test('pop [rsp] computes its address after RSP has moved', () => {
  const machine = machineWith({ [RSP]: 0x1000n });
  machine.memory[0x1000] = 0x5a;

  execute(machine, '8f0424');
  expect(machine.registers[RSP]).toBe(0x1008n);
  expect(machine.memory[0x1008]).toBe(0x5a);
});

test('call pushes the next address and jumps, ret comes back', () => {
  const machine = machineWith({ [RSP]: 0x1000n });

  expect(execute(machine, 'e810000000').kind).toBe('jumped');
  expect(machine.rip).toBe(0x115n);
  execute(machine, 'c3');
  expect(machine.rip).toBe(0x105n);
  expect(machine.registers[RSP]).toBe(0x1000n);
});

test.each([
  ['jl when SF and OF differ', '7c10', 0x080, 0x112n],
  ['jl when they agree', '7c10', 0x880, 0x102n],
  ['ja needs CF and ZF clear', '7710', 0x040, 0x102n],
  ['jp', '7a10', 0x004, 0x112n],
])('%s', (_name, hex, flags, rip) => {
  const machine = machineWith({}, flags);
  execute(machine, hex);
  expect(machine.rip).toBe(rip);
});

test('rep movsb goes one element at a time and can be interrupted between them', () => {
  const machine = machineWith({ [RCX]: 2n, [RSI]: 0x10n, [RDI]: 0x20n });
  machine.memory.set([0xaa, 0xbb], 0x10);

  expect(execute(machine, 'f3a4').kind).toBe('again');
  expect([machine.registers[RCX], machine.registers[RSI], machine.rip]).toEqual([
    1n,
    0x11n,
    0x100n,
  ]);
  expect(execute(machine, 'f3a4').kind).toBe('next');
  expect([...machine.memory.slice(0x20, 0x22)]).toEqual([0xaa, 0xbb]);
});

test('a jump to a non-canonical address is #GP at the jump', () => {
  const machine = machineWith({ [RAX]: 0x8000_0000_0000_0000n });

  expect(execute(machine, 'ffe0').kind).toBe('pending');
  expect(machine.fault).toBe('GP');
  expect(machine.rip).toBe(0x100n);
});

test('a system instruction asks for its operation with its arguments', () => {
  const machine = machineWith({ [RDX]: 0x3f8n });

  expect(execute(machine, '0fa2')).toEqual({ kind: 'operation', operation: 'cpuid', args: [] });
  expect(execute(machine, 'ec')).toEqual({
    kind: 'operation',
    operation: 'portIn',
    args: [0x3f8n, 8n],
  });
  expect(execute(machine, '0f22d8')).toEqual({
    kind: 'operation',
    operation: 'writeControlRegister',
    args: [3n, 0n, 0n],
  });
});

test('an encoding without a meaning here is #UD', () => {
  const machine = machineWith({});
  expect(execute(machine, '0f58c1').kind).toBe('pending');
  expect(machine.fault).toBe('UD');
});

test('an instruction of more than 15 bytes is too long', () => {
  const bytes = Uint8Array.from([...new Array<number>(15).fill(0x2e), 0x90]);
  expect(decode(bytes, 0, 0n, 64)).toBe('tooLong');
  expect(decode(bytes.subarray(0, 14), 0, 0n, 64)).toBe('truncated');
});
