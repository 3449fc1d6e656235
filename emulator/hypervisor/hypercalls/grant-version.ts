/**
 * Sets and tells the version of the grant table. Errors of setting: EINVAL for a version that there
 * is not, EBUSY while grants are in use.
 */
import { setGrantVersion } from '../grants/version.ts';
import { ownDomain } from '../hypervisor.ts';
import { defineHypercall } from './hypercall.ts';

const common = { number: 20, source: 'Xen public/grant_table.h' } as const;

/** The version that is in force is written back in any case. */
export const grantSetVersion = defineHypercall({
  ...common,
  name: 'GNTTABOP_set_version',
  command: 8,
  title: 'Set the version of the grant table',
  argument: { version: 'u32' },
  handle({ hypervisor, vcpu }, fields) {
    const { version } = fields;
    const { domain } = vcpu;
    const problem =
      version === 1n || version === 2n
        ? setGrantVersion(hypervisor, domain, version === 1n ? 1 : 2)
        : 'EINVAL';
    fields.version = BigInt(domain.grants.version);
    return problem ?? 0;
  },
});

export const grantGetVersion = defineHypercall({
  ...common,
  name: 'GNTTABOP_get_version',
  command: 10,
  title: 'Tell the version of the grant table',
  argument: { dom: 'u16', pad: 'u16', version: 'u32' },
  handle({ hypervisor, vcpu }, fields) {
    const domain = ownDomain(hypervisor, vcpu, fields.dom);
    if (typeof domain === 'string') return domain;
    fields.version = BigInt(domain.grants.version);
    return 0;
  },
});
