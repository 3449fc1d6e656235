import { expect, test } from 'vitest';
import { decodeMessage, joinTexts, MESSAGE_TYPES, type MessageType } from './messages.ts';
import { findNode, makeNode, setPermissions, writeNode } from './nodes.ts';
import { createXenstore, type Xenstore } from './xenstore.ts';

/** A store with domains 1 and 2, each with a home that it owns, and a place only domain 0 sees. */
const build = (): Xenstore => {
  const xenstore = createXenstore();
  xenstore.asTools((client) => {
    for (const domain of [1, 2]) {
      makeNode(client, `/local/domain/${domain}`);
      setPermissions(client, `/local/domain/${domain}`, [{ domain, access: 'n' }]);
    }
    writeNode(client, '/tool/secret', '42');
  });
  for (const domain of [1, 2]) xenstore.introduce(domain);
  return xenstore;
};

/** Sends a message as a domain and gives the first answer, an error by its name; events stay. */
const ask = (
  xenstore: Xenstore,
  domain: number,
  type: MessageType,
  payload: string,
  transaction = 0,
): string => {
  const connection = xenstore.connections.get(domain);
  if (connection === undefined) throw new Error(`Domain ${domain} is not connected.`);
  xenstore.process(connection, { type: MESSAGE_TYPES[type], request: 7, transaction, payload });
  const index = connection.output.findIndex(({ isEvent }) => !isEvent);
  const [reply] = connection.output.splice(index, 1);
  const message = reply && decodeMessage(reply.bytes);
  if (message?.request !== 7) throw new Error('The answer is to another request.');
  return message.payload;
};

/** Paths and tokens of the events that wait, and takes them. */
const events = (xenstore: Xenstore, domain: number): string[] =>
  (xenstore.connections.get(domain)?.output.splice(0) ?? []).map(
    ({ bytes }) => decodeMessage(bytes)?.payload.replaceAll('\0', ' ').trim() ?? '',
  );

const OK = 'OK\0';

test('a domain writes, reads and lists below its home by relative paths', () => {
  const xenstore = build();

  expect(ask(xenstore, 1, 'write', 'data/a\0hello\0there')).toBe(OK);
  expect(ask(xenstore, 1, 'mkdir', 'data/b\0')).toBe(OK);
  expect(ask(xenstore, 1, 'mkdir', 'data/b\0')).toBe(OK);
  expect(ask(xenstore, 1, 'read', '/local/domain/1/data/a\0')).toBe('hello\0there');
  expect(ask(xenstore, 1, 'directory', 'data\0')).toBe('a\0b\0');
  expect(ask(xenstore, 1, 'getPermissions', 'data/a\0')).toBe('n1\0');
  expect(ask(xenstore, 1, 'rm', 'data\0')).toBe(OK);
  expect(ask(xenstore, 1, 'read', 'data/a\0')).toBe('ENOENT\0');
  expect(ask(xenstore, 1, 'rm', 'data\0')).toBe(OK);
  expect(ask(xenstore, 1, 'rm', 'data/a\0')).toBe('ENOENT\0');
});

test.each([
  ['a path with a wrong sign', 'read', 'da.ta\0', 'EINVAL'],
  ['two slashes', 'read', 'data//a\0', 'EINVAL'],
  ['a slash at the end', 'read', 'data/\0', 'EINVAL'],
  ['a text without its zero', 'read', 'data', 'EINVAL'],
  ['a path that is too long', 'mkdir', `${'x'.repeat(2049)}\0`, 'EINVAL'],
  ['the longest path', 'mkdir', `${'x'.repeat(2048)}\0`, 'OK'],
  ['a node of domain 0', 'read', '/tool/secret\0', 'EACCES'],
  ['a node that is not there, in a place one may not see', 'read', '/tool/none\0', 'EACCES'],
  ['the home of another', 'write', '/local/domain/2/x\0', 'EACCES'],
  ['the root', 'rm', '/\0', 'EACCES'],
  ['a value that is too long', 'write', `v\0${'x'.repeat(2049)}`, 'ENOSPC'],
  ['a permission that is none', 'setPermissions', 'v\0q1\0', 'EINVAL'],
  ['six permissions', 'setPermissions', '/local/domain/1\0n1\0r2\0r3\0r4\0r5\0r6\0', 'ENOSPC'],
  ['another owner', 'setPermissions', '/local/domain/1\0n2\0', 'EPERM'],
  ['an introduction', 'introduce', '3\x000\x001\0', 'EACCES'],
  ['a release', 'release', '2\0', 'EACCES'],
  ['a control message', 'control', 'help\0', 'EACCES'],
  ['an answer for a request', 'watchEvent', 'x\0', 'ENOSYS'],
  ['the end of no transaction', 'transactionEnd', 'T\0', 'ENOENT'],
  ['no verdict', 'transactionEnd', 'X\0', 'EINVAL'],
  ['a watch that is not there', 'unwatch', 'x\0token\0', 'ENOENT'],
  ['a watch without a token', 'watch', 'x\0', 'EINVAL'],
] as const)('%s is answered as by xenstored', (_, type, payload, answer) => {
  expect(ask(build(), 1, type, payload)).toBe(`${answer}\0`);
});

