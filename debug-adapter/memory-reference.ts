/**
 * Addresses as DAP's memory references and data ids spell them:
 *
 *   0x1000              linear, of the vCPU that stopped
 *   d1.v0:0x1000        linear, of this vCPU
 *   gpa:d1:0x1000       guest-physical of a domain
 *   maddr:0x1000        machine
 */
import type { AddressSpace } from '../emulator/index.ts';
import { hex } from './numbers.ts';

export interface MemoryPlace {
  readonly space: AddressSpace;
  readonly address: bigint;
}

export const referenceOf = ({ space, address }: MemoryPlace): string => {
  switch (space.kind) {
    case 'gva':
      return `d${space.domain}.v${space.vcpu}:${hex(address)}`;
    case 'gpa':
      return `gpa:d${space.domain}:${hex(address)}`;
    case 'maddr':
      return `maddr:${hex(address)}`;
  }
};

const REFERENCE =
  /^\s*(?:d(?<domain>\d+)\.v(?<vcpu>\d+):|gpa:(?:d(?<owner>\d+):)?|(?<machine>maddr):)?(?<number>0x[0-9a-f]+|\d+)\s*$/i;

/** undefined if it is not spelled as above. `current` is the vCPU that a bare address means. */
export const parseReference = (
  text: string,
  current: { readonly domain: number; readonly vcpu: number },
): MemoryPlace | undefined => {
  const groups = REFERENCE.exec(text)?.groups;
  if (groups === undefined) return undefined;
  const address = BigInt.asUintN(64, BigInt(groups.number ?? '0'));
  if (groups.machine !== undefined) return { space: { kind: 'maddr' }, address };
  if (/^\s*gpa:/i.test(text)) {
    return { space: { kind: 'gpa', domain: Number(groups.owner ?? current.domain) }, address };
  }
  const domain = Number(groups.domain ?? current.domain);
  const vcpu = Number(groups.vcpu ?? current.vcpu);
  return { space: { kind: 'gva', domain, vcpu }, address };
};
