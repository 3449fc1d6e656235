/**
 * Every request that a client may send, and what answers it.
 * Source: Xen docs/misc/xenstore.txt; public/io/xs_wire.h.
 */
import { type Connection, queueEvent } from './connection.ts';
import {
  joinTexts,
  MESSAGE_TYPES,
  type MessageType,
  onlyText,
  PAYLOAD_MAXIMUM,
  splitTexts,
  type XenstoreError,
} from './messages.ts';
import { type Client, findNode, makeNode, removeNode, setPermissions, writeNode } from './nodes.ts';
import { domainPath, isRelative, resolvePath } from './paths.ts';
import { isPrivileged, type Permission, parsePermission, permissionText } from './permissions.ts';
import type { Store, StoreTransaction } from './store.ts';
import type { Change } from './watches.ts';

export interface RequestContext {
  readonly store: Store;
  readonly connection: Connection;
  /** Sees the store, or the transaction that the message names. */
  readonly client: Client;
  readonly transaction: { readonly id: number; readonly view: StoreTransaction } | undefined;
  readonly payload: string;
  /** Which domains are connected. */
  isIntroduced(domain: number): boolean;
  /** The changes that the transaction has made, once it is done. */
  takeChanges(transaction: StoreTransaction): readonly Change[];
  fire(changes: readonly Change[]): void;
}

/** The payload of the reply. */
export type Reply = { readonly payload: string } | XenstoreError;

export interface XenstoreRequest {
  readonly type: MessageType;
  /** Refused to unprivileged domains. */
  readonly privileged?: true;
  /** Of no transaction, whatever the message says. */
  readonly isGlobal?: true;
  handle(context: RequestContext): Reply;
}

const LIMITS = { watches: 128, transactions: 10 } as const;
const OK = { payload: joinTexts('OK') };
const acknowledge = (problem: XenstoreError | undefined): Reply => problem ?? OK;

const directory: XenstoreRequest = {
  type: 'directory',
  handle({ client, payload }) {
    const found = findNode(client, onlyText(payload), 'read');
    if (typeof found === 'string') return found;
    const names = joinTexts(...found.node.children);
    return names.length > PAYLOAD_MAXIMUM ? 'E2BIG' : { payload: names };
  },
};

/** Names from an offset on, as many as fit, after the generation; an empty name is the end. */
const directoryPart: XenstoreRequest = {
  type: 'directoryPart',
  handle({ client, payload }) {
    const [path, offset, ...rest] = splitTexts(payload);
    if (path === undefined || offset === undefined || rest.length > 0) return 'EINVAL';
    const found = findNode(client, path, 'read');
    if (typeof found === 'string') return found;
    const generation = joinTexts(`${found.node.generation}`);
    const left = joinTexts(...found.node.children).slice(Number.parseInt(offset, 10) || 0);
    const room = PAYLOAD_MAXIMUM - generation.length - 1;
    if (left.length <= room) return { payload: `${generation}${left}\0` };
    return { payload: generation + left.slice(0, left.lastIndexOf('\0', room - 1) + 1) };
  },
};

const read: XenstoreRequest = {
  type: 'read',
  handle({ client, payload }) {
    const found = findNode(client, onlyText(payload), 'read');
    return typeof found === 'string' ? found : { payload: found.node.value };
  },
};

/** The value has no zero at its end, and may hold any byte. */
const write: XenstoreRequest = {
  type: 'write',
  handle({ client, payload }) {
    const end = payload.indexOf('\0');
    if (end < 0) return 'EINVAL';
    return acknowledge(writeNode(client, payload.slice(0, end), payload.slice(end + 1)));
  },
};

const mkdir: XenstoreRequest = {
  type: 'mkdir',
  handle: ({ client, payload }) => acknowledge(makeNode(client, onlyText(payload))),
};

const rm: XenstoreRequest = {
  type: 'rm',
  handle: ({ client, payload }) => acknowledge(removeNode(client, onlyText(payload))),
};

const getPermissions: XenstoreRequest = {
  type: 'getPermissions',
  handle({ client, payload }) {
    const found = findNode(client, onlyText(payload), 'read', true);
    if (typeof found === 'string') return found;
    return { payload: joinTexts(...found.node.permissions.map(permissionText)) };
  },
};

const setPermissionsOf: XenstoreRequest = {
  type: 'setPermissions',
  handle({ client, payload }) {
    const [path, ...texts] = splitTexts(payload);
    const parsed = texts.map(parsePermission);
    const [first, ...others] = parsed.filter((one): one is Permission => one !== undefined);
    if (first === undefined || others.length + 1 < parsed.length) return 'EINVAL';
    return acknowledge(setPermissions(client, path, [first, ...others]));
  },
};

