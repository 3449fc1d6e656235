/**
 * The local APICs of a domain's vCPUs: each works on its vCPU's registers, and IPIs go from one to
 * others. Only fixed IPIs arrive: vCPUs are brought up by VCPUOP_up, so that INIT, SIPI, SMI and NMI
 * are lost.
 */
import { APIC_BASE, CR8 } from '../cpu/state.ts';
import {
  APIC_PAGE,
  type ApicState,
  BASE_BSP,
  BASE_ENABLE,
  type Ipi,
  LocalApic,
} from '../devices/local-apic.ts';
import type { XenDomain, XenVcpu } from './domain.ts';
import type { Hypervisor } from './hypervisor.ts';

/** CPUID leaf 1 tells the same: Xen numbers APICs by twos. */
export const apicIdOf = ({ id }: XenVcpu): number => id * 2;

/** Gives each vCPU of a domain its local APIC, as after reset. */
export const addLocalApics = (hypervisor: Hypervisor, domain: XenDomain): void => {
  for (const vcpu of domain.vcpus) {
    const base = BigInt(APIC_PAGE) | BASE_ENABLE | (vcpu.id === 0 ? BASE_BSP : 0n);
    hypervisor.hardware.setSlot(vcpu, APIC_BASE, base);
    vcpu.apic = createApic(hypervisor, vcpu);
  }
  hypervisor.parts.set(`local APICs of domain ${domain.id}`, {
    save: () => domain.vcpus.map(({ apic }) => apic?.save() ?? null) as never,
    restore: (saved) => {
      (saved as unknown as ApicState[]).forEach((state, index) => {
        domain.vcpus[index]?.apic?.restore(state);
      });
    },
  });
};

const createApic = ({ hardware }: Hypervisor, vcpu: XenVcpu): LocalApic =>
  new LocalApic(apicIdOf(vcpu), {
    get base() {
      return hardware.slot(vcpu, APIC_BASE);
    },
    set base(value) {
      hardware.setSlot(vcpu, APIC_BASE, value);
    },
    get cr8() {
      return Number(hardware.slot(vcpu, CR8));
    },
    set cr8(value) {
      hardware.setSlot(vcpu, CR8, BigInt(value));
    },
    send: (ipi) => send(vcpu, ipi),
    requested() {
      if (vcpu.state === 'blocked' && vcpu.apic?.deliverable !== undefined) {
        vcpu.state = 'runnable';
      }
    },
  });

const send = (sender: XenVcpu, ipi: Ipi): void => {
  const { vcpus } = sender.domain;
  const targets = vcpus.filter((vcpu) => {
    // One that software has disabled takes no IPI (SDM Vol. 3A 10.4.7.2).
    if (vcpu.apic?.isEnabled !== true) return false;
    if (ipi.to === 'self') return vcpu === sender;
    if (ipi.to === 'others' && vcpu === sender) return false;
    return vcpu.state !== 'offline' && vcpu.apic?.matches(ipi) === true;
  });
  if (ipi.mode === 'fixed') for (const { apic } of targets) apic?.request(ipi.vector, 'IPI');
  if (ipi.mode === 'lowest priority') targets[0]?.apic?.request(ipi.vector, 'IPI');
};

/** When a vCPU's next timer is due: its single-shot timer, or that of its local APIC. */
export const nextTimerOf = ({ timerNs, apic }: XenVcpu): number | undefined => {
  const next = apic?.nextNs;
  if (next === undefined) return timerNs;
  return timerNs === undefined ? next : Math.min(timerNs, next);
};
