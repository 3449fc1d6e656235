/**
 * A client of xenstore: its watches, its transactions, and what is on the way to and from it.
 */
import {
  encodeMessage,
  joinTexts,
  MESSAGE_TYPES,
  type Message,
  PAYLOAD_MAXIMUM,
} from './messages.ts';
import type { SavedTransaction, Store, StoreTransaction } from './store.ts';
import { shownPath, type Watch } from './watches.ts';

export interface Connection {
  readonly domain: number;
  readonly watches: Watch[];
  readonly transactions: Map<number, StoreTransaction>;
  nextTransaction: number;
  /** The beginning of a message whose end has not come. */
  input: Uint8Array;
  /** Messages that wait to be sent, the first one perhaps in part. */
  readonly output: Outgoing[];
  /** It has broken the protocol, and is not listened to. */
  isIgnored: boolean;
}

interface Outgoing {
  readonly bytes: Uint8Array;
  sent: number;
  readonly isEvent: boolean;
}

export const createConnection = (domain: number): Connection => ({
  domain,
  watches: [],
  transactions: new Map(),
  nextTransaction: 1,
  input: new Uint8Array(),
  output: [],
  isIgnored: false,
});

/** Forgets all but that the client is there. */
export const resetConnection = (connection: Connection): void => {
  connection.watches.length = 0;
  connection.transactions.clear();
  connection.input = new Uint8Array();
  connection.output.length = 0;
};

export const queueReply = ({ output }: Connection, message: Message): void => {
  output.push({ bytes: encodeMessage(message), sent: 0, isEvent: false });
};

/** A client that does not read loses events beyond these. */
const EVENTS_MAXIMUM = 1000;

/** An event that waits already is not queued again. */
export const queueEvent = ({ output }: Connection, watch: Watch, path: string): void => {
  const payload = joinTexts(shownPath(watch, path), watch.token);
  if (payload.length > PAYLOAD_MAXIMUM || output.length >= EVENTS_MAXIMUM) return;
  const message = { type: MESSAGE_TYPES.watchEvent, request: 0, transaction: 0, payload };
  const bytes = encodeMessage(message);
  const waits = output.some(
    (one) =>
      one.isEvent &&
      one.sent === 0 &&
      one.bytes.length === bytes.length &&
      one.bytes.every((byte, at) => byte === bytes[at]),
  );
  if (!waits || path.startsWith('@')) output.push({ bytes, sent: 0, isEvent: true });
};

export interface SavedConnection {
  readonly domain: number;
  readonly watches: readonly Watch[];
  readonly transactions: readonly (readonly [number, SavedTransaction])[];
  readonly nextTransaction: number;
  readonly input: readonly number[];
  readonly output: readonly {
    readonly bytes: readonly number[];
    readonly sent: number;
    readonly isEvent: boolean;
  }[];
  readonly isIgnored: boolean;
}

export const saveConnection = (connection: Connection): SavedConnection => ({
  domain: connection.domain,
  watches: [...connection.watches],
  transactions: [...connection.transactions].map(([id, one]) => [id, one.save()]),
  nextTransaction: connection.nextTransaction,
  input: [...connection.input],
  output: connection.output.map((one) => ({ ...one, bytes: [...one.bytes] })),
  isIgnored: connection.isIgnored,
});

export const restoreConnection = (store: Store, saved: SavedConnection): Connection => ({
  domain: saved.domain,
  watches: [...saved.watches],
  transactions: new Map(saved.transactions.map(([id, one]) => [id, store.begin(one)])),
  nextTransaction: saved.nextTransaction,
  input: Uint8Array.from(saved.input),
  output: saved.output.map((one) => ({ ...one, bytes: Uint8Array.from(one.bytes) })),
  isIgnored: saved.isIgnored,
});