/** The first event comes at once. */
const watch: XenstoreRequest = {
  type: 'watch',
  isGlobal: true,
  handle({ connection, payload }) {
    const [text, token, ...rest] = splitTexts(payload);
    if (text === undefined || token === undefined || rest.length > 0) return 'EINVAL';
    const path = resolvePath(connection.domain, text, true);
    if (path === undefined) return 'EINVAL';
    const { watches, domain } = connection;
    if (watches.some((one) => one.path === path && one.token === token)) return 'EEXIST';
    if (!isPrivileged(domain) && watches.length >= LIMITS.watches) return 'E2BIG';
    const hidden = isRelative(text) ? domainPath(domain).length + 1 : 0;
    watches.push({ path, token, hidden });
    return OK;
  },
};

const unwatch: XenstoreRequest = {
  type: 'unwatch',
  isGlobal: true,
  handle({ connection, payload }) {
    const [text, token, ...rest] = splitTexts(payload);
    if (text === undefined || token === undefined || rest.length > 0) return 'EINVAL';
    const path = resolvePath(connection.domain, text, true);
    if (path === undefined) return 'EINVAL';
    const { watches } = connection;
    const index = watches.findIndex((one) => one.path === path && one.token === token);
    if (index < 0) return 'ENOENT';
    watches.splice(index, 1);
    return OK;
  },
};

const resetWatches: XenstoreRequest = {
  type: 'resetWatches',
  handle({ connection }) {
    connection.watches.length = 0;
    connection.transactions.clear();
    return OK;
  },
};

const transactionStart: XenstoreRequest = {
  type: 'transactionStart',
  handle({ connection, transaction, store }) {
    const { transactions, domain } = connection;
    if (transaction !== undefined) return 'EBUSY';
    if (!isPrivileged(domain) && transactions.size >= LIMITS.transactions) return 'ENOSPC';
    while (connection.nextTransaction === 0 || transactions.has(connection.nextTransaction)) {
      connection.nextTransaction = (connection.nextTransaction + 1) >>> 0;
    }
    const id = connection.nextTransaction;
    connection.nextTransaction = (id + 1) >>> 0;
    transactions.set(id, store.begin());
    return { payload: joinTexts(`${id}`) };
  },
};

/** Watches fire when it is done. */
const transactionEnd: XenstoreRequest = {
  type: 'transactionEnd',
  handle({ connection, transaction, payload, takeChanges, fire }) {
    const verdict = onlyText(payload);
    if (verdict !== 'T' && verdict !== 'F') return 'EINVAL';
    if (transaction === undefined) return 'ENOENT';
    connection.transactions.delete(transaction.id);
    const changes = takeChanges(transaction.view);
    if (verdict === 'F') return OK;
    if (!transaction.view.commit()) return 'EAGAIN';
    fire(changes);
    return OK;
  },
};

const domainOf = (payload: string): number | undefined => {
  const text = onlyText(payload);
  return text !== undefined && /^\d{1,5}$/.test(text) ? Number(text) : undefined;
};

const getDomainPath: XenstoreRequest = {
  type: 'getDomainPath',
  handle({ payload }) {
    const domain = domainOf(payload);
    return domain === undefined ? 'EINVAL' : { payload: joinTexts(domainPath(domain)) };
  },
};

const isDomainIntroduced: XenstoreRequest = {
  type: 'isDomainIntroduced',
  privileged: true,
  handle({ payload, isIntroduced }) {
    const domain = domainOf(payload);
    if (domain === undefined) return 'EINVAL';
    return { payload: joinTexts(isIntroduced(domain) ? 'T' : 'F') };
  },
};

/** The toolstack here calls these directly, and never by message. */
const forTheToolstack = (type: MessageType): XenstoreRequest => ({
  type,
  privileged: true,
  handle: () => 'ENOSYS',
});

export const REQUESTS: readonly XenstoreRequest[] = [
  directory,
  directoryPart,
  read,
  write,
  mkdir,
  rm,
  getPermissions,
  setPermissionsOf,
  watch,
  unwatch,
  resetWatches,
  transactionStart,
  transactionEnd,
  getDomainPath,
  isDomainIntroduced,
  forTheToolstack('control'),
  forTheToolstack('introduce'),
  forTheToolstack('release'),
  forTheToolstack('resume'),
  forTheToolstack('setTarget'),
];

const byNumber = new Map(REQUESTS.map((one) => [MESSAGE_TYPES[one.type] as number, one]));

/** Undefined: -ENOSYS. */
export const findRequest = (type: number): XenstoreRequest | undefined => byNumber.get(type);

/** Sends the event that every new watch begins with. */
export const fireNewWatch = (connection: Connection): void => {
  const added = connection.watches.at(-1);
  if (added !== undefined) queueEvent(connection, added, added.path);
};
