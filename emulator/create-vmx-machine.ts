/** The machine as users get it: the hypervisor on the VMX processor of this emulator. */
import { exceptionOf } from '../isa/index.ts';
import { FAULT_ADDRESS } from './cpu/state.ts';
import { createMachineOn } from './create-machine.ts';
import type { EventStream } from './events.ts';
import { createGuestProcessor, type ExceptionObserver } from './guest-processor.ts';
import { FIELD, type Hardware } from './hypervisor/hardware.ts';
import { createVmxHardware } from './hypervisor/vmx-hardware.ts';
import type { EngineName, Machine, MachineConfig } from './machine.ts';
import type { MachineMemory } from './memory/machine-memory.ts';

const PAGE_FAULT = 14;

const createHardware = (
  memory: MachineMemory,
  events: EventStream,
  engine: EngineName | undefined,
): Hardware => {
  const observer: ExceptionObserver = {
    isInterested: () => events.wants('exception'),
    tell(vector, errorCode) {
      const vcpu = hardware.loaded;
      if (vcpu === undefined || !events.wants('exception')) return undefined;
      return events.emit({
        kind: 'exception',
        domain: vcpu.domain.id,
        vcpu: vcpu.id,
        retired: vcpu.retired + processor.retired,
        timeNs: vcpu.clockNs + processor.retired,
        rip: hardware.read(FIELD.GUEST_RIP),
        vector,
        name: exceptionOf(vector)?.name ?? `${vector}`,
        errorCode,
        address: vector === PAGE_FAULT ? hardware.slot(vcpu, FAULT_ADDRESS) : undefined,
      });
    },
  };
  const processor = createGuestProcessor(memory, observer, engine);
  const hardware = createVmxHardware(memory, processor);
  return hardware;
};

/** A machine with its domains built, ready to run. Errors: MachineConfigError, ProgramError. */
export const createMachine = (config: MachineConfig): Machine =>
  createMachineOn((memory, events) => createHardware(memory, events, config.engine), config);
