/** VM exits and their information, on a VMCS in a small memory. */
import { beforeEach, describe, expect, test } from 'vitest';
import type { OperationName } from '../../isa/index.ts';
import { type Cpu, setQuad, setWord } from '../cpu/cpu.ts';
import { operationOf } from '../cpu/operations/catalog.ts';
import { noSecondStage } from '../cpu/paging.ts';
import { OUTCOME } from '../cpu/processor.ts';
import * as state from '../cpu/state.ts';
import type { Maddr } from '../memory/addresses.ts';
import { createMachineMemory, hostAddressOf } from '../memory/machine-memory.ts';
import { exitReasonOf } from './exit-reasons.ts';
import { createGuestOperation, type GuestOperation } from './non-root.ts';
import { clearVmcs } from './vmcs.ts';
import { vmcsEncodingOf } from './vmcs-fields.ts';

const memory = createMachineMemory(0x1_0000);
const VMCS = 0x1000 as Maddr;
const PRIMARY = vmcsEncodingOf('PRIMARY_PROCESSOR_BASED_CONTROLS');
const SECONDARY = vmcsEncodingOf('SECONDARY_PROCESSOR_BASED_CONTROLS');

let cpu: Cpu;
let guest: GuestOperation;

const read = (name: string) => guest.read(vmcsEncodingOf(name));
const write = (name: string, value: bigint) => guest.write(vmcsEncodingOf(name), value);
const intercepts = (name: OperationName, ...args: readonly (number | bigint)[]) =>
  guest.nonRoot.intercepts(name, args.map(BigInt));
const reason = () => exitReasonOf(Number(read('EXIT_REASON')))?.name;

beforeEach(() => {
  memory.bytes.fill(0, state.WINDOW, state.WINDOW + state.WINDOW_BYTES);
  memory.bytes.fill(0, hostAddressOf(0 as Maddr), hostAddressOf(0x1_0000 as Maddr));
  clearVmcs(memory, VMCS);
  cpu = {
    memory,
    stage: noSecondStage,
    nonRoot: undefined,
    instructionLength: 3,
    delivering: 0,
    deliveringErrorCode: 0,
    timeStamp: () => 1000n,
    invalidate: () => undefined,
  };
  setQuad(cpu, state.RFLAGS_REST, 2n);
  setWord(cpu, state.CODE_WIDTH, 32);
  guest = createGuestOperation(cpu, VMCS);
  cpu.nonRoot = guest.nonRoot;
  cpu.stage = guest.stage;
});

describe('operations', () => {
  test('CPUID always exits, with the length of the instruction', () => {
    expect(intercepts('cpuid')).toBe(true);
    expect([reason(), read('EXIT_INSTRUCTION_LENGTH')]).toEqual(['CPUID', 3n]);
  });

  test.each([
    ['hlt', 7],
    ['rdtsc', 12],
    ['pause', 30],
  ] as const)('%s exits if bit %d of the primary controls is set', (name, bit) => {
    expect(intercepts(name)).toBe(false);
    guest.write(PRIMARY, 1n << BigInt(bit));
    expect(intercepts(name)).toBe(true);
  });

  test('secondary controls count only if they are activated', () => {
    guest.write(SECONDARY, 1n << 6n);
    expect(intercepts('wbinvd')).toBe(false);
    guest.write(PRIMARY, 1n << 31n);
    expect(intercepts('wbinvd')).toBe(true);
  });

  test('a privileged instruction faults at level 3 before it would exit', () => {
    guest.write(PRIMARY, 1n << 7n);
    setWord(cpu, state.CPL, 3);
    expect(intercepts('hlt')).toBe(false);
  });

  test('with CR4.TSD set RDTSC faults at level 3 before it would exit', () => {
    guest.write(PRIMARY, 1n << 12n);
    setQuad(cpu, state.CR4, 4n);
    expect(intercepts('rdtsc')).toBe(true);
    setWord(cpu, state.CPL, 3);
    expect(intercepts('rdtsc')).toBe(false);
    expect(operationOf('rdtsc')(cpu, [])).toBe(OUTCOME.fault);
  });

  test('RDTSC adds the TSC offset if the control is set', () => {
    write('TSC_OFFSET', 500n);
    operationOf('rdtsc')(cpu, []);
    expect(memory.quads[state.registerSlot(0) >>> 3]).toBe(1000n);
    guest.write(PRIMARY, 1n << 3n);
    operationOf('rdtsc')(cpu, []);
    expect(memory.quads[state.registerSlot(0) >>> 3]).toBe(1500n);
  });

  test('an I/O exit tells port, size and direction', () => {
    guest.write(PRIMARY, 1n << 24n);
    expect(intercepts('portIn', 0x3f8, 16)).toBe(true);
    expect(read('EXIT_QUALIFICATION')).toBe(0x03f8_0009n);
  });

  test('the I/O bitmaps decide port by port', () => {
    guest.write(PRIMARY, 1n << 25n);
    write('IO_BITMAP_A', 0x2000n);
    write('IO_BITMAP_B', 0x3000n);
    memory.bytes[hostAddressOf((0x2000 + 0x60 / 8) as Maddr)] = 2;
    expect(intercepts('portIn', 0x60, 8)).toBe(false);
    expect(intercepts('portIn', 0x60, 16)).toBe(true);
  });

  test('a write to a bit of CR0 that the hypervisor owns exits', () => {
    write('CR0_GUEST_HOST_MASK', 8n);
    expect(intercepts('writeControlRegister', 0, 1, 2)).toBe(false);
    expect(intercepts('writeControlRegister', 0, 9, 2)).toBe(true);
    expect([reason(), read('EXIT_QUALIFICATION')]).toEqual(['CR_ACCESS', 0x200n]);
  });
});

