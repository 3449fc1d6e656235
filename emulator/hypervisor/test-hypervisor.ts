/**
 * For tests: a hypervisor with domains that call it, without a processor.
 */
import { registerSlot } from '../cpu/state.ts';
import { EventStream } from '../events.ts';
import { createMachineMemory } from '../memory/machine-memory.ts';
import { buildDomain } from './build-domain.ts';
import { createHypervisor } from './create-hypervisor.ts';
import { createDom0 } from './dom0/dom0.ts';
import type { XenDomain } from './domain.ts';
import { decodeHypercall, performHypercall } from './hypercalls/dispatch.ts';
import { readNumber, writeNumber } from './hypercalls/hypercall.ts';
import { copyFromGuest, copyToGuest, type Hypervisor } from './hypervisor.ts';
import { createMsrBitmap } from './vcpu-setup.ts';
import { createVmxHardware } from './vmx-hardware.ts';

/** Where `call` puts structures. */
export const ARGUMENT = 0x2000;

/** A hypervisor with `count` small domains, whose processor runs nothing. */
export const buildHypervisor = (count = 1, { withDom0 = true } = {}) => {
  const memory = createMachineMemory(24 << 20);
  const hardware = createVmxHardware(memory, {
    enter: () => undefined,
    run: () => 'budget',
    step: () => 'budget',
    retired: 0,
    setTsc: () => {},
    invalidateTranslations: () => {},
    noteWrite: () => {},
    setBreakpoints: () => {},
    windowChanged: () => {},
  });
  const hypervisor = createHypervisor(hardware, new EventStream());
  hypervisor.nowNs = 1000;
  const bitmap = createMsrBitmap(hardware, hypervisor.frames);
  if (withDom0) createDom0(hypervisor);
  const config = { name: 'test', program: new Uint8Array(16), memoryBytes: 4 << 20 };
  const domains = Array.from({ length: count }, (_, index) =>
    buildDomain(hypervisor, index + 1, { ...config, name: `test${index}` }, bitmap),
  );
  return { hypervisor, domains };
};

/** Calls by the 32-bit convention, with a structure of [offset, bytes, value] as second argument. */
export const call = (
  hypervisor: Hypervisor,
  domain: XenDomain | undefined,
  number: number,
  args: readonly number[],
  structure: readonly (readonly [number, number, number])[] = [],
): number => {
  const vcpu = domain?.vcpus[0];
  if (vcpu === undefined) throw new Error('no such domain');
  const { hardware } = hypervisor;
  if (hardware.loaded !== vcpu) hardware.load(vcpu);
  const bytes = new Uint8Array(64);
  for (const [offset, size, value] of structure) writeNumber(bytes, offset, size, BigInt(value));
  copyToGuest(hypervisor, vcpu, BigInt(ARGUMENT), bytes);
  hardware.setSlot(vcpu, registerSlot(0), BigInt(number));
  [3, 1, 2, 6, 7].forEach((register, index) => {
    hardware.setSlot(vcpu, registerSlot(register), BigInt(args[index] ?? 0));
  });
  return Number(BigInt.asIntN(64, performHypercall(decodeHypercall(hypervisor, vcpu)) ?? 0n));
};

/** A 32-bit field of the structure, after the call. */
export const field = (
  hypervisor: Hypervisor,
  domain: XenDomain | undefined,
  offset: number,
): number => {
  const vcpu = domain?.vcpus[0];
  const bytes = vcpu && copyFromGuest(hypervisor, vcpu, BigInt(ARGUMENT + offset), 4);
  return Number(readNumber(bytes ?? new Uint8Array(4), 0, 4));
};
