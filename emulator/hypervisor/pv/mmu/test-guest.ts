/**
 * For tests: a PV domain with page tables, that makes hypercalls from its kernel. Its frames 0 to 3
 * are its tables, L4 to L1; the others are mapped writable at 4096 times their number.
 */
import { CODE_WIDTH, registerSlot } from '../../../cpu/state.ts';
import { decodeHypercall, performHypercall } from '../../hypercalls/dispatch.ts';
import { writeNumber } from '../../hypercalls/hypercall.ts';
import { copyFromGuest, copyToGuest } from '../../hypervisor.ts';
import { setPvRegisters } from '../pv-registers.ts';
import { createTestMachine, type TestDomain, type TestMachine } from './test-machine.ts';

const ARGUMENTS = [7, 6, 2, 10, 8];
/** Present, writable, user. */
const TABLE = 7n;
const WRITABLE = 3n;
const L4 = 4;
export const DOMID_SELF = 0x7ff0;

export interface TestGuest extends TestDomain {
  readonly machine: TestMachine;
  /** mfn of a frame of its own, by gfn. */
  mfn(gfn: number): number;
  /** An entry that maps an own frame. */
  entry(gfn: number, bits: bigint): bigint;
  linear(gfn: number): bigint;
  /** Makes a hypercall; RAX. Long ones are made again until they are finished. */
  call(number: number, ...args: readonly (number | bigint)[]): number;
  /** Puts numbers of [bytes] each into memory, one after the other. */
  put(
    linear: bigint,
    ...values: readonly (readonly [bytes: number, value: number | bigint])[]
  ): void;
  peek(linear: bigint, lengthBytes?: number): bigint;
}

/** Adds a guest to a machine, and runs it on its tables; frames from `mapped` on are not mapped. */
export const addTestGuest = (
  machine: TestMachine,
  id: number,
  pages: number,
  mapped = pages,
): TestGuest => {
  const { paging, hypervisor } = machine;
  const { hardware } = hypervisor;
  const added = machine.addDomain(id, pages);
  const { vcpu } = added;
  const mfn = (gfn: number): number => added.mfns[gfn] ?? 0;
  const entry = (gfn: number, bits: bigint): bigint => (BigInt(mfn(gfn)) << 12n) | bits;
  for (const level of [0, 1, 2]) machine.write(mfn(level), 0, entry(level + 1, TABLE));
  for (let gfn = 4; gfn < Math.min(mapped, 512); gfn += 1) {
    machine.write(mfn(3), gfn, entry(gfn, WRITABLE));
  }
  const load = (): void => {
    if (hardware.loaded !== vcpu) hardware.load(vcpu);
  };
  load();
  setPvRegisters(hardware, vcpu);
  hardware.setSlot(vcpu, CODE_WIDTH, 64n);
  const problem = paging.pin(vcpu, mfn(0), L4) ?? paging.setKernelRoot(vcpu, mfn(0));
  if (problem !== undefined) throw new Error(`The guest's tables are refused: ${problem}.`);
  const perform = (): bigint => {
    for (;;) {
      const result = performHypercall(decodeHypercall(hypervisor, vcpu));
      if (result !== undefined) return result;
    }
  };
  return {
    ...added,
    machine,
    mfn,
    entry,
    linear: (gfn) => BigInt(gfn) * 4096n,
    call(number, ...args) {
      load();
      hardware.setSlot(vcpu, registerSlot(0), BigInt(number));
      ARGUMENTS.forEach((register, index) => {
        hardware.setSlot(
          vcpu,
          registerSlot(register),
          BigInt.asUintN(64, BigInt(args[index] ?? 0)),
        );
      });
      return Number(BigInt.asIntN(64, perform()));
    },
    put(linear, ...values) {
      const bytes = new Uint8Array(values.reduce((sum, [lengthBytes]) => sum + lengthBytes, 0));
      let at = 0;
      for (const [lengthBytes, value] of values) {
        writeNumber(bytes, at, lengthBytes, BigInt.asUintN(64, BigInt(value)));
        at += lengthBytes;
      }
      if (!copyToGuest(hypervisor, vcpu, linear, bytes))
        throw new Error(`${linear}: not writable.`);
    },
    peek(linear, lengthBytes = 8) {
      const bytes = copyFromGuest(hypervisor, vcpu, linear, lengthBytes);
      if (bytes === undefined) throw new Error(`${linear} is not mapped.`);
      return bytes.reduceRight((value, byte) => (value << 8n) | BigInt(byte), 0n);
    },
  };
};

/** A machine with one such guest of 32 frames. */
export const createTestGuest = (pages = 32): TestGuest =>
  addTestGuest(createTestMachine(), 1, pages);
