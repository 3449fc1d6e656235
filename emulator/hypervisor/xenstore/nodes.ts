/**
 * What clients do with nodes: read, write, make, remove, list, and set permissions.
 * Source: Xen docs/misc/xenstore.txt, "Database read, write and permissions operations".
 */
import type { XenstoreError } from './messages.ts';
import { childOf, nameOf, parentOf, resolvePath } from './paths.ts';
import { isPrivileged, type Permissions, type Rights, rightsFor } from './permissions.ts';
import type { StoreNode, StoreView } from './store.ts';

/** A client on a view of the store. `changed` is called with each change, before it is seen. */
export interface Client {
  readonly domain: number;
  readonly view: StoreView;
  changed(path: string, how: ChangeKind, before: StoreNode | undefined): void;
}

/** 'subtree' concerns watches of the path and above, 'exact' those of the path alone. */
export type ChangeKind = 'subtree' | 'exact';

export const QUOTA = { nodes: 1000, valueBytes: 2048, permissions: 5 } as const;

export interface FoundNode {
  readonly path: string;
  readonly node: StoreNode;
}

/**
 * The node at a path, if the client has the right. Without a right to the nodes above, a node that
 * is not there is EACCES like any other: the error tells nothing.
 */
export const findNode = (
  { domain, view }: Client,
  text: string | undefined,
  right: keyof Rights,
  mayBeSpecial = false,
): FoundNode | XenstoreError => {
  const path = text === undefined ? undefined : resolvePath(domain, text, mayBeSpecial);
  if (path === undefined) return 'EINVAL';
  const node = view.get(path);
  if (node !== undefined && rightsFor(domain, node.permissions)[right]) return { path, node };
  let above = path;
  let nearest: StoreNode | undefined;
  while (nearest === undefined && above !== '/') {
    above = parentOf(above);
    nearest = view.get(above);
  }
  if (node !== undefined || nearest === undefined) return 'EACCES';
  return rightsFor(domain, nearest.permissions)[right] ? 'ENOENT' : 'EACCES';
};

export const writeNode = (
  client: Client,
  text: string,
  value: string,
): XenstoreError | undefined => {
  if (!isPrivileged(client.domain) && value.length > QUOTA.valueBytes) return 'ENOSPC';
  const found = findNode(client, text, 'write');
  if (typeof found !== 'string') {
    client.view.put(found.path, { ...found.node, value });
    client.changed(found.path, 'subtree', found.node);
    return undefined;
  }
  return found === 'ENOENT' ? createNode(client, text, value) : found;
};

/** A node that is there already is fine. */
export const makeNode = (client: Client, text: string | undefined): XenstoreError | undefined => {
  const found = findNode(client, text, 'write');
  if (typeof found !== 'string') return undefined;
  return found === 'ENOENT' && text !== undefined ? createNode(client, text, '') : found;
};

/** Makes the node and those missing above it; permissions come from above, ownership is the client's. */
const createNode = (client: Client, text: string, value: string): XenstoreError | undefined => {
  const { domain, view } = client;
  const path = resolvePath(domain, text) ?? '/';
  const missing = [path];
  let above = parentOf(path);
  let parent = view.get(above);
  for (; parent === undefined && above !== '/'; parent = view.get(above)) {
    missing.unshift(above);
    above = parentOf(above);
  }
  if (parent === undefined) return 'ENOENT';
  if (!isPrivileged(domain) && view.ownedBy(domain) + missing.length > QUOTA.nodes) return 'ENOSPC';
  const [first, ...others] = parent.permissions;
  const permissions: Permissions = [isPrivileged(domain) ? first : { ...first, domain }, ...others];
  view.put(above, { ...parent, children: [...parent.children, nameOf(missing[0] ?? path)] });
  missing.forEach((own, index) => {
    const below = missing[index + 1];
    view.put(own, {
      permissions,
      value: below === undefined ? value : '',
      children: below === undefined ? [] : [nameOf(below)],
    });
  });
  client.changed(path, 'subtree', undefined);
  return undefined;
};

/** Removes a node and all below it; one that is not there is fine if its parent is. */
export const removeNode = (client: Client, text: string | undefined): XenstoreError | undefined => {
  const { domain, view } = client;
  const found = findNode(client, text, 'write');
  if (found === 'ENOENT') {
    const path = resolvePath(domain, text ?? '') ?? '/';
    return view.get(parentOf(path)) === undefined ? 'ENOENT' : undefined;
  }
  if (typeof found === 'string') return found;
  if (found.path === '/') return 'EINVAL';
  const parent = view.get(parentOf(found.path));
  if (parent === undefined) return 'EINVAL';
  const remove = (path: string, node: StoreNode): void => {
    for (const name of node.children) {
      const child = view.get(childOf(path, name));
      if (child !== undefined) remove(childOf(path, name), child);
    }
    view.delete(path);
    client.changed(path, path === found.path ? 'subtree' : 'exact', node);
  };
  remove(found.path, found.node);
  const name = nameOf(found.path);
  view.put(parentOf(found.path), {
    ...parent,
    children: parent.children.filter((child) => child !== name),
  });
  return undefined;
};

/** Only the owner may, and only the privileged may give a node away. */
export const setPermissions = (
  client: Client,
  text: string | undefined,
  permissions: Permissions,
): XenstoreError | undefined => {
  if (!isPrivileged(client.domain) && permissions.length > QUOTA.permissions) return 'ENOSPC';
  const found = findNode(client, text, 'owner', true);
  if (typeof found === 'string') return found;
  const { path, node } = found;
  if (!isPrivileged(client.domain) && permissions[0].domain !== node.permissions[0].domain) {
    return 'EPERM';
  }
  client.view.put(path, { ...node, permissions });
  client.changed(path, 'subtree', node);
  return undefined;
};
