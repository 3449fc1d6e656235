/**
 * Breakpoints before the instruction at an address.
 */
import type { AddressBreakpoint, BreakpointPlace } from './breakpoint.ts';

export const problemOfAddress = (place: BreakpointPlace): string | undefined =>
  place.kind === 'address' && place.space !== 'gva'
    ? `An instruction breakpoint needs a linear address; watch ${place.space} 0x${place.address.toString(16)} by its linear address.`
    : undefined;

/** Whether a vCPU that is about to execute at `rip` stands at the breakpoint. */
export const matchesAddress = (
  place: AddressBreakpoint,
  domain: number,
  vcpu: number,
  rip: bigint,
): boolean =>
  place.address === rip && (place.domain ?? domain) === domain && (place.vcpu ?? vcpu) === vcpu;
