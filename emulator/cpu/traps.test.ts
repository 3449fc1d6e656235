import { expect, test } from 'vitest';
import { createGuestProcessor } from '../guest-processor.ts';
import type { EngineName } from '../machine.ts';
import type { Maddr } from '../memory/addresses.ts';
import { createMachineMemory, hostAddressOf } from '../memory/machine-memory.ts';
import * as state from './state.ts';

const TABLES = 0x1000;
const CODE = 0x1_0000;
const UNMAPPED = 0x9000;
const USER = 7n;

/** A program in ring 3 at CODE, in the first page tables; runs it to its trap. */
const trapOf = (engine: EngineName, code: readonly number[]) => {
  const memory = createMachineMemory(0x4_0000);
  const { quads, bytes, view } = memory;
  const slot = (table: number, index: number) => hostAddressOf((table + index * 8) as Maddr) >>> 3;
  for (let level = 0; level < 3; level += 1) {
    quads[slot(TABLES * (level + 1), 0)] = BigInt(TABLES * (level + 2)) | USER;
  }
  quads[slot(TABLES * 4, CODE >> 12)] = BigInt(CODE) | USER;
  bytes.set(code, hostAddressOf(CODE as Maddr));
  const processor = createGuestProcessor(
    memory,
    { isInterested: () => false, tell: () => undefined },
    engine,
  );
  const set = (at: number, value: bigint) => view.setBigUint64(at, value, true);
  set(state.CR0, 0x8005_0033n);
  set(state.CR3, BigInt(TABLES));
  set(state.CR4, 0x20n);
  set(state.EFER, 0xd01n);
  set(state.RIP, BigInt(CODE));
  set(state.RFLAGS_REST, 0x202n);
  set(state.FLAG_RESULT, 1n);
  set(state.segmentSelector(state.CS), 0xe033n);
  set(state.segmentAccess(state.CS), 0xa0fbn);
  set(state.segmentAccess(state.SS), 0xc0f3n);
  processor.windowChanged();
  processor.resume?.();
  const stop = processor.run(100);
  return {
    stop,
    retired: processor.retired,
    ...processor.trap,
    rip: Number(view.getBigUint64(state.RIP, true)) - CODE,
    rcx: Number(view.getBigUint64(state.registerSlot(1), true)) - CODE,
    resumes: (view.getUint32(state.RFLAGS_REST, true) & 0x1_0000) !== 0,
  };
};

const NOP = 0x90;

test.each(['reference', 'interpreter'] as const)('what enters the hypervisor: %s', (engine) => {
  expect(trapOf(engine, [NOP, 0x0f, 0x05])).toMatchObject({
    stop: 'trap',
    kind: 'syscall',
    retired: 1,
    rip: 3,
    rcx: 3,
    resumes: false,
  });
  expect(trapOf(engine, [NOP, 0x0f, 0xa2]), 'CPUID faults').toMatchObject({
    kind: 'exception',
    vector: 13,
    errorCode: 0,
    rip: 1,
    resumes: true,
  });
  expect(trapOf(engine, [0xf4]), 'HLT').toMatchObject({ vector: 13, errorCode: 0, rip: 0 });
  expect(trapOf(engine, [0xcc])).toMatchObject({ kind: 'software-interrupt', vector: 3, rip: 1 });
  expect(trapOf(engine, [0xcd, 0x80])).toMatchObject({
    kind: 'software-interrupt',
    vector: 0x80,
    rip: 2,
  });
  expect(trapOf(engine, [0xcd, 0x21]), 'a gate of DPL 0').toMatchObject({
    kind: 'exception',
    vector: 13,
    errorCode: 0x21 * 8 + 2,
    rip: 0,
  });
  // mov [UNMAPPED], al
  expect(
    trapOf(engine, [NOP, 0x88, 0x04, 0x25, ...[UNMAPPED & 0xff, UNMAPPED >> 8, 0, 0]]),
  ).toMatchObject({ vector: 14, errorCode: 6, address: BigInt(UNMAPPED), rip: 1, retired: 1 });
  expect(trapOf(engine, [0x0f, 0x0b])).toMatchObject({ vector: 6, errorCode: undefined, rip: 0 });
});

test('an endless loop uses its budget up', () => {
  expect(trapOf('interpreter', [0xeb, 0xfe])).toMatchObject({ stop: 'budget', retired: 100 });
});
