/**
 * HLT gives the pCPU to others until an event comes. With interrupts off no event can come, so the
 * vCPU is down; a domain whose vCPUs are all down has powered off (Xen, hvm_hlt and hvm_vcpu_down).
 */
import { isBlockOver } from '../event-channels.ts';
import { FIELD, RFLAGS_IF } from '../hardware.ts';
import { endDomain } from '../hypervisor.ts';
import { advance, advanceStep, type ExitHandler, readField, step } from './exit.ts';

export const hlt: ExitHandler = {
  number: 12,
  *handle(context) {
    const { hypervisor, vcpu } = context;
    yield advanceStep(context);
    advance(context);
    if ((readField(context, FIELD.GUEST_RFLAGS) & RFLAGS_IF) === 0n) {
      yield step('Take the vCPU down', () => 'RFLAGS.IF is 0: nothing can wake it.');
      vcpu.state = 'offline';
      hypervisor.yieldRequested = true;
      if (vcpu.domain.vcpus.every(({ state }) => state === 'offline')) {
        endDomain(
          hypervisor,
          vcpu,
          'poweroff',
          `Domain ${vcpu.domain.id} executed HLT with interrupts disabled on its last vCPU.`,
        );
      }
      return;
    }
    if (isBlockOver(hypervisor, vcpu)) return;
    yield step('Block the vCPU', () => 'It runs again when an event or an interrupt comes.');
    vcpu.state = 'blocked';
    hypervisor.yieldRequested = true;
  },
};
