/**
 * The hypervisor's version and features. Source: Xen public/version.h, public/features.h.
 */
import { copyToGuest } from '../hypervisor.ts';
import { defineHypercall, type HypercallContext, type HypercallResult } from './hypercall.ts';

export const XEN_MAJOR = 4;
export const XEN_MINOR = 17;
const EXTRA_VERSION = '.0';
const CHANGE_SET = 'unavailable';
const CAPABILITIES = 'xen-3.0-x86_64 hvm-3.0-x86_32 hvm-3.0-x86_32p hvm-3.0-x86_64 ';

/**
 * XENFEAT_ bits of an HVM domain: writable_page_tables, auto_translated_physmap, hvm_callback_vector,
 * hvm_safe_pvclock, memory_op_vnode_supported, not_direct_mapped.
 */
const HVM_FEATURES = [0, 2, 8, 9, 13, 16].reduce((bits, bit) => bits | (1n << BigInt(bit)), 0n);
/**
 * Of a PV domain: pae_pgdir_above_4gb, mmu_pt_update_preserve_ad, highmem_assist,
 * gnttab_map_avail_bits, memory_op_vnode_supported.
 */
const PV_FEATURES = [4, 5, 6, 7, 13].reduce((bits, bit) => bits | (1n << BigInt(bit)), 0n);

/** A text of fixed size, with zeros behind it. */
const text = (
  { hypervisor, vcpu, args }: HypercallContext,
  value: string,
  sizeBytes: number,
): HypercallResult => {
  const bytes = new Uint8Array(sizeBytes);
  for (let index = 0; index < value.length; index += 1) bytes[index] = value.charCodeAt(index);
  return copyToGuest(hypervisor, vcpu, args[1] ?? 0n, bytes) ? 0 : 'EFAULT';
};

const common = { number: 17, source: 'Xen public/version.h' } as const;

export const xenVersionVersion = defineHypercall({
  ...common,
  name: 'XENVER_version',
  command: 0,
  title: 'Tell the version',
  handle: () => (XEN_MAJOR << 16) | XEN_MINOR,
});

export const xenVersionExtra = defineHypercall({
  ...common,
  name: 'XENVER_extraversion',
  command: 1,
  title: 'Tell the rest of the version',
  handle: (context) => text(context, EXTRA_VERSION, 16),
});

export const xenVersionCapabilities = defineHypercall({
  ...common,
  name: 'XENVER_capabilities',
  command: 3,
  title: 'Tell the kinds of domain',
  handle: (context) => text(context, CAPABILITIES, 1024),
});

export const xenVersionChangeSet = defineHypercall({
  ...common,
  name: 'XENVER_changeset',
  command: 4,
  title: 'Tell the change set',
  handle: (context) => text(context, CHANGE_SET, 64),
});

export const xenVersionFeatures = defineHypercall({
  ...common,
  name: 'XENVER_get_features',
  command: 6,
  title: 'Tell 32 feature bits',
  argument: { submap_idx: 'u32', submap: 'u32' },
  handle({ vcpu }, fields) {
    if (fields.submap_idx !== 0n) return 'EINVAL';
    fields.submap = vcpu.domain.type === 'pv' ? PV_FEATURES : HVM_FEATURES;
    return 0;
  },
});

export const xenVersionPageSize = defineHypercall({
  ...common,
  name: 'XENVER_pagesize',
  command: 7,
  title: 'Tell the page size',
  handle: () => 4096,
});
