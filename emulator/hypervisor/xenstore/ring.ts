/**
 * A xenstore ring: a page that a domain shares with the daemon, with 1024 bytes in each direction.
 * Messages go through in pieces as there is room.
 * Source: Xen public/io/xs_wire.h, struct xenstore_domain_interface.
 */
import type { Connection } from './connection.ts';
import { resetConnection } from './connection.ts';
import { decodeMessage, HEADER_BYTES, PAYLOAD_MAXIMUM, payloadLengthOf } from './messages.ts';
import type { Xenstore } from './xenstore.ts';

/** A page of guest memory. Writes go through `write`, so that the machine hears of them. */
export interface SharedPage {
  readonly bytes: Uint8Array;
  write(offset: number, bytes: Uint8Array): void;
}

const RING_BYTES = 1024;
const REQUESTS = 0;
const RESPONSES = 0x400;
const REQUEST_CONSUMER = 0x800;
const REQUEST_PRODUCER = 0x804;
const RESPONSE_CONSUMER = 0x808;
const RESPONSE_PRODUCER = 0x80c;
const SERVER_FEATURES = 0x810;
const CONNECTION = 0x814;
const ERROR = 0x818;
/** The `error` field is used. */
const FEATURE_ERROR = 2;
const ERROR_RING_INDEX = 2;
const ERROR_PROTOCOL = 3;
/** Replies that may wait before no more requests are read. */
const OUTSTANDING = 20;

export const readWord = ({ bytes }: SharedPage, offset: number): number =>
  new DataView(bytes.buffer, bytes.byteOffset).getUint32(offset, true);

export const writeWord = (page: SharedPage, offset: number, value: number): void => {
  const bytes = new Uint8Array(4);
  new DataView(bytes.buffer).setUint32(0, value, true);
  page.write(offset, bytes);
};

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
    const moved = flush(connection, page) + receive(connection, page);
    const problem = moved < 0 ? ERROR_RING_INDEX : handle(xenstore, connection);
    if (problem !== undefined) {
      connection.isIgnored = true;
      resetConnection(connection);
      writeWord(page, ERROR, problem);
      return isChanged;
    }
    if (moved === 0 && !mayHandle(connection)) return isChanged;
    isChanged ||= moved > 0;
  }
};

const mayHandle = (connection: Connection): boolean =>
  !isBusy(connection) && isWhole(connection.input);

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

/** Far below what any number of bytes makes up for. */
const BROKEN = -0x1_0000;

const distance = (page: SharedPage, producer: number, consumer: number): number => {
  const filled = (readWord(page, producer) - readWord(page, consumer)) >>> 0;
  return filled > RING_BYTES ? BROKEN : filled;
};

/** Takes bytes of requests, no more than the message needs; how many, or BROKEN. */
const receive = (connection: Connection, page: SharedPage): number => {
  const filled = distance(page, REQUEST_PRODUCER, REQUEST_CONSUMER);
  if (filled <= 0 || isWhole(connection.input)) return Math.min(filled, 0);
  if (isBusy(connection)) return 0;
  const { input } = connection;
  const wanted = HEADER_BYTES + (payloadLengthOf(input) ?? 0) - input.length;
  if (wanted > PAYLOAD_MAXIMUM + HEADER_BYTES) return 0;
  const count = Math.min(filled, wanted);
  const consumer = readWord(page, REQUEST_CONSUMER);
  const taken = new Uint8Array(input.length + count);
  taken.set(input);
  for (let at = 0; at < count; at += 1) {
    taken[input.length + at] = page.bytes[REQUESTS + ((consumer + at) % RING_BYTES)] ?? 0;
  }
  connection.input = taken;
  writeWord(page, REQUEST_CONSUMER, (consumer + count) >>> 0);
  return count;
};

/** Sends what there is room for; how many bytes, or BROKEN. */
const flush = ({ output }: Connection, page: SharedPage): number => {
  const filled = distance(page, RESPONSE_PRODUCER, RESPONSE_CONSUMER);
  if (filled < 0) return filled;
  let room = RING_BYTES - filled;
  let moved = 0;
  for (let first = output[0]; first !== undefined && room > 0; first = output[0]) {
    const count = Math.min(room, first.bytes.length - first.sent);
    const producer = readWord(page, RESPONSE_PRODUCER);
    for (let at = 0; at < count; ) {
      const start = (producer + at) % RING_BYTES;
      const piece = Math.min(count - at, RING_BYTES - start);
      const from = first.sent + at;
      page.write(RESPONSES + start, first.bytes.subarray(from, from + piece));
      at += piece;
    }
    writeWord(page, RESPONSE_PRODUCER, (producer + count) >>> 0);
    first.sent += count;
    room -= count;
    moved += count;
    if (first.sent === first.bytes.length) output.shift();
  }
  return moved;
};