describe('pending debug exceptions', () => {
  test('a single step that MOV SS holds back is saved by the exit', () => {
    setQuad(cpu, state.RFLAGS_REST, 0x102n);
    intercepts('cpuid');
    expect(read('GUEST_PENDING_DEBUG_EXCEPTIONS')).toBe(0n);
    setQuad(cpu, state.INTERRUPTIBILITY, 2n);
    intercepts('cpuid');
    expect(read('GUEST_PENDING_DEBUG_EXCEPTIONS')).toBe(0x4000n);
  });
});

describe('exceptions', () => {
  test('the exception bitmap selects, and the information names the exception', () => {
    write('EXCEPTION_BITMAP', 1n << 13n);
    expect(guest.nonRoot.interceptsException(6, undefined)).toBe(false);
    expect(guest.nonRoot.interceptsException(13, 0x18)).toBe(true);
    expect(read('EXIT_INTERRUPTION_INFORMATION')).toBe(0x8000_0b0dn);
    expect(read('EXIT_INTERRUPTION_ERROR_CODE')).toBe(0x18n);
  });

  test('the mask and match of page faults turn the bit of #PF around', () => {
    write('PAGE_FAULT_ERROR_CODE_MASK', 4n);
    write('PAGE_FAULT_ERROR_CODE_MATCH', 4n);
    expect(guest.nonRoot.interceptsException(14, 2)).toBe(true);
    expect(guest.nonRoot.interceptsException(14, 6)).toBe(false);
  });
});

describe('EPT', () => {
  const EPT_POINTER = 0x401en;
  beforeEach(() => {
    guest.write(PRIMARY, 1n << 31n);
    guest.write(SECONDARY, 2n);
    write('EPT_POINTER', EPT_POINTER);
  });

  test('a violation tells access, address and that the linear address is valid', () => {
    const access = { write: true, execute: false, user: false };
    expect(guest.stage.translate(0x5000, access, 0xabc000, false)).toBeUndefined();
    expect([reason(), read('EXIT_QUALIFICATION')]).toEqual(['EPT_VIOLATION', 0x182n]);
    expect([read('GUEST_PHYSICAL_ADDRESS'), read('GUEST_LINEAR_ADDRESS')]).toEqual([
      0x5000n,
      0xabc000n,
    ]);
  });

  test('loading the PDPTE registers has no linear address: bits 7 and 8 are clear', () => {
    setQuad(cpu, state.CR0, 0x8000_0001n);
    setQuad(cpu, state.CR4, 0x20n);
    expect(operationOf('writeControlRegister')(cpu, [3n, 0x6000n, 0n])).toBe(OUTCOME.exit);
    expect([reason(), read('EXIT_QUALIFICATION')]).toEqual(['EPT_VIOLATION', 1n]);
  });
});

test('MOV to CR3 loads the PDPTE registers, and refuses reserved bits', () => {
  setQuad(cpu, state.CR0, 0x8000_0001n);
  setQuad(cpu, state.CR4, 0x20n);
  memory.quads[hostAddressOf(0x6008 as Maddr) >>> 3] = 0x7001n;
  expect(operationOf('writeControlRegister')(cpu, [3n, 0x6000n, 0n])).toBe(OUTCOME.next);
  expect(read('GUEST_PDPTE1')).toBe(0x7001n);
  memory.quads[hostAddressOf(0x6000 as Maddr) >>> 3] = 0x7003n;
  expect(operationOf('writeControlRegister')(cpu, [3n, 0x6000n, 0n])).toBe(OUTCOME.fault);
});
