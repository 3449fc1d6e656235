/**
 * Messages of xenstore: a header of four words, then a payload of at most 4096 bytes, mostly texts
 * that end with a zero. Payloads are strings of bytes here, one character a byte.
 * Source: Xen public/io/xs_wire.h; docs/misc/xenstore.txt.
 */

/** Types by name; what is not here is ENOSYS. */
export const MESSAGE_TYPES = {
  control: 0,
  directory: 1,
  read: 2,
  getPermissions: 3,
  watch: 4,
  unwatch: 5,
  transactionStart: 6,
  transactionEnd: 7,
  introduce: 8,
  release: 9,
  getDomainPath: 10,
  write: 11,
  mkdir: 12,
  rm: 13,
  setPermissions: 14,
  watchEvent: 15,
  error: 16,
  isDomainIntroduced: 17,
  resume: 18,
  setTarget: 19,
  resetWatches: 21,
  directoryPart: 22,
} as const;
export type MessageType = keyof typeof MESSAGE_TYPES;

const NAMES = new Map<number, MessageType>(
  Object.entries(MESSAGE_TYPES).map(([name, number]) => [number, name as MessageType]),
);
export const typeNameOf = (number: number): MessageType | undefined => NAMES.get(number);

/** Errors go over the wire as their names. */
export type XenstoreError =
  | 'EINVAL'
  | 'EACCES'
  | 'EEXIST'
  | 'ENOENT'
  | 'ENOMEM'
  | 'ENOSPC'
  | 'ENOSYS'
  | 'EBUSY'
  | 'EAGAIN'
  | 'E2BIG'
  | 'EPERM'
  | 'EISCONN';

export const HEADER_BYTES = 16;
export const PAYLOAD_MAXIMUM = 4096;

export interface Message {
  readonly type: number;
  readonly request: number;
  readonly transaction: number;
  readonly payload: string;
}

export const encodeMessage = ({ type, request, transaction, payload }: Message): Uint8Array => {
  const bytes = new Uint8Array(HEADER_BYTES + payload.length);
  const view = new DataView(bytes.buffer);
  [type, request, transaction, payload.length].forEach((word, index) => {
    view.setUint32(index * 4, word, true);
  });
  for (let at = 0; at < payload.length; at += 1) bytes[HEADER_BYTES + at] = payload.charCodeAt(at);
  return bytes;
};

/** The message at the start of the bytes; undefined if a part is missing. */
export const decodeMessage = (bytes: Uint8Array): Message | undefined => {
  const length = payloadLengthOf(bytes);
  if (length === undefined || bytes.length < HEADER_BYTES + length) return undefined;
  const view = new DataView(bytes.buffer, bytes.byteOffset);
  let payload = '';
  for (let at = 0; at < length; at += 1) {
    payload += String.fromCharCode(bytes[HEADER_BYTES + at] ?? 0);
  }
  return {
    type: view.getUint32(0, true),
    request: view.getUint32(4, true),
    transaction: view.getUint32(8, true),
    payload,
  };
};

/** Of the message at the start of the bytes; undefined before its header is there. */
export const payloadLengthOf = (bytes: Uint8Array): number | undefined =>
  bytes.length < HEADER_BYTES
    ? undefined
    : new DataView(bytes.buffer, bytes.byteOffset).getUint32(12, true);

/** Texts, each with its zero. */
export const joinTexts = (...texts: readonly string[]): string =>
  texts.map((text) => `${text}\0`).join('');

/** The texts that have a zero; what follows the last zero is no text. */
export const splitTexts = (payload: string): string[] => payload.split('\0').slice(0, -1);

/** The one text that a payload is; undefined if it is none, or more. */
export const onlyText = (payload: string): string | undefined => {
  const end = payload.indexOf('\0');
  return end >= 0 && end === payload.length - 1 ? payload.slice(0, end) : undefined;
};
