/** How VM entry fails: by bad controls, and by bad guest state. */
import { beforeEach, expect, test } from 'vitest';
import { WINDOW_BYTES } from './cpu/state.ts';
import { createGuestProcessor } from './guest-processor.ts';
import type { XenVcpu } from './hypervisor/domain.ts';
import { FIELD, type Hardware } from './hypervisor/hardware.ts';
import type { Hypervisor } from './hypervisor/hypervisor.ts';
import { setUpVcpu } from './hypervisor/vcpu-setup.ts';
import { createVmxHardware } from './hypervisor/vmx-hardware.ts';
import type { Maddr } from './memory/addresses.ts';
import { createMachineMemory } from './memory/machine-memory.ts';
import { vmcsEncodingOf } from './vmx/vmcs-fields.ts';

let hardware: Hardware;
const field = (name: string): bigint => hardware.read(vmcsEncodingOf(name));

beforeEach(() => {
  const memory = createMachineMemory(0x1_0000);
  hardware = createVmxHardware(
    memory,
    createGuestProcessor(memory, { isInterested: () => false, tell: () => undefined }),
  );
  const vcpu = {
    id: 0,
    vmcs: 0x1000,
    window: new Uint8Array(WINDOW_BYTES),
    domain: { id: 1, p2m: { eptPointer: 0x2000 | 0x1e } },
  } as unknown as XenVcpu;
  hardware.load(vcpu);
  hardware.prepareVmcs(vcpu);
  setUpVcpu({ hardware } as Hypervisor, vcpu, 0x3000 as Maddr, 0x10_0000, 0);
});

test('the state that a domain starts with is entered', () => {
  expect(hardware.enter()).toBeUndefined();
  expect(hardware.run(1)).toBe('exit');
  expect(field('EXIT_REASON')).toBe(48n);
});

test('bad controls are VMfailValid with error 7: there is no VM exit', () => {
  hardware.write(FIELD.VPID, 0n);
  expect(hardware.enter()).toContain('VPID');
  expect([field('VM_INSTRUCTION_ERROR'), field('EXIT_REASON')]).toEqual([7n, 0n]);
});

test('bad guest state is a VM exit with bit 31 of its reason set', () => {
  hardware.write(FIELD.VMCS_LINK_POINTER, 0n);
  expect(hardware.enter()).toBeUndefined();
  expect(hardware.run(1)).toBe('exit');
  expect([field('EXIT_REASON'), field('EXIT_QUALIFICATION')]).toEqual([0x8000_0021n, 4n]);
  hardware.write(FIELD.VMCS_LINK_POINTER, 0xffff_ffff_ffff_ffffn);
  expect(hardware.enter()).toBeUndefined();
  expect(hardware.run(1)).toBe('exit');
  expect(field('EXIT_REASON')).toBe(48n);
});

test('the PDPTE registers are loaded from memory without EPT, and checked', () => {
  hardware.write(FIELD.PRIMARY_CONTROLS, 0x0400_6172n);
  hardware.write(FIELD.GUEST_CR0, 0x8000_0031n);
  hardware.write(FIELD.GUEST_CR4, 0x2020n);
  hardware.write(FIELD.GUEST_CR3, 0x5000n);
  hardware.memory.view.setBigUint64(0x400_5008, 0x6001n, true);
  expect(hardware.enter()).toBeUndefined();
  expect(field('GUEST_PDPTE1')).toBe(0x6001n);
  hardware.memory.view.setBigUint64(0x400_5008, 0x6003n, true);
  hardware.write(FIELD.GUEST_CR3, 0x5000n);
  expect(hardware.enter()).toBeUndefined();
  expect(hardware.run(1)).toBe('exit');
  expect([field('EXIT_REASON'), field('EXIT_QUALIFICATION')]).toEqual([0x8000_0021n, 2n]);
});

test('without "load IA32_EFER" long mode follows the control "IA-32e mode guest"', () => {
  hardware.write(FIELD.ENTRY_CONTROLS, 0x11ffn | (1n << 9n));
  hardware.write(FIELD.GUEST_CR0, 0x8000_0031n);
  hardware.write(FIELD.GUEST_CR4, 0x2020n);
  expect(hardware.enter()).toBeUndefined();
  expect(field('GUEST_IA32_EFER')).toBe(0x500n);
});