test('permissions let another domain in', () => {
  const xenstore = build();
  ask(xenstore, 1, 'write', 'shared\0one');

  expect(ask(xenstore, 2, 'read', '/local/domain/1/shared\0')).toBe('EACCES\0');
  expect(ask(xenstore, 1, 'setPermissions', 'shared\0n1\0r2\0')).toBe(OK);
  expect(ask(xenstore, 2, 'read', '/local/domain/1/shared\0')).toBe('one');
  expect(ask(xenstore, 2, 'write', '/local/domain/1/shared\0two')).toBe('EACCES\0');
  expect(ask(xenstore, 1, 'setPermissions', 'shared\0n1\0b2\0')).toBe(OK);
  expect(ask(xenstore, 2, 'write', '/local/domain/1/shared\0two')).toBe(OK);
  expect(ask(xenstore, 1, 'read', 'shared\0')).toBe('two');
});

test('a transaction is seen when it ends, and fails if what it has seen has changed', () => {
  const xenstore = build();
  ask(xenstore, 1, 'write', 'x\0' + '1');
  const first = Number.parseInt(ask(xenstore, 1, 'transactionStart', '\0'), 10);
  const second = Number.parseInt(ask(xenstore, 1, 'transactionStart', '\0'), 10);

  expect([first, second]).toEqual([1, 2]);
  expect(ask(xenstore, 1, 'write', 'x\0' + '2', first)).toBe(OK);
  expect(ask(xenstore, 1, 'read', 'x\0', first)).toBe('2');
  expect(ask(xenstore, 1, 'read', 'x\0')).toBe('1');
  expect(ask(xenstore, 1, 'read', 'x\0', second)).toBe('1');
  expect(ask(xenstore, 1, 'transactionStart', '\0', first)).toBe('EBUSY\0');
  expect(ask(xenstore, 1, 'transactionEnd', 'T\0', first)).toBe(OK);
  expect(ask(xenstore, 1, 'read', 'x\0')).toBe('2');
  expect(ask(xenstore, 1, 'write', 'y\0' + '3', second)).toBe(OK);
  expect(ask(xenstore, 1, 'transactionEnd', 'T\0', second)).toBe('EAGAIN\0');
  expect(ask(xenstore, 1, 'read', 'y\0')).toBe('ENOENT\0');
  expect(ask(xenstore, 1, 'read', 'x\0', second)).toBe('ENOENT\0');
});

test('a transaction that is given up changes nothing and tells nobody', () => {
  const xenstore = build();
  ask(xenstore, 1, 'watch', 'x\0token\0');
  events(xenstore, 1);
  const id = Number.parseInt(ask(xenstore, 1, 'transactionStart', '\0'), 10);
  ask(xenstore, 1, 'write', 'x\0' + '2', id);

  expect(ask(xenstore, 1, 'transactionEnd', 'F\0', id)).toBe(OK);
  expect(ask(xenstore, 1, 'read', 'x\0')).toBe('ENOENT\0');
  expect(events(xenstore, 1)).toEqual([]);
});

test('a watch fires at once, then at changes at its path and below, with the path as it was given', () => {
  const xenstore = build();
  expect(ask(xenstore, 1, 'watch', 'memory/target\0balloon\0')).toBe(OK);
  expect(ask(xenstore, 1, 'watch', '/local/domain/1/data\0d\0')).toBe(OK);
  expect(ask(xenstore, 1, 'watch', 'memory/target\0balloon\0')).toBe('EEXIST\0');
  expect(events(xenstore, 1)).toEqual(['memory/target balloon', '/local/domain/1/data d']);

  ask(xenstore, 1, 'write', 'data/a/b\0x');
  ask(xenstore, 1, 'write', 'data/a/b\0y');
  xenstore.asTools((client) => writeNode(client, '/local/domain/1/memory/target', '32768'));
  expect(events(xenstore, 1)).toEqual(['/local/domain/1/data/a/b d', 'memory/target balloon']);

  ask(xenstore, 1, 'rm', 'data\0');
  expect(events(xenstore, 1)).toEqual(['/local/domain/1/data d']);
  expect(ask(xenstore, 1, 'unwatch', 'memory/target\0balloon\0')).toBe(OK);
  xenstore.asTools((client) => writeNode(client, '/local/domain/1/memory/target', '16384'));
  expect(events(xenstore, 1)).toEqual([]);
});

