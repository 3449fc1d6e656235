/**
 * The nodes of xenstore, and transactions on them. A node has a generation, new with each change.
 * A transaction remembers the generation of each node that it meets; if one has another when the
 * transaction ends, it has failed. Its changes are its own until then.
 * Source: Xen docs/misc/xenstore.txt, TRANSACTION_START and TRANSACTION_END.
 */
import { INTRODUCE_DOMAIN, RELEASE_DOMAIN } from './paths.ts';
import type { Permissions } from './permissions.ts';

export interface StoreNode {
  readonly value: string;
  readonly permissions: Permissions;
  /** Names, the oldest first. */
  readonly children: readonly string[];
  readonly generation: number;
}

/** The nodes as one client sees them. */
export interface StoreView {
  get(path: string): StoreNode | undefined;
  put(path: string, node: Omit<StoreNode, 'generation'>): void;
  delete(path: string): void;
  /** How many nodes a domain owns. */
  ownedBy(domain: number): number;
}

export interface StoreTransaction extends StoreView {
  /** False if another client has changed what it has seen; the store is as before then. */
  commit(): boolean;
  /** How many nodes it has met. */
  readonly size: number;
  save(): SavedTransaction;
}

export interface SavedTransaction {
  readonly seen: readonly (readonly [string, number])[];
  readonly changed: readonly (readonly [string, StoreNode | null])[];
}

export interface Store extends StoreView {
  begin(saved?: SavedTransaction): StoreTransaction;
  save(): SavedStore;
  restore(saved: SavedStore): void;
}

export interface SavedStore {
  readonly generation: number;
  readonly nodes: readonly (readonly [string, StoreNode])[];
}

const ownerOf = ({ permissions }: Pick<StoreNode, 'permissions'>): number => permissions[0].domain;

/** What is no generation: the node was not there. */
const ABSENT = 0;

/** A store with its root and the two special nodes, all of domain 0. */
export const createStore = (): Store => {
  const nodes = new Map<string, StoreNode>();
  const owned = new Map<number, number>();
  let generation = 0;
  const count = (domain: number, change: number): void => {
    owned.set(domain, (owned.get(domain) ?? 0) + change);
  };
  const store: Store = {
    get: (path) => nodes.get(path),
    ownedBy: (domain) => owned.get(domain) ?? 0,
    put(path, node) {
      store.delete(path);
      generation += 1;
      nodes.set(path, { ...node, generation });
      count(ownerOf(node), 1);
    },
    delete(path) {
      const old = nodes.get(path);
      if (old === undefined) return;
      nodes.delete(path);
      count(ownerOf(old), -1);
    },
    begin: (saved) => createTransaction(store, saved),
    save: () => ({ generation, nodes: [...nodes] }),
    restore(saved) {
      nodes.clear();
      owned.clear();
      for (const [path, node] of saved.nodes) {
        nodes.set(path, node);
        count(ownerOf(node), 1);
      }
      generation = saved.generation;
    },
  };
  for (const path of ['/', INTRODUCE_DOMAIN, RELEASE_DOMAIN]) {
    store.put(path, { value: '', children: [], permissions: [{ domain: 0, access: 'n' }] });
  }
  return store;
};

const createTransaction = (store: Store, saved?: SavedTransaction): StoreTransaction => {
  /** Generations at the first access. */
  const seen = new Map<string, number>(saved?.seen);
  const changed = new Map<string, StoreNode | undefined>(
    saved?.changed.map(([path, node]) => [path, node ?? undefined]),
  );
  const meet = (path: string): void => {
    if (!seen.has(path)) seen.set(path, store.get(path)?.generation ?? ABSENT);
  };
  const get = (path: string): StoreNode | undefined => {
    meet(path);
    return changed.has(path) ? changed.get(path) : store.get(path);
  };
  return {
    get,
    put(path, node) {
      meet(path);
      changed.set(path, { ...node, generation: ABSENT });
    },
    delete(path) {
      meet(path);
      changed.set(path, undefined);
    },
    ownedBy(domain) {
      let sum = store.ownedBy(domain);
      for (const [path, node] of changed) {
        const before = store.get(path);
        if (before !== undefined && ownerOf(before) === domain) sum -= 1;
        if (node !== undefined && ownerOf(node) === domain) sum += 1;
      }
      return sum;
    },
    get size() {
      return seen.size;
    },
    commit() {
      for (const [path, generation] of seen) {
        if ((store.get(path)?.generation ?? ABSENT) !== generation) return false;
      }
      for (const [path, node] of changed) {
        if (node === undefined) store.delete(path);
        else store.put(path, node);
      }
      return true;
    },
    save: () => ({
      seen: [...seen],
      changed: [...changed].map(([path, node]) => [path, node ?? null]),
    }),
  };
};
