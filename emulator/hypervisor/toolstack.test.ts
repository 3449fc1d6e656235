import { expect, test } from 'vitest';
import type { Gfn, Mfn } from '../memory/addresses.ts';
import { isPending } from './event-channels.ts';
import { pageOf, readWord, writeWord } from './shared-page.ts';
import { CONSOLE_GFN, XENSTORE_GFN } from './start-of-day.ts';
import { ARGUMENT, buildHypervisor, call } from './test-hypervisor.ts';
import { runXl } from './toolstack.ts';
import { decodeMessage, encodeMessage, joinTexts, MESSAGE_TYPES } from './xenstore/messages.ts';

const STORE_PORT = 1;
const CONSOLE_PORT = 2;

/** A machine with one domain, and what the domain sees of its rings. */
const build = () => {
  const { hypervisor, domains } = buildHypervisor(1);
  const [domain] = domains;
  if (domain === undefined) throw new Error('There is no domain.');
  const pageAt = (gfn: number) =>
    pageOf(hypervisor, domain.p2m.lookup(gfn as Gfn).mfn ?? (0 as Mfn));
  const store = pageAt(XENSTORE_GFN);
  const console = pageAt(CONSOLE_GFN);
  const send = (port: number): number =>
    call(hypervisor, domain, 32, [4, ARGUMENT], [[0, 4, port]]);
  return {
    hypervisor,
    domain,
    console,
    send,
    xl: (command: string) => runXl(hypervisor, command),
    /** Sends a message to xenstore and an event; all that has come then, as type and payload. */
    ask(type: number, payload: string): (readonly [number, string])[] {
      const bytes = encodeMessage({ type, request: 1, transaction: 0, payload });
      const producer = readWord(store, 0x804);
      bytes.forEach((byte, at) => {
        store.bytes[(producer + at) % 1024] = byte;
      });
      writeWord(store, 0x804, producer + bytes.length);
      send(STORE_PORT);
      return this.receive();
    },
    receive(): (readonly [number, string])[] {
      const found: (readonly [number, string])[] = [];
      const consumer = readWord(store, 0x808);
      const length = readWord(store, 0x80c) - consumer;
      let bytes = Uint8Array.from(
        { length },
        (_, at) => store.bytes[0x400 + ((consumer + at) % 1024)] ?? 0,
      );
      writeWord(store, 0x808, consumer + length);
      for (let one = decodeMessage(bytes); one !== undefined; one = decodeMessage(bytes)) {
        found.push([one.type, one.payload]);
        bytes = bytes.slice(16 + one.payload.length);
      }
      return found;
    },
  };
};

test('a new domain finds itself in xenstore', () => {
  const guest = build();

  expect(guest.ask(MESSAGE_TYPES.read, joinTexts('domid'))).toEqual([[MESSAGE_TYPES.read, '1']]);
  expect(guest.ask(MESSAGE_TYPES.read, joinTexts('memory/target'))).toEqual([
    [MESSAGE_TYPES.read, '4096'],
  ]);
  expect(guest.ask(MESSAGE_TYPES.read, joinTexts('console/ring-ref'))).toEqual([
    [MESSAGE_TYPES.read, `${CONSOLE_GFN}`],
  ]);
  expect(guest.ask(MESSAGE_TYPES.write, `${joinTexts('memory/target')}1`)).toEqual([
    [MESSAGE_TYPES.error, 'EACCES\0'],
  ]);
  expect(guest.ask(MESSAGE_TYPES.write, `${joinTexts('control/feature-poweroff')}1`)).toEqual([
    [MESSAGE_TYPES.write, 'OK\0'],
  ]);
});

test('xl mem-set changes the target; the watch of the balloon driver fires, with an event', () => {
  const guest = build();
  const { hypervisor, domain, xl } = guest;
  guest.ask(MESSAGE_TYPES.watch, joinTexts('memory/target', 'balloon'));
  pageOf(hypervisor, domain.sharedInfo).bytes.fill(0, 0x800, 0x808);

  expect(xl('xl mem-set 1 3')).toEqual({ ok: true, text: '' });
  expect(isPending(hypervisor, domain, STORE_PORT)).toBe(true);
  expect(guest.receive()).toEqual([
    [MESSAGE_TYPES.watchEvent, joinTexts('memory/target', 'balloon')],
  ]);
  expect(guest.ask(MESSAGE_TYPES.read, joinTexts('memory/target'))).toEqual([
    [MESSAGE_TYPES.read, '3072'],
  ]);
  expect(domain.targetPages).toBe(768);
  expect(xl('mem-set 1 5')).toMatchObject({
    ok: false,
    text: expect.stringContaining('memory_dynamic_max must be less than or equal'),
  });
  expect(xl('mem-max 1 2').ok).toBe(false);
  expect(xl('mem-max 1 8').ok).toBe(true);
  expect(domain.maximumPages).toBe(2048);
});

