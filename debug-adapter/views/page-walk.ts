/**
 * Page walk: the way of a linear address through the guest's tables and the EPT, entry by entry; or,
 * under shadow paging, each entry of the guest's beside the shadow entry that the processor uses.
 */
import type { WalkLevel } from '../../emulator/index.ts';
import { evaluateExpression } from '../expressions/evaluate.ts';
import { createMachineScope } from '../expressions/machine-scope.ts';
import { ExpressionError, parseExpression } from '../expressions/parse.ts';
import { countsText, useText } from '../frame-use.ts';
import { hex, sizeText, wide } from '../numbers.ts';
import type { Row } from '../protocol.ts';
import { vcpuName } from '../threads.ts';
import type { View } from './view.ts';

export const pageWalk: View = {
  id: 'pageWalk',
  title: 'Page walk',
  input: {
    prompt: 'Linear address to walk: a number, a register, a symbol or an expression',
    placeholder: 'rip',
    initial: 'rip',
  },

  rows({ debuggee: { machine }, vcpu, input }, parent) {
    const place = { domain: vcpu.domain, vcpu: vcpu.id };
    let address: bigint;
    try {
      const value = evaluateExpression(parseExpression(input), createMachineScope(machine, place));
      if (typeof value === 'string') return [problem(`'${input}' is no address.`)];
      address = value;
    } catch (error) {
      if (error instanceof ExpressionError) return [problem(error.message)];
      throw error;
    }
    const walk = machine.walk(vcpu.domain, vcpu.id, address);
    const rows = groupLevels(walk.levels);
    if (parent !== undefined) return rows.find(({ row }) => row.id === parent)?.children ?? [];
    const result = [
      ...(walk.gpa === undefined ? [] : [`gpa ${hex(walk.gpa)}`]),
      ...(walk.maddr === undefined ? [] : [`maddr ${hex(walk.maddr)}`]),
      ...(walk.frame === undefined ? [] : [useText(walk.frame)]),
      ...(walk.pageBytes === undefined ? [] : [`page of ${sizeText(walk.pageBytes)}`]),
      walk.permissions,
    ].join(', ');
    return [
      {
        id: 'address',
        label: `${input} = ${hex(address)}`,
        detail: vcpuName(vcpu.domain, vcpu.id),
        icon: 'location',
        value: hex(address),
        memoryReference: `${vcpuName(vcpu.domain, vcpu.id)}:${hex(address)}`,
      },
      ...rows.map(({ row }) => row),
      { id: 'result', label: 'Result', detail: result, icon: 'arrow-right', value: result },
      {
        id: 'verdict',
        label: walk.verdict,
        icon: 'law',
        tooltip: walk.verdict,
        value: walk.verdict,
      },
    ];
  },
};

interface Group {
  readonly row: Row;
  readonly children: Row[];
}

/** Entries of the guest's tables, each with the EPT walk to it below; then the EPT walk of the result. */
const groupLevels = (levels: readonly WalkLevel[]): Group[] => {
  const groups: Group[] = [];
  let ept: Row[] = [];
  for (const [index, level] of levels.entries()) {
    const row = levelRow(level, index);
    if (level.table.startsWith('EPT')) {
      ept.push(row);
      continue;
    }
    const above = groups.at(-1);
    if (above !== undefined && level.table === `shadow ${above.row.label}`) {
      groups[groups.length - 1] = besides(above, row);
      continue;
    }
    groups.push({ row: { ...row, hasChildren: ept.length > 0 }, children: ept });
    ept = [];
  }
  return [...groups, ...ept.map((row) => ({ row, children: [] }))];
};

/** A guest's entry and its shadow side by side. */
const besides = ({ row, children }: Group, shadow: Row): Group => ({
  row: {
    ...row,
    detail: `guest ${row.detail ?? ''}  |  shadow ${shadow.detail ?? ''}`,
    value: `${row.value ?? ''} | ${shadow.value ?? ''}`,
    tooltip: `${row.tooltip ?? ''}\n${shadow.tooltip ?? ''}`,
  },
  children,
});

const problem = (text: string): Row => ({ id: 'problem', label: text, icon: 'warning' });

const levelRow = (
  { table, entryAddress, entry, bits, gpa, frame }: WalkLevel,
  index: number,
): Row => {
  const isMachine = frame !== undefined || /^EPT|^shadow/.test(table);
  const space = isMachine ? 'maddr' : 'gpa';
  return {
    id: `${index}`,
    label: table,
    detail: `${hex(entry)}  ${bits.join(' ')}${frame === undefined ? '' : `  in ${useText(frame)}`}`,
    value: wide(entry),
    icon: /^EPT|^shadow/.test(table) ? 'symbol-reference' : 'symbol-array',
    tooltip: [
      `${table} at ${space} ${hex(entryAddress)}: ${wide(entry)}`,
      `bits set: ${bits.join(' ') || 'none'}`,
      ...(gpa === undefined ? [] : [`looks up guest-physical address ${hex(gpa)}`]),
      ...(frame === undefined ? [] : [`in ${useText(frame)}`, countsText(frame)]),
    ].join('\n'),
  };
};
