/**
 * Domains: state, memory, vCPUs, exits and hypercalls so far, event channels.
 */
import type { Domain } from '../../emulator/index.ts';
import { grouped, hex, sizeText } from '../numbers.ts';
import type { Row } from '../protocol.ts';
import { vcpuName } from '../threads.ts';
import type { View } from './view.ts';

export const domains: View = {
  id: 'domains',
  title: 'Domains',

  rows({ debuggee: { machine } }, parent) {
    const all = [...(machine.dom0 === undefined ? [] : [machine.dom0]), ...machine.domains];
    if (parent === undefined) return all.map(domainRow);
    const [, id = '', part = ''] = /^d(\d+)(?:\/(\w+))?$/.exec(parent) ?? [];
    const domain = all.find((one) => `${one.id}` === id);
    if (domain === undefined) return [];
    return part === '' ? partRows(domain) : (PARTS[part]?.(domain) ?? []);
  },
};

const total = (counts: ReadonlyMap<string, number>): number =>
  [...counts.values()].reduce((sum, count) => sum + count, 0);

const domainRow = (domain: Domain): Row => ({
  id: `d${domain.id}`,
  label: `${domain.id} ${domain.name}`,
  detail: [
    domain.shutdownReason ?? domain.state,
    `${grouped(total(domain.exitCounts))} exits`,
    sizeText(domain.memoryBytes),
  ].join(', '),
  ...(domain.explanation === undefined ? {} : { tooltip: domain.explanation }),
  icon: 'vm',
  hasChildren: true,
  expanded: domain.id !== 0,
  domain: domain.id,
  // Nothing can be done to domain 0.
  context: domain.id === 0 ? 'domain0' : `domain.${domain.state}`,
});

const partRows = (domain: Domain): Row[] => [
  leaf(domain, 'state', 'State', domain.shutdownReason ?? domain.state),
  leaf(domain, 'type', 'Type', `${domain.type}, ${domain.paging}`),
  leaf(
    domain,
    'memory',
    'Memory',
    `${sizeText(domain.memoryBytes)} of ${sizeText(domain.maximumMemoryBytes)}, target ${sizeText(domain.targetMemoryBytes)}`,
  ),
  ...(Object.values(domain.memoryCounts).some((count) => count > 0)
    ? [branch(domain, 'pages', 'Pages', pagesText(domain.memoryCounts))]
    : []),
  ...(domain.shadowPages === undefined
    ? []
    : [
        leaf(
          domain,
          'shadow',
          'Shadow pages',
          `${domain.shadowPages.used} of ${domain.shadowPages.capacity}`,
        ),
      ]),
  branch(domain, 'vcpus', 'vCPUs', `${domain.vcpus.length}`),
  branch(domain, 'exits', 'VM exits', grouped(total(domain.exitCounts))),
  branch(domain, 'hypercalls', 'Hypercalls', grouped(total(domain.hypercallCounts))),
  branch(domain, 'channels', 'Event channels', `${domain.channels().length}`),
  branch(domain, 'grants', 'Grants', `${domain.grants().length}`),
];

const pagesText = ({ shared, paged, onDemand }: Domain['memoryCounts']): string =>
  `${grouped(shared)} shared, ${grouped(paged)} swapped out, ${grouped(onDemand)} not touched yet`;

const PAGE_ROWS: readonly (readonly [keyof Domain['memoryCounts'], string])[] = [
  ['shared', 'Shared now'],
  ['shares', 'Times shared'],
  ['unshares', 'Times unshared'],
  ['paged', 'Swapped out now'],
  ['pageOuts', 'Times swapped out'],
  ['pageIns', 'Times brought back'],
  ['onDemand', 'Not touched yet'],
  ['populates', 'First frames on demand'],
  ['dirtied', 'First writes in log-dirty mode'],
];

const leaf = ({ id }: Domain, key: string, label: string, detail: string): Row => ({
  id: `d${id}/${key}`,
  label,
  detail,
  value: detail,
});

const branch = (domain: Domain, key: string, label: string, detail: string): Row => ({
  ...leaf(domain, key, label, detail),
  hasChildren: detail !== '0',
});

const countRows = (prefix: string, counts: ReadonlyMap<string, number>): Row[] =>
  [...counts]
    .sort(([, a], [, b]) => b - a)
    .map(([name, count]) => ({
      id: `${prefix}/${name}`,
      label: name,
      detail: grouped(count),
      value: `${count}`,
    }));

const PARTS: Readonly<Record<string, (domain: Domain) => Row[]>> = {
  vcpus: ({ id, vcpus }) =>
    vcpus.map((vcpu) => ({
      id: `d${id}/vcpus/${vcpu.id}`,
      label: vcpuName(id, vcpu.id),
      detail: `${vcpu.state}, ${vcpu.mode}, ${grouped(vcpu.retired)} instructions, ${grouped(vcpu.exits)} exits`,
      icon: 'circuit-board',
      context: 'vcpu',
    })),
  pages: ({ id, memoryCounts }) =>
    PAGE_ROWS.map(([key, label]) => ({
      id: `d${id}/pages/${key}`,
      label,
      detail: grouped(memoryCounts[key]),
      value: `${memoryCounts[key]}`,
    })),
  exits: ({ id, exitCounts }) => countRows(`d${id}/exits`, exitCounts),
  hypercalls: ({ id, hypercallCounts }) => countRows(`d${id}/hypercalls`, hypercallCounts),
  grants: (domain) =>
    domain.grants().map(({ reference, kind, grantee, frame, marks, uses }) => ({
      id: `d${domain.id}/grants/${reference}`,
      label: `Reference ${reference}`,
      detail: [
        `${kind} ${hex(frame)}`,
        `to domain ${grantee}`,
        ...marks,
        uses === 0 ? '' : `in use ${uses} times`,
      ]
        .filter((word) => word !== '')
        .join(', '),
    })),
  channels: (domain) =>
    domain.channels().map(({ port, state, detail, pending, masked }) => ({
      id: `d${domain.id}/channels/${port}`,
      label: `Port ${port}`,
      detail: [state, detail, pending ? 'pending' : '', masked ? 'masked' : '']
        .filter((word) => word !== '')
        .join(', '),
    })),
};
