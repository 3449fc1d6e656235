/**
 * Breakpoints at data: what the processor is to watch for them, and the events of its accesses.
 *
 * A linear range is compared with the linear addresses that the domain's vCPUs use, whatever they
 * are mapped to, as debug registers do. A guest-physical one is watched where the P2M maps it now,
 * a machine one for all domains; there the hypervisor's own writes count, too.
 */
import type { Watch, WatchedAccess } from '../cpu/watches.ts';
import type { AccessEvent } from '../events.ts';
import type { XenVcpu } from '../hypervisor/domain.ts';
import { maddrOfGpa } from '../hypervisor/guest-walk.ts';
import { emit, type Hypervisor } from '../hypervisor/hypervisor.ts';
import { type Gva, gva, type Maddr } from '../memory/addresses.ts';
import type { BreakpointContext, BreakpointPlace, DataBreakpoint } from './breakpoint.ts';

const PAGE = 4096n;
const CANONICAL_BITS = 48;

/** A data breakpoint that is enabled, with its id in the table. */
export interface PlacedWatch {
  readonly id: number;
  readonly place: DataBreakpoint;
}

export const problemOfData = (
  place: BreakpointPlace,
  { ramBytes, domains }: BreakpointContext,
): string | undefined => {
  if (place.kind !== 'data') return undefined;
  const { space, address, lengthBytes, domain } = place;
  const at = `${space} 0x${address.toString(16)}`;
  if (!Number.isSafeInteger(lengthBytes) || lengthBytes < 1) {
    return `A watch needs at least one byte, not ${lengthBytes}, at ${at}.`;
  }
  if (domain !== undefined && !domains().includes(domain)) return `There is no domain ${domain}.`;
  const last = address + BigInt(lengthBytes) - 1n;
  if (space === 'gva') {
    const isCanonical = (one: bigint): boolean =>
      BigInt.asUintN(64, BigInt.asIntN(CANONICAL_BITS, one)) === one;
    return isCanonical(address) && isCanonical(last) ? undefined : `${at} is not canonical.`;
  }
  if (space === 'gpa') {
    return domain === undefined ? `Whose ${at}? Name a domain.` : undefined;
  }
  return last < BigInt(ramBytes)
    ? undefined
    : `Machine memory ends at 0x${(ramBytes - 1).toString(16)}, before ${at} + ${lengthBytes}.`;
};

/** What is to be watched while this vCPU runs. */
export const watchesOf = (
  hypervisor: Hypervisor,
  placed: readonly PlacedWatch[],
  vcpu: XenVcpu,
): Watch[] =>
  placed.flatMap(({ id, place }): Watch[] => {
    const { space, address, lengthBytes, access, domain } = place;
    const common = { id, reads: access !== 'write', writes: access !== 'read' };
    const last = address + BigInt(lengthBytes) - 1n;
    if (domain !== undefined && domain !== vcpu.domain.id) return [];
    if (place.vcpu !== undefined && place.vcpu !== vcpu.id) return [];
    if (space === 'gva') return [{ ...common, space: 'linear', first: address, last }];
    if (space === 'maddr') return [{ ...common, space: 'machine', first: address, last }];
    return machineRanges(hypervisor, vcpu, address, last).map((range) => ({
      ...common,
      space: 'machine',
      ...range,
    }));
  });

/** Where the P2M maps a guest-physical range now: neighbors are one. */
const machineRanges = (
  hypervisor: Hypervisor,
  { domain }: XenVcpu,
  first: bigint,
  last: bigint,
): { first: bigint; last: bigint }[] => {
  const ranges: { first: bigint; last: bigint }[] = [];
  const { ramBytes } = hypervisor.hardware.memory;
  for (let at = first; at <= last; at = (at / PAGE + 1n) * PAGE) {
    const maddr = maddrOfGpa(domain.p2m, Number(at));
    if (maddr === undefined || maddr >= ramBytes) continue;
    const pageLast = (at / PAGE + 1n) * PAGE - 1n;
    const end = BigInt(maddr) + ((last < pageLast ? last : pageLast) - at);
    const before = ranges.at(-1);
    if (before !== undefined && before.last + 1n === BigInt(maddr)) before.last = end;
    else ranges.push({ first: BigInt(maddr), last: end });
  }
  return ranges;
};

/** Tells of the accesses since the last call; listeners may ask to stop. */
export const emitAccesses = (hypervisor: Hypervisor, vcpu: XenVcpu): void => {
  const { hardware, events } = hypervisor;
  const taken = hardware.takeAccesses?.();
  if (taken === undefined || taken.accesses.length === 0 || !events.wants('memory-access')) return;
  for (const access of taken.accesses) {
    emit(hypervisor, vcpu, bodyOf(access), access.by === 'hypervisor' ? undefined : taken.rip);
  }
};

const bodyOf = ({ linear, maddr, ...access }: WatchedAccess): Omit<AccessEvent, Common> => ({
  ...access,
  kind: 'memory-access',
  gva: linear === undefined ? undefined : (gva(linear) as Gva),
  maddr: maddr as Maddr,
});

type Common = 'domain' | 'vcpu' | 'retired' | 'timeNs' | 'rip';
