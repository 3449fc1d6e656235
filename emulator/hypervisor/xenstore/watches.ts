/**
 * Watches: a client asks to be told of changes at a path and below it.
 * Source: Xen docs/misc/xenstore.txt, WATCH.
 */

import type { ChangeKind } from './nodes.ts';
import { isWithin, parentOf } from './paths.ts';
import { rightsFor } from './permissions.ts';
import type { StoreNode, StoreView } from './store.ts';

export interface Watch {
  readonly path: string;
  readonly token: string;
  /** How much of a path is not shown: a relative watch tells relative paths. */
  readonly hidden: number;
}

export interface Change {
  readonly path: string;
  readonly kind: ChangeKind;
  readonly before: StoreNode | undefined;
}

/** Watches that a change concerns. */
export const concerned = (watches: readonly Watch[], { path, kind }: Change): Watch[] =>
  watches.filter((watch) => (kind === 'exact' ? path === watch.path : isWithin(path, watch.path)));

/**
 * Whether a domain may know of a change: it may read the node, as it was or is, or its parent. The
 * special nodes have no parent.
 */
export const mayKnow = (view: StoreView, domain: number, { path, before }: Change): boolean =>
  [before, view.get(path), view.get(parentOf(path))].some(
    (node) => node !== undefined && rightsFor(domain, node.permissions).read,
  );

/** What a watch event carries. */
export const shownPath = ({ hidden }: Watch, path: string): string => path.slice(hidden);
