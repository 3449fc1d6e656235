/**
 * xenstore's own commands, on the store as domain 0 sees it.
 * Source: Xen docs/man/xenstore-ls.1, xenstore-read.1, xenstore-write.1, xenstore-rm.1.
 */
import type { Hypervisor } from '../hypervisor.ts';
import { removeNode, writeNode } from '../xenstore/nodes.ts';
import { childOf, resolvePath } from '../xenstore/paths.ts';
import { permissionText } from '../xenstore/permissions.ts';
import { done, failed, type Verb } from './verb.ts';

const nodeAt = ({ dom0 }: Hypervisor, path: string | undefined) => {
  const absolute = resolvePath(0, path ?? '/');
  const node = absolute === undefined ? undefined : dom0?.xenstore.view.get(absolute);
  return node === undefined || absolute === undefined ? undefined : { absolute, node };
};

/** A value as xenstore-ls prints it: what is no sign of ASCII in octal. */
const shown = (value: string): string =>
  value.replaceAll(/[^\x20-\x7e]|\\/g, (sign) =>
    sign === '\\' ? '\\\\' : `\\${sign.charCodeAt(0).toString(8).padStart(3, '0')}`,
  );

const list: Verb = {
  usage: 'xenstore-ls [-p] [path]',
  title: 'list the tree of xenstore; with permissions',
  run(hypervisor, args) {
    const withPermissions = args.includes('-p');
    const path = args.find((word) => !word.startsWith('-'));
    const top = nodeAt(hypervisor, path);
    if (top === undefined) return failed(`xenstore-ls: no such path: ${path ?? '/'}`);
    const lines: string[] = [];
    const visit = (parent: string, names: readonly string[], depth: number): void => {
      for (const name of names) {
        const found = nodeAt(hypervisor, childOf(parent, name));
        if (found === undefined) continue;
        const { node, absolute } = found;
        const rights = withPermissions
          ? `   (${node.permissions.map(permissionText).join(',')})`
          : '';
        lines.push(`${' '.repeat(depth)}${name} = "${shown(node.value)}"${rights}\n`);
        visit(absolute, node.children, depth + 1);
      }
    };
    visit(top.absolute, top.node.children, 0);
    return done(lines.join(''));
  },
};

const read: Verb = {
  usage: 'xenstore-read path ...',
  title: 'read values of xenstore',
  run(hypervisor, paths) {
    if (paths.length === 0) return failed('Usage: xenstore-read path ...');
    const found = paths.map((path) => nodeAt(hypervisor, path)?.node.value);
    const missing = found.indexOf(undefined);
    if (missing >= 0) return failed(`xenstore-read: couldn't read path ${paths[missing]}`);
    return done(found.map((value) => `${value}\n`).join(''));
  },
};

const write: Verb = {
  usage: 'xenstore-write path value ...',
  title: 'write values of xenstore; watches fire',
  run({ dom0 }, words) {
    if (words.length === 0 || words.length % 2 !== 0) {
      return failed('Usage: xenstore-write path value ...');
    }
    const problem = dom0?.xenstore.asTools((client) => {
      for (let at = 0; at < words.length; at += 2) {
        const error = writeNode(client, words[at] ?? '', words[at + 1] ?? '');
        if (error !== undefined) return `could not write path ${words[at]}: ${error}`;
      }
      return undefined;
    });
    dom0?.deliver();
    return problem === undefined ? done() : failed(problem);
  },
};

const remove: Verb = {
  usage: 'xenstore-rm path ...',
  title: 'remove nodes of xenstore',
  run({ dom0 }, paths) {
    if (paths.length === 0) return failed('Usage: xenstore-rm path ...');
    const problem = dom0?.xenstore.asTools((client) =>
      paths.find((path) => removeNode(client, path) !== undefined),
    );
    dom0?.deliver();
    return problem === undefined ? done() : failed(`xenstore-rm: could not remove path ${problem}`);
  },
};

export const XENSTORE_COMMANDS: Readonly<Record<string, Verb>> = {
  'xenstore-ls': list,
  'xenstore-read': read,
  'xenstore-write': write,
  'xenstore-rm': remove,
};
