/**
 * XenStore: the tree that domain 0 keeps, each node with its value and who may read and write it.
 */
import type { Machine } from '../../emulator/index.ts';
import type { Row } from '../protocol.ts';
import type { View } from './view.ts';

export const xenstore: View = {
  id: 'xenstore',
  title: 'XenStore',

  rows({ debuggee: { machine } }, parent) {
    const path = parent ?? '/';
    const names = machine.xenstore(path)?.children ?? [];
    return names.flatMap((name) => {
      const own = path === '/' ? `/${name}` : `${path}/${name}`;
      return nodeRow(machine, own, name) ?? [];
    });
  },
};

const ACCESS: Readonly<Record<string, string>> = {
  n: 'no access',
  r: 'reads',
  w: 'writes',
  b: 'reads and writes',
};

const nodeRow = (machine: Machine, path: string, name: string): Row | undefined => {
  const node = machine.xenstore(path);
  if (node === undefined) return undefined;
  const { value, children, permissions } = node;
  const [owner, ...others] = permissions;
  return {
    id: path,
    label: name,
    detail: value,
    value,
    tooltip: [
      path,
      ...(owner === undefined
        ? []
        : [`owner: domain ${owner.domain}; all others: ${ACCESS[owner.access] ?? owner.access}`]),
      ...others.map(({ domain, access }) => `domain ${domain}: ${ACCESS[access] ?? access}`),
    ].join('\n'),
    icon: children.length > 0 ? 'folder' : 'symbol-string',
    hasChildren: children.length > 0,
    expanded: path === '/local' || path === '/local/domain',
    context: 'value',
  };
};
