/**
 * vCPUs: mode, registers, segments, and the VMCS by group.
 */
import type { Machine, Vcpu } from '../../emulator/index.ts';
import { grouped, wide } from '../numbers.ts';
import type { Row } from '../protocol.ts';
import { vcpuName } from '../threads.ts';
import type { VariableContainer } from '../variables/container.ts';
import { scopesOf } from '../variables/scopes.ts';
import type { View } from './view.ts';

export const vcpus: View = {
  id: 'vcpus',
  title: 'vCPUs',

  rows({ debuggee: { machine } }, parent) {
    const all = machine.domains.flatMap((domain) => [...domain.vcpus]);
    if (parent === undefined) return all.map((vcpu) => vcpuRow(vcpu, pagingOf(machine, vcpu)));
    const [name = '', ...path] = parent.split('/');
    const vcpu = all.find((one) => vcpuName(one.domain, one.id) === name);
    if (vcpu === undefined) return [];
    return path.length === 0 ? topRows(vcpu, parent) : childRows(vcpu, parent, path);
  },
};

const pagingOf = ({ domains }: Machine, vcpu: Vcpu): string =>
  domains.find(({ id }) => id === vcpu.domain)?.paging ?? '';

const vcpuRow = (vcpu: Vcpu, paging: string): Row => ({
  id: vcpuName(vcpu.domain, vcpu.id),
  label: vcpuName(vcpu.domain, vcpu.id),
  detail: `${vcpu.state}, ${vcpu.mode}, ${paging}, RIP ${wide(vcpu.rip)}`,
  icon: 'circuit-board',
  hasChildren: true,
  expanded: vcpu.id === 0,
  context: 'vcpu',
});

/** The vCPU's scopes, as the Variables view has them. */
const containersOf = (vcpu: Vcpu): ReadonlyMap<string, VariableContainer> => {
  const code = { rip: vcpu.rip, rsp: vcpu.register('rsp') ?? 0n, isGuess: false };
  const scopes = scopesOf({ kind: 'code', vcpu, code, isInnermost: true });
  return new Map(scopes.map(({ name, container }) => [name, container]));
};

const topRows = (vcpu: Vcpu, id: string): Row[] => [
  { id: `${id}/mode`, label: 'Mode', detail: vcpu.mode, value: vcpu.mode },
  {
    id: `${id}/pcpu`,
    label: 'pCPU',
    detail: vcpu.pcpu === undefined ? 'none' : `${vcpu.pcpu}`,
  },
  { id: `${id}/retired`, label: 'Instructions', detail: grouped(vcpu.retired) },
  ...[...containersOf(vcpu).keys()].map((name) => ({
    id: `${id}/${name}`,
    label: name,
    hasChildren: true,
  })),
];

const childRows = (vcpu: Vcpu, id: string, [scope = '', ...path]: readonly string[]): Row[] => {
  let container = containersOf(vcpu).get(scope);
  for (const name of path) {
    container = container?.rows().find((row) => idPart(row.name) === name)?.children;
  }
  return (container?.rows() ?? []).map(
    ({ name, value, type, children, evaluateName, memoryReference }): Row => ({
      id: `${id}/${idPart(name)}`,
      label: name,
      detail: value,
      value,
      ...(type === undefined ? {} : { tooltip: type }),
      ...(children === undefined ? {} : { hasChildren: true }),
      ...(evaluateName === undefined ? {} : { evaluateName }),
      ...(memoryReference === undefined ? {} : { memoryReference }),
    }),
  );
};

/** Names may hold the separator of ids, 'D/B'. */
const idPart = (name: string): string => name.replaceAll('/', '|');
