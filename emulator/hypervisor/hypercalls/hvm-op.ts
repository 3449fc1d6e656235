/**
 * Parameters of the domain, and the upcall vector. Source: Xen public/hvm/hvm_op.h, hvm/params.h.
 */
import type { XenVcpu } from '../domain.ts';
import { UPCALL } from '../event-channels.ts';
import { endDomain, type Hypervisor, ownDomain } from '../hypervisor.ts';
import { defineHypercall } from './hypercall.ts';

const HVM_PARAM_CALLBACK_IRQ = 0;
const HVM_NR_PARAMS = 39n;
/** Parameters that are no longer, or were never, there. */
const ABSENT: ReadonlySet<number> = new Set([4, 13, 20, 21, 22, 23, 24, 25, 26, 30]);
/** Those that a guest may set: callback, TSS, event channels, generation id, width of FIP. */
const WRITABLE: ReadonlySet<number> = new Set([0, 2, 15, 18, 19, 34, 36, 37]);
/** Those that it may only read: ring pages, alternate P2M. All others are the toolstack's. */
const READ_ONLY: ReadonlySet<number> = new Set([1, 17, 35]);
const HVM_PARAM_ACPI_IOPORTS_LOCATION = 19;
const HVM_PARAM_VM86_TSS_SIZED = 37;
/** A 32-bit task-state segment. */
const TSS_BYTES = 104n;
const CALLBACK_TYPE_SHIFT = 56n;
const CALLBACK_TYPE_VECTOR = 2n;
const LOWEST_VECTOR = 0x10n;
const common = { number: 34, source: 'Xen public/hvm/hvm_op.h' } as const;
const PARAM = { domid: 'u16', index: 'u32', value: 'u64' } as const;

/** The domain that is named, as ownDomain gives it; EINVAL for a PV domain. */
const hvmDomain = (hypervisor: Hypervisor, vcpu: XenVcpu, domid: bigint) => {
  const domain = ownDomain(hypervisor, vcpu, domid);
  return typeof domain === 'string' || domain.type !== 'pv' ? domain : 'EINVAL';
};

const isThere = (index: bigint): boolean => index < HVM_NR_PARAMS && !ABSENT.has(Number(index));

export const hvmSetParam = defineHypercall({
  ...common,
  name: 'HVMOP_set_param',
  command: 0,
  title: 'Set a parameter of the domain',
  argument: PARAM,
  handle({ hypervisor, vcpu }, { domid, index, value }) {
    const domain = hvmDomain(hypervisor, vcpu, domid);
    if (typeof domain === 'string') return domain;
    if (!isThere(index)) return 'EINVAL';
    if (!WRITABLE.has(Number(index))) return 'EPERM';
    // A PVH domain has no power-management timer, whose ports could move.
    if (Number(index) === HVM_PARAM_ACPI_IOPORTS_LOCATION) return 'ENODEV';
    if (Number(index) === HVM_PARAM_VM86_TSS_SIZED && value >> 32n < TSS_BYTES) {
      endDomain(
        hypervisor,
        vcpu,
        'crash',
        `HVM_PARAM_VM86_TSS_SIZED has a size of ${value >> 32n} bytes; a TSS has ${TSS_BYTES}.`,
      );
      return 'EINVAL';
    }
    if (Number(index) === HVM_PARAM_CALLBACK_IRQ) {
      const isVector = value >> CALLBACK_TYPE_SHIFT === CALLBACK_TYPE_VECTOR;
      domain.callbackVector = isVector ? Number(value & 0xffn) : 0;
    }
    domain.params.set(Number(index), value);
    return 0;
  },
});

export const hvmGetParam = defineHypercall({
  ...common,
  name: 'HVMOP_get_param',
  command: 1,
  title: 'Tell a parameter of the domain',
  argument: PARAM,
  handle({ hypervisor, vcpu }, fields) {
    const domain = hvmDomain(hypervisor, vcpu, fields.domid);
    if (typeof domain === 'string') return domain;
    if (!isThere(fields.index)) return 'EINVAL';
    const index = Number(fields.index);
    if (!WRITABLE.has(index) && !READ_ONLY.has(index)) return 'EPERM';
    fields.value = domain.params.get(Number(fields.index)) ?? 0n;
    return 0;
  },
});

export const hvmSetUpcallVector = defineHypercall({
  ...common,
  name: 'HVMOP_set_evtchn_upcall_vector',
  command: 23,
  title: "Set a vCPU's own upcall vector",
  argument: { vcpu: 'u32', vector: 'u8' },
  handle({ vcpu }, fields) {
    if (vcpu.domain.type === 'pv') return 'EINVAL';
    const target = vcpu.domain.vcpus[Number(fields.vcpu)];
    if (target === undefined) return 'ENOENT';
    if (fields.vector < LOWEST_VECTOR) return 'EINVAL';
    target.upcallVector = Number(fields.vector);
    target.apic?.request(target.upcallVector, UPCALL);
    return 0;
  },
});
