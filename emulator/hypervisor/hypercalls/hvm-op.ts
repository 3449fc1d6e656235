/**
 * Parameters of the domain, and the upcall vector. Source: Xen public/hvm/hvm_op.h, hvm/params.h.
 */
import { selfOf } from '../hypervisor.ts';
import { defineHypercall } from './hypercall.ts';

const HVM_PARAM_CALLBACK_IRQ = 0;
const HVM_NR_PARAMS = 39n;
/** Parameters that the guest may only read. */
const READ_ONLY = new Set([1, 2, 12, 17, 18]);
const CALLBACK_TYPE_SHIFT = 56n;
const CALLBACK_TYPE_VECTOR = 2n;
const LOWEST_VECTOR = 0x10n;
const common = { number: 34, source: 'Xen public/hvm/hvm_op.h' } as const;
const PARAM = { domid: 'u16', index: 'u32', value: 'u64' } as const;

export const hvmSetParam = defineHypercall({
  ...common,
  name: 'HVMOP_set_param',
  command: 0,
  title: 'Set a parameter of the domain',
  argument: PARAM,
  handle({ vcpu }, { domid, index, value }) {
    const domain = selfOf(vcpu, Number(domid));
    if (domain === undefined) return 'EPERM';
    if (index >= HVM_NR_PARAMS) return 'EINVAL';
    if (READ_ONLY.has(Number(index))) return 'EPERM';
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
  handle({ vcpu }, fields) {
    const domain = selfOf(vcpu, Number(fields.domid));
    if (domain === undefined) return 'EPERM';
    if (fields.index >= HVM_NR_PARAMS) return 'EINVAL';
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
    const target = vcpu.domain.vcpus[Number(fields.vcpu)];
    if (target === undefined) return 'ENOENT';
    if (fields.vector < LOWEST_VECTOR) return 'EINVAL';
    target.upcallVector = Number(fields.vector);
    return 0;
  },
});