test('xl shutdown asks the guest, which answers by clearing the node', () => {
  const guest = build();

  expect(guest.xl('shutdown test0')).toEqual({ ok: true, text: 'Shutting down domain 1\n' });
  expect(guest.ask(MESSAGE_TYPES.read, joinTexts('control/shutdown'))).toEqual([
    [MESSAGE_TYPES.read, 'poweroff'],
  ]);
  expect(guest.ask(MESSAGE_TYPES.write, joinTexts('control/shutdown'))).toEqual([
    [MESSAGE_TYPES.write, 'OK\0'],
  ]);
  expect(guest.xl('xenstore-read /local/domain/1/control/shutdown')).toEqual({
    ok: true,
    text: '\n',
  });
});

test('the console prints what is in the ring, and is typed on', () => {
  const { console, domain, hypervisor, send, xl } = build();
  const text = 'Hello, console!\n';
  for (let at = 0; at < text.length; at += 1) console.bytes[0x400 + at] = text.charCodeAt(at);
  writeWord(console, 0xc0c, text.length);
  send(CONSOLE_PORT);

  expect(domain.consoleText).toBe(text);
  expect(readWord(console, 0xc08)).toBe(text.length);
  expect(xl('console 1')).toEqual({ ok: true, text });
  expect(xl('console 1 ls  -l')).toEqual({ ok: true, text: '' });
  expect(String.fromCharCode(...console.bytes.subarray(0, readWord(console, 0xc04)))).toBe(
    'ls  -l\r',
  );
  expect(isPending(hypervisor, domain, CONSOLE_PORT)).toBe(true);
  // CONSOLEIO_read takes what is left in the ring.
  expect(call(hypervisor, domain, 18, [1, 4, 0x3000])).toBe(4);
  expect(readWord(console, 0xc00)).toBe(4);
});

test('more is typed than the ring holds: it waits for room', () => {
  const { console, domain, hypervisor, send } = build();
  const typed = Uint8Array.from({ length: 3000 }, (_, at) => at & 0xff);
  hypervisor.dom0?.type(domain, typed);
  const read: number[] = [];
  for (let round = 0; round < 10 && read.length < 3000; round += 1) {
    const consumer = readWord(console, 0xc00);
    const producer = readWord(console, 0xc04);
    for (let at = consumer; at < producer; at += 1) read.push(console.bytes[at % 1024] ?? 0);
    writeWord(console, 0xc00, producer);
    send(CONSOLE_PORT);
  }

  expect(read).toEqual([...typed]);
});

test('the commands of xenstore show, change and remove nodes', () => {
  const { xl } = build();

  expect(xl('xenstore-write /tool/a one /tool/b two').ok).toBe(true);
  expect(xl('xenstore-read /tool/a /tool/b').text).toBe('one\ntwo\n');
  expect(xl('xenstore-ls /tool').text).toBe('a = "one"\nb = "two"\n');
  expect(xl('xenstore-ls -p /local/domain/1/store').text).toBe(
    `port = "1"   (n0,r1)\nring-ref = "${XENSTORE_GFN}"   (n0,r1)\n`,
  );
  expect(xl('xenstore-rm /tool/a').ok).toBe(true);
  expect(xl('xenstore-read /tool/a')).toEqual({
    ok: false,
    text: "xenstore-read: couldn't read path /tool/a\n",
  });
  expect(xl('xenstore-ls /none').ok).toBe(false);
});

test('a domain that is destroyed leaves nothing: no nodes, ports, mappings or frames', () => {
  const { hypervisor, domain, xl } = build();
  const own = (): number => hypervisor.frames.owners.filter((owner) => owner === 1).length;

  expect(own()).toBeGreaterThan(1000);
  expect(xl('destroy 1')).toEqual({ ok: true, text: '' });
  expect(own()).toBe(0);
  expect(hypervisor.frames.held()).toEqual([]);
  expect(xl('xenstore-ls /local/domain/1').ok).toBe(false);
  expect(hypervisor.dom0?.domain.channels.size).toBe(0);
  expect(hypervisor.dom0?.domain.grants.mappings.size).toBe(0);
  expect(domain.channels.size).toBe(0);
  expect(xl('destroy 0').ok).toBe(false);
});
