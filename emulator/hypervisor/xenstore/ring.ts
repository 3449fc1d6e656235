/**
 * A xenstore ring: a page that a domain shares with the daemon, with 1024 bytes in each direction.
 * Messages go through in pieces as there is room.
 * Source: Xen public/io/xs_wire.h, struct xenstore_domain_interface.
 */
import {
  filledBytes,
  putBytes,
  type Ring,
  type SharedPage,
  takeBytes,
  writeWord,
} from '../shared-page.ts';
import { type Connection, resetConnection } from './connection.ts';
import { decodeMessage, HEADER_BYTES, PAYLOAD_MAXIMUM, payloadLengthOf } from './messages.ts';
import type { Xenstore } from './xenstore.ts';

const REQUESTS: Ring = { offset: 0, lengthBytes: 1024, consumer: 0x800, producer: 0x804 };
const RESPONSES: Ring = { offset: 0x400, lengthBytes: 1024, consumer: 0x808, producer: 0x80c };
const SERVER_FEATURES = 0x810;
const CONNECTION = 0x814;
const ERROR = 0x818;
/** The `error` field is used. */
const FEATURE_ERROR = 2;
const ERROR_RING_INDEX = 2;
const ERROR_PROTOCOL = 3;
/** Replies that may wait before no more requests are read. */
const OUTSTANDING = 20;

/** Says what the daemon can do; the ring is as the domain builder left it, empty. */
export const openRing = (page: SharedPage): void => {
  writeWord(page, SERVER_FEATURES, FEATURE_ERROR);
  writeWord(page, CONNECTION, 0);
};

/** Serves a ring until nothing more can be done; whether the domain must be told. */
export const serveRing = (
  xenstore: Xenstore,
  connection: Connection,
  page: SharedPage,
): boolean => {
  let isChanged = false;
  for (;;) {
    if (connection.isIgnored) return isChanged;
    const sent = flush(connection, page);
    const received = receive(connection, page);
    const isBroken = sent === undefined || received === undefined;
    const problem = isBroken ? ERROR_RING_INDEX : handle(xenstore, connection);
    if (problem !== undefined) {
      connection.isIgnored = true;
      resetConnection(connection);
      writeWord(page, ERROR, problem);
      return isChanged;
    }
    const isMoved = sent !== 0 || received !== 0;
    if (!isMoved && !mayHandle(connection) && !mayFlush(connection, page)) return isChanged;
    isChanged ||= isMoved;
  }
};

const mayHandle = (connection: Connection): boolean =>
  !isBusy(connection) && isWhole(connection.input);

const mayFlush = ({ output }: Connection, page: SharedPage): boolean =>
  output.length > 0 && filledBytes(page, RESPONSES) !== RESPONSES.lengthBytes;

const isBusy = ({ output }: Connection): boolean =>
  output.reduce((sum, { isEvent }) => sum + (isEvent ? 0 : 1), 0) >= OUTSTANDING;

const isWhole = (input: Uint8Array): boolean =>
  input.length >= HEADER_BYTES + (payloadLengthOf(input) ?? Number.POSITIVE_INFINITY);

/** Answers the message that has come whole, if there is one; the number of an error. */
const handle = (xenstore: Xenstore, connection: Connection): number | undefined => {
  if ((payloadLengthOf(connection.input) ?? 0) > PAYLOAD_MAXIMUM) return ERROR_PROTOCOL;
  if (!mayHandle(connection)) return undefined;
  const message = decodeMessage(connection.input);
  if (message === undefined) return undefined;
  connection.input = connection.input.slice(HEADER_BYTES + message.payload.length);
  xenstore.process(connection, message);
  return undefined;
};

/** Takes bytes of requests, no more than the message needs; how many, undefined if the ring is broken. */
const receive = (connection: Connection, page: SharedPage): number | undefined => {
  const filled = filledBytes(page, REQUESTS);
  if (filled === undefined || isWhole(connection.input) || isBusy(connection)) {
    return filled === undefined ? undefined : 0;
  }
  const { input } = connection;
  const wanted = HEADER_BYTES + (payloadLengthOf(input) ?? 0) - input.length;
  const bytes = takeBytes(page, REQUESTS, wanted);
  const joined = new Uint8Array(input.length + bytes.length);
  joined.set(input);
  joined.set(bytes, input.length);
  connection.input = joined;
  return bytes.length;
};

/** Sends what there is room for; how many bytes, undefined if the ring is broken. */
const flush = ({ output }: Connection, page: SharedPage): number | undefined => {
  if (filledBytes(page, RESPONSES) === undefined) return undefined;
  let moved = 0;
  for (let first = output[0]; first !== undefined; first = output[0]) {
    const count = putBytes(page, RESPONSES, first.bytes.subarray(first.sent));
    first.sent += count;
    moved += count;
    if (first.sent < first.bytes.length) break;
    output.shift();
  }
  return moved;
};