test('who may not read a node does not hear of it', () => {
  const xenstore = build();
  ask(xenstore, 2, 'watch', '/local/domain/1\0spy\0');
  events(xenstore, 2);
  ask(xenstore, 1, 'write', 'x\0' + '1');

  expect(events(xenstore, 2)).toEqual([]);
});

test('domains that come and go are told of to those who may know', () => {
  const xenstore = build();
  ask(xenstore, 1, 'watch', '@releaseDomain\0gone\0');
  ask(xenstore, 1, 'watch', '@introduceDomain\0come\0');
  expect(events(xenstore, 1)).toEqual(['@releaseDomain gone', '@introduceDomain come']);
  xenstore.release(2);
  expect(events(xenstore, 1)).toEqual([]);
  xenstore.asTools((client) => {
    for (const name of ['@releaseDomain', '@introduceDomain']) {
      setPermissions(client, name, [{ domain: 0, access: 'r' }]);
    }
  });
  events(xenstore, 1);
  xenstore.introduce(2);
  xenstore.release(2);
  expect(events(xenstore, 1)).toEqual(['@introduceDomain come', '@releaseDomain gone']);
});

test('quotas hold for domains that are not privileged', () => {
  const xenstore = build();
  const answers = Array.from({ length: 11 }, () => ask(xenstore, 1, 'transactionStart', '\0'));
  expect(answers.at(9)).toBe('10\0');
  expect(answers.at(10)).toBe('ENOSPC\0');

  const watches = Array.from({ length: 129 }, (_, at) => ask(xenstore, 1, 'watch', `w${at}\0t\0`));
  expect(watches.at(127)).toBe(OK);
  expect(watches.at(128)).toBe('E2BIG\0');
  expect(ask(xenstore, 1, 'resetWatches', '')).toBe(OK);
  expect(ask(xenstore, 1, 'watch', 'w\0t\0')).toBe(OK);

  const nodes = Array.from({ length: 1000 }, (_, at) => ask(xenstore, 2, 'mkdir', `n${at}\0`));
  expect(nodes.filter((answer) => answer === OK).length).toBe(999);
  expect(nodes.at(-1)).toBe('ENOSPC\0');
  ask(xenstore, 2, 'rm', 'n0\0');
  expect(ask(xenstore, 2, 'mkdir', 'again\0')).toBe(OK);
});

test('a directory too large for a message is read in parts', () => {
  const xenstore = build();
  const names = Array.from({ length: 500 }, (_, at) => `child-number-${at}`);
  for (const name of names) ask(xenstore, 1, 'mkdir', `big/${name}\0`);
  expect(ask(xenstore, 1, 'directory', 'big\0')).toBe('E2BIG\0');

  let listed = '';
  for (let isEnd = false; !isEnd; ) {
    const part = ask(xenstore, 1, 'directoryPart', joinTexts('big', `${listed.length}`));
    const body = part.slice(part.indexOf('\0') + 1);
    isEnd = body.endsWith('\0\0') || body === '\0';
    listed += isEnd ? body.slice(0, -1) : body;
  }
  expect(listed).toBe(joinTexts(...names));
});

test('the daemon is saved and restored in the middle of its work', () => {
  const xenstore = build();
  ask(xenstore, 1, 'watch', 'x\0token\0');
  const id = Number.parseInt(ask(xenstore, 1, 'transactionStart', '\0'), 10);
  ask(xenstore, 1, 'write', 'x\0value', id);
  const other = createXenstore();
  other.restore(JSON.parse(JSON.stringify(xenstore.save())));

  expect(events(other, 1)).toEqual(['x token']);
  expect(ask(other, 1, 'transactionEnd', 'T\0', id)).toBe(OK);
  expect(events(other, 1)).toEqual(['x token']);
  expect(ask(other, 1, 'read', 'x\0')).toBe('value');
  expect(other.asTools((client) => findNode(client, '/tool/secret', 'read'))).toMatchObject({
    node: { value: '42' },
  });
});
