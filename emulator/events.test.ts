import { expect, test } from 'vitest';
import { type ConsoleEvent, EventStream } from './events.ts';

const said = (text: string): ConsoleEvent => ({
  kind: 'console',
  text,
  domain: 1,
  vcpu: 0,
  retired: 0,
  timeNs: 0,
  rip: 0n,
});

test('nobody wants an event that nobody listens to', () => {
  const stream = new EventStream();

  expect(stream.wants('console')).toBe(false);
  expect(stream.emit(said('x'))).toBeUndefined();
});

test('a listener hears its kinds until it ends, and may stop the machine', () => {
  const stream = new EventStream();
  const heard: string[] = [];
  const end = stream.subscribe(['console'], (event) => {
    if (event.kind === 'console') heard.push(event.text);
    return 'stop';
  });

  expect(stream.emit(said('a'))).toBe('stop');
  end();
  expect(stream.emit(said('b'))).toBeUndefined();
  expect(heard).toEqual(['a']);
  expect(stream.wants('console')).toBe(false);
});

test('every listener hears an event that one of them stops at', () => {
  const stream = new EventStream();
  let heard = 0;
  stream.subscribe(['console', 'domain'], () => 'stop');
  stream.subscribe(['console'], () => {
    heard += 1;
    return undefined;
  });

  expect(stream.emit(said('a'))).toBe('stop');
  expect(heard).toBe(1);
});
