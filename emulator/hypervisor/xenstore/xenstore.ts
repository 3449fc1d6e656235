/**
 * The xenstore daemon of domain 0: the store and its clients. It answers a message when it is given
 * one, and puts answers and watch events into the output of the connections; rings (ring.ts) carry
 * them. Domain 0's own toolstack asks through `tools`.
 * Source: Xen docs/misc/xenstore.txt.
 */
import {
  type Connection,
  createConnection,
  queueEvent,
  queueReply,
  resetConnection,
  restoreConnection,
  type SavedConnection,
  saveConnection,
} from './connection.ts';
import {
  MESSAGE_TYPES,
  type Message,
  PAYLOAD_MAXIMUM,
  typeNameOf,
  type XenstoreError,
} from './messages.ts';
import type { Client } from './nodes.ts';
import { INTRODUCE_DOMAIN, RELEASE_DOMAIN } from './paths.ts';
import { isPrivileged } from './permissions.ts';
import { findRequest, fireNewWatch, type Reply } from './requests.ts';
import { createStore, type SavedStore, type StoreTransaction, type StoreView } from './store.ts';
import { type Change, concerned, mayKnow } from './watches.ts';

/** How many nodes a transaction of an unprivileged domain may meet. */
const TRANSACTION_NODES = 1024;

export interface SavedXenstore {
  readonly store: SavedStore;
  readonly connections: readonly SavedConnection[];
  readonly changes: readonly (readonly [domain: number, id: number, changes: readonly Change[]])[];
}

export type RequestObserver = (
  domain: number,
  request: {
    readonly request: string;
    readonly path: string;
    readonly value: string;
    readonly answer: string;
  },
) => void;

export interface Xenstore {
  readonly view: StoreView;
  readonly connections: ReadonlyMap<number, Connection>;
  /** A domain has come: it may send messages. */
  introduce(domain: number): Connection;
  /** A domain is gone. */
  release(domain: number): void;
  /** Answers a message; the reply is in the connection's output. */
  process(connection: Connection, message: Message): void;
  /** Is told of every request, with its answer. */
  observe(observer: RequestObserver): void;
  /** Runs a change as domain 0, in a transaction, and fires watches when it is done. */
  asTools<T>(use: (client: Client) => T): T;
  save(): SavedXenstore;
  restore(saved: SavedXenstore): void;
}

export const createXenstore = (): Xenstore => {
  const store = createStore();
  const connections = new Map<number, Connection>();
  /** What unfinished transactions have changed. */
  let changes = new WeakMap<StoreTransaction, Change[]>();

  let observer: RequestObserver | undefined;

  const fire = (fired: readonly Change[]): void => {
    for (const change of fired) {
      for (const connection of connections.values()) {
        if (!mayKnow(store, connection.domain, change)) continue;
        for (const watch of concerned(connection.watches, change)) {
          queueEvent(connection, watch, change.path);
        }
      }
    }
  };
  const takeChanges = (transaction: StoreTransaction): readonly Change[] => {
    const own = changes.get(transaction) ?? [];
    changes.delete(transaction);
    return own;
  };
  /** A deletion is told of while the node is known; in a transaction, when that is done. */
  const clientOf = (domain: number, transaction: StoreTransaction | undefined): Client => ({
    domain,
    view: transaction ?? store,
    changed(path, kind, before) {
      const change = { path, kind, before };
      if (transaction === undefined) fire([change]);
      else changes.set(transaction, [...(changes.get(transaction) ?? []), change]);
    },
  });
  const answer = (connection: Connection, { type, transaction: id, payload }: Message): Reply => {
    const { domain, transactions } = connection;
    const request = findRequest(type);
    if (request === undefined) return 'ENOSYS';
    if (request.privileged === true && !isPrivileged(domain)) return 'EACCES';
    const named = request.isGlobal === true || id === 0 ? undefined : id;
    const view = named === undefined ? undefined : transactions.get(named);
    if (named !== undefined && view === undefined) return 'ENOENT';
    const isEnd = type === MESSAGE_TYPES.transactionEnd;
    if (view !== undefined && view.size > TRANSACTION_NODES && !isPrivileged(domain) && !isEnd) {
      return 'ENOSPC';
    }
    return request.handle({
      store,
      connection,
      client: clientOf(domain, view),
      transaction: view && named !== undefined ? { id: named, view } : undefined,
      payload,
      isIntroduced: (other) => connections.has(other) || other === 0,
      takeChanges,
      fire,
    });
  };
  const special = (path: string): void => fire([{ path, kind: 'exact', before: store.get(path) }]);

  return {
    view: store,
    connections,
    introduce(domain) {
      const connection = connections.get(domain) ?? createConnection(domain);
      resetConnection(connection);
      connections.set(domain, connection);
      special(INTRODUCE_DOMAIN);
      return connection;
    },
    release(domain) {
      if (connections.delete(domain)) special(RELEASE_DOMAIN);
    },
    process(connection, message) {
      const reply = answer(connection, message);
      const isFailed = typeof reply === 'string';
      const payload = isFailed ? errorPayload(reply) : reply.payload;
      queueReply(connection, {
        ...message,
        type: isFailed ? MESSAGE_TYPES.error : message.type,
        payload: payload.length > PAYLOAD_MAXIMUM ? errorPayload('E2BIG') : payload,
      });
      if (!isFailed && message.type === MESSAGE_TYPES.watch) fireNewWatch(connection);
      if (observer === undefined) return;
      const [path = '', ...rest] = message.payload.split('\0');
      const request = typeNameOf(message.type) ?? `${message.type}`;
      const value = rest.join(' ').trim();
      observer(connection.domain, { request, path, value, answer: readable(payload) });
    },
    observe(next) {
      observer = next;
    },
    asTools(use) {
      const transaction = store.begin();
      const result = use(clientOf(0, transaction));
      transaction.commit();
      fire(takeChanges(transaction));
      return result;
    },
    save: () => ({
      store: store.save(),
      connections: [...connections.values()].map(saveConnection),
      changes: [...connections.values()].flatMap(({ domain, transactions }) =>
        [...transactions].map(([id, one]) => [domain, id, changes.get(one) ?? []] as const),
      ),
    }),
    restore(saved) {
      store.restore(saved.store);
      connections.clear();
      changes = new WeakMap();
      for (const one of saved.connections) {
        connections.set(one.domain, restoreConnection(store, one));
      }
      for (const [domain, id, own] of saved.changes) {
        const transaction = connections.get(domain)?.transactions.get(id);
        if (transaction !== undefined) changes.set(transaction, [...own]);
      }
    },
  };
};

/** Texts with blanks between them. */
const readable = (payload: string): string => payload.replaceAll('\0', ' ').trim();

const errorPayload = (error: XenstoreError): string => `${error}\0`;
