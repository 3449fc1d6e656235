/**
 * P2M: what is at each guest frame, neighbors of one kind merged. That of a PV domain is its own
 * affair; here is what the M2P says of its frames.
 */
import type { Domain, P2mRange } from '../../emulator/index.ts';
import { hex, sizeText } from '../numbers.ts';
import { P2M_WORDS } from '../p2m-words.ts';
import type { Row } from '../protocol.ts';
import type { View } from './view.ts';

const PAGE_BYTES = 4096;

export const p2m: View = {
  id: 'p2m',
  title: 'P2M',

  rows({ debuggee: { machine } }, parent) {
    if (parent === undefined) {
      return machine.domains.map(({ id, name, memoryBytes, paging }) => ({
        id: `d${id}`,
        label: `${id} ${name}`,
        detail: `${sizeText(memoryBytes)}${paging === 'direct' ? ', by the M2P' : ''}`,
        icon: 'vm',
        hasChildren: true,
        expanded: true,
      }));
    }
    const [, own = '', first, end] = PARENT.exec(parent) ?? [];
    const domain = machine.domains.find(({ id }) => `d${id}` === own);
    if (domain === undefined) return [];
    if (first !== undefined && end !== undefined) {
      return domain.p2m(Number(first), Number(end)).map((range) => rangeRow(own, domain, range));
    }
    const ranges = domain.p2m();
    if (ranges.length <= MOST_ROWS) return ranges.map((range) => rangeRow(own, domain, range));
    return Array.from({ length: Math.ceil(ranges.length / MOST_ROWS) }, (_, index) =>
      groupRow(own, ranges.slice(index * MOST_ROWS, (index + 1) * MOST_ROWS)),
    );
  },
};

/** More ranges than this are shown in groups, which are opened one by one. */
const MOST_ROWS = 500;
/** 'd1', or a group: 'd1/0x100-0x200', up to but without the last. */
const PARENT = /^(d\d+)(?:\/(0x[0-9a-f]+)-(0x[0-9a-f]+))?$/;

const groupRow = (parent: string, ranges: readonly P2mRange[]): Row => {
  const start = ranges[0]?.first ?? 0;
  const end = ranges.reduce((last, { first, count }) => Math.max(last, first + count), start);
  const kinds = [...new Set(ranges.map(({ type }) => type))].join(', ');
  const detail = `${ranges.length} ranges: ${kinds}`;
  return {
    id: `${parent}/${hex(start)}-${hex(end)}`,
    label: `${hex(start)}–${hex(end - 1)}`,
    detail,
    value: detail,
    hasChildren: true,
  };
};

const MAPPED_BY: Readonly<Record<Domain['paging'], (permissions: string, size: string) => string>> =
  {
    hap: (permissions, size) => `EPT permissions ${permissions}, pages of ${size}`,
    shadow: (permissions) => `${permissions}; shadow page tables follow`,
    direct: () => "by the guest's own page tables",
  };

const rangeRow = (parent: string, { id, paging }: Domain, range: P2mRange): Row => {
  const { first, count, type, mfn, permissions, pageBytes, label } = range;
  const last = first + count - 1;
  const isMapped = mfn !== undefined;
  const detail = [
    label ?? type,
    sizeText(count * PAGE_BYTES),
    ...(isMapped ? [permissions, `mfn ${hex(mfn)}`] : []),
  ].join(', ');
  return {
    id: `${parent}/${hex(first)}`,
    label: count === 1 ? hex(first) : `${hex(first)}–${hex(last)}`,
    detail,
    value: detail,
    tooltip: [
      `gfn ${hex(first)} to ${hex(last)}`,
      `gpa ${hex(first * PAGE_BYTES)} to ${hex((last + 1) * PAGE_BYTES - 1)}`,
      `${type}: ${P2M_WORDS[type]}`,
      isMapped
        ? `maddr ${hex(mfn * PAGE_BYTES)}${count > 1 && type !== 'shared' ? ' and on' : ''}, ${MAPPED_BY[paging](permissions, sizeText(pageBytes ?? PAGE_BYTES))}`
        : 'no machine frame',
    ].join('\n'),
    context: 'p2mRange',
    ...(isMapped ? { memoryReference: `gpa:d${id}:${hex(first * PAGE_BYTES)}` } : {}),
  };
};
