/**
 * P2M: what is at each guest frame, neighbors of one kind merged.
 */
import type { P2mRange } from '../../emulator/index.ts';
import { hex, sizeText } from '../numbers.ts';
import type { Row } from '../protocol.ts';
import type { View } from './view.ts';

const PAGE_BYTES = 4096;

export const p2m: View = {
  id: 'p2m',
  title: 'P2M',

  rows({ debuggee: { machine } }, parent) {
    if (parent === undefined) {
      return machine.domains.map(({ id, name, memoryBytes }) => ({
        id: `d${id}`,
        label: `${id} ${name}`,
        detail: sizeText(memoryBytes),
        icon: 'vm',
        hasChildren: true,
        expanded: true,
      }));
    }
    const domain = machine.domains.find(({ id }) => `d${id}` === parent);
    return (domain?.p2m() ?? []).map((range) => rangeRow(parent, domain?.id ?? 0, range));
  },
};

const rangeRow = (parent: string, domain: number, range: P2mRange): Row => {
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
      isMapped
        ? `maddr ${hex(mfn * PAGE_BYTES)} and on, EPT permissions ${permissions}, pages of ${sizeText(pageBytes ?? PAGE_BYTES)}`
        : `no machine frames: ${type}`,
    ].join('\n'),
    context: 'p2mRange',
    ...(isMapped ? { memoryReference: `gpa:d${domain}:${hex(first * PAGE_BYTES)}` } : {}),
  };
};
