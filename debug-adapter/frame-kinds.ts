/**
 * What machine frames are used as, and whose they are, in words.
 */
import type { FrameKind, Machine } from '../emulator/index.ts';

interface Words {
  readonly label: string;
  readonly description: string;
}

export const KIND_WORDS: Readonly<Record<FrameKind, Words>> = {
  free: { label: 'Free', description: 'Nobody has it.' },
  ballooned: {
    label: 'Free, given back by a balloon',
    description: 'Nobody has it: the balloon of the domain gave it back.',
  },
  swapped: {
    label: 'Free, page swapped out',
    description: "Nobody has it: the domain's page is on the swap device.",
  },
  hypervisor: {
    label: 'Hypervisor',
    description: 'A VMCS, a bitmap, or another page of the hypervisor alone.',
  },
  'p2m-table': {
    label: 'P2M table (EPT)',
    description: 'A table of the P2M, which the processor walks as EPT.',
  },
  'shadow-table': {
    label: 'Shadow page table',
    description: "The hypervisor's own table in place of the guest's, which the processor walks.",
  },
  m2p: {
    label: 'M2P',
    description: 'A part of the machine-to-physical map that PV guests read.',
  },
  ram: { label: 'RAM', description: "The domain's own memory." },
  'page-table': {
    label: 'Page table',
    description:
      'A page table of the guest that the hypervisor knows; the guest does not write it.',
  },
  descriptors: {
    label: 'Descriptor table',
    description: 'A page of a GDT or LDT; the guest does not write it.',
  },
  'log-dirty': {
    label: 'RAM, clean',
    description: 'Memory in log-dirty mode that was not written yet.',
  },
  shared: {
    label: 'Shared page',
    description: 'Pages of equal content have it in common, read-only.',
  },
  granted: {
    label: 'RAM, mapped by a grant',
    description: 'Another domain maps it too, by the grant table.',
  },
  special: {
    label: 'Special page',
    description: 'shared_info, a ring, or a frame of a grant table.',
  },
};

/** 'Domain 1 (polite)'. */
export const domainText = ({ domains, dom0 }: Machine, id: number): string => {
  const name = id === 0 ? dom0?.name : domains.find((one) => one.id === id)?.name;
  return name === undefined ? `Domain ${id}` : `Domain ${id} (${name})`;
};

/** Whose frames of a kind are. */
export const ownerText = (machine: Machine, kind: FrameKind, domain: number | undefined): string =>
  domain !== undefined
    ? domainText(machine, domain)
    : kind === 'free'
      ? 'Free'
      : kind === 'shared'
        ? 'Several domains'
        : 'Hypervisor';
