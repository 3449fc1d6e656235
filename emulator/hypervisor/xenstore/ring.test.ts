import { expect, test } from 'vitest';
import { readWord, type SharedPage, writeWord } from '../shared-page.ts';
import { decodeMessage, encodeMessage, MESSAGE_TYPES, type Message } from './messages.ts';
import { makeNode, setPermissions } from './nodes.ts';
import { openRing, serveRing } from './ring.ts';
import { createXenstore } from './xenstore.ts';

const createPage = (): SharedPage => {
  const bytes = new Uint8Array(4096);
  return { bytes, write: (offset, written) => bytes.set(written, offset) };
};

/** A guest's side of a ring, with a daemon at the other end. */
const build = () => {
  const xenstore = createXenstore();
  xenstore.asTools((client) => {
    makeNode(client, '/local/domain/1');
    setPermissions(client, '/local/domain/1', [{ domain: 1, access: 'n' }]);
  });
  const connection = xenstore.introduce(1);
  const page = createPage();
  openRing(page);
  let received = new Uint8Array();
  return {
    page,
    connection,
    serve: () => serveRing(xenstore, connection, page),
    /** Puts as many of the bytes into the ring as fit, at most `limit`; how many. */
    send(bytes: Uint8Array, limit = 1024): number {
      const producer = readWord(page, 0x804);
      const room = 1024 - ((producer - readWord(page, 0x800)) >>> 0);
      const count = Math.min(room, limit, bytes.length);
      for (let at = 0; at < count; at += 1) page.bytes[(producer + at) % 1024] = bytes[at] ?? 0;
      writeWord(page, 0x804, (producer + count) >>> 0);
      return count;
    },
    /** Takes at most `limit` bytes of answers; the messages that are whole. */
    receive(limit = 1024): Message[] {
      const consumer = readWord(page, 0x808);
      const count = Math.min(limit, (readWord(page, 0x80c) - consumer) >>> 0);
      const taken = new Uint8Array(received.length + count);
      taken.set(received);
      for (let at = 0; at < count; at += 1) {
        taken[received.length + at] = page.bytes[0x400 + ((consumer + at) % 1024)] ?? 0;
      }
      writeWord(page, 0x808, (consumer + count) >>> 0);
      received = taken;
      const messages: Message[] = [];
      for (;;) {
        const message = decodeMessage(received);
        if (message === undefined) return messages;
        messages.push(message);
        received = received.slice(16 + message.payload.length);
      }
    },
  };
};

const request = (type: number, payload: string, id = 1): Uint8Array =>
  encodeMessage({ type, request: id, transaction: 0, payload });

test('a message in pieces is answered when it is whole', () => {
  const { send, serve, receive } = build();
  const bytes = request(MESSAGE_TYPES.write, 'a\0value', 9);

  send(bytes.subarray(0, 5));
  expect(serve()).toBe(true);
  expect(receive()).toEqual([]);
  send(bytes.subarray(5, 20));
  serve();
  expect(receive()).toEqual([]);
  send(bytes.subarray(20));
  serve();
  expect(receive()).toEqual([
    { type: MESSAGE_TYPES.write, request: 9, transaction: 0, payload: 'OK\0' },
  ]);
  expect(serve()).toBe(false);
});

test('values larger than the ring go through, in both directions, whatever the pieces', () => {
  const { send, serve, receive } = build();
  let seed = 1;
  const random = (limit: number): number => {
    seed = (Math.imul(seed, 1_103_515_245) + 12_345) >>> 0;
    return 1 + ((seed >>> 8) % limit);
  };
  for (let round = 0; round < 20; round += 1) {
    const value = Array.from({ length: random(2040) }, () =>
      String.fromCharCode(random(256) - 1),
    ).join('');
    const wanted = [
      request(MESSAGE_TYPES.write, `v\0${value}`, 2 * round),
      request(MESSAGE_TYPES.read, 'v\0', 2 * round + 1),
    ];
    const answers: Message[] = [];
    let rest = Uint8Array.from(wanted.flatMap((bytes) => [...bytes]));
    while (answers.length < 2) {
      rest = rest.slice(send(rest, random(300)));
      serve();
      answers.push(...receive(random(200)));
    }
    expect(answers.map(({ request: id }) => id)).toEqual([2 * round, 2 * round + 1]);
    expect(answers[1]?.payload).toBe(value);
  }
});

test('requests wait while too many answers are not read', () => {
  const { send, serve, receive, page } = build();
  const large = request(MESSAGE_TYPES.write, `v\0${'x'.repeat(900)}`);
  send(large);
  serve();
  receive();
  const small = request(MESSAGE_TYPES.read, 'v\0');
  for (let sent = 0; sent < 60; sent += 1) {
    if (send(small) < small.length) break;
    serve();
  }

  expect(readWord(page, 0x804)).not.toBe(readWord(page, 0x800));
  let count = 0;
  for (let round = 0; round < 200; round += 1) {
    count += receive().length;
    serve();
  }
  expect(count).toBeGreaterThan(30);
  expect(readWord(page, 0x804)).toBe(readWord(page, 0x800));
});

test.each([
  ['an index out of range', (page: SharedPage) => writeWord(page, 0x804, 5000), 2],
  ['a response index out of range', (page: SharedPage) => writeWord(page, 0x808, 1), 2],
  [
    'a payload that is too long',
    (page: SharedPage) => {
      page.write(0, Uint8Array.of(2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 16, 0, 0));
      writeWord(page, 0x804, 16);
    },
    3,
  ],
] as const)('after %s the client is not listened to any more', (_, damage, error) => {
  const { serve, page, connection, send } = build();
  damage(page);
  serve();

  expect(readWord(page, 0x818)).toBe(error);
  expect(connection.isIgnored).toBe(true);
  send(request(MESSAGE_TYPES.read, 'v\0'));
  expect(serve()).toBe(false);
});
