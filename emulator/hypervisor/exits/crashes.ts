/**
 * Exits after which a domain can not go on: triple fault, EPT misconfiguration, invalid guest
 * state. Sources: SDM Vol. 3C 25.2, 26.7, 28.3.3.1.
 */
import { objectionToGuestState } from '../../vmx/entry.ts';
import { FIELD } from '../hardware.ts';
import { endDomain } from '../hypervisor.ts';
import { type ExitHandler, hex, readField, step } from './exit.ts';

export const tripleFault: ExitHandler = {
  number: 2,
  *handle(context) {
    const rip = readField(context, FIELD.GUEST_RIP);
    yield step(
      'End the domain',
      () => 'a fault, while #DF was being delivered: the processor shut down',
    );
    endDomain(
      context.hypervisor,
      context.vcpu,
      'triple-fault',
      `vCPU ${context.vcpu.id} of domain ${context.vcpu.domain.id} had a triple fault at RIP ${hex(rip)}: an exception could not be delivered, nor the double fault after it.`,
    );
  },
};

export const eptMisconfiguration: ExitHandler = {
  number: 49,
  *handle(context) {
    const gpa = readField(context, FIELD.GUEST_PHYSICAL_ADDRESS);
    yield step('End the domain', () => `the EPT entries of gpa ${hex(gpa)} are not valid`);
    endDomain(
      context.hypervisor,
      context.vcpu,
      'crash',
      `The EPT entries of guest-physical address ${hex(gpa)} are misconfigured.`,
    );
  },
};

export const invalidGuestState: ExitHandler = {
  number: 33,
  *handle(context) {
    const { hypervisor, vcpu, qualification } = context;
    const words =
      objectionToGuestState(hypervisor.hardware.read) ??
      `the guest state is not valid (qualification ${hex(qualification)}).`;
    yield step('End the domain', () => `the checks of VM entry refused the guest state: ${words}`);
    endDomain(
      hypervisor,
      vcpu,
      'crash',
      `VM entry failed: the guest state of vCPU ${vcpu.id} is not valid. ${words}`,
    );
  },
};
