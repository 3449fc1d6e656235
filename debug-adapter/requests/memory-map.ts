/** hyperstep/memoryMap: what every machine frame is used as, as runs of equal frames. */
import { FRAME_KINDS, NO_DOMAIN, toBase64 } from '../../emulator/index.ts';
import { KIND_WORDS, ownerText } from '../frame-kinds.ts';
import type { MemoryMapResponse } from '../protocol.ts';
import { defineRequest } from './request.ts';

export const memoryMap = defineRequest<unknown, MemoryMapResponse>({
  command: 'hyperstep/memoryMap',
  handle(session) {
    const { machine } = session.debuggee;
    const { kinds, domains } = machine.memoryMap();
    const indexes = new Map<number, number>();
    const counts: number[] = [];
    const runs = createNumbers();
    for (let first = 0; first < kinds.length; ) {
      const kind = kinds[first] ?? 0;
      const domain = domains[first] ?? NO_DOMAIN;
      let end = first + 1;
      while (end < kinds.length && kinds[end] === kind && domains[end] === domain) end += 1;
      const key = kind * 2 ** 16 + domain;
      const index = indexes.get(key) ?? indexes.size;
      indexes.set(key, index);
      counts[index] = (counts[index] ?? 0) + end - first;
      runs.add(index);
      runs.add(end - first);
      first = end;
    }
    const states = [...indexes.keys()].map((key, index) => {
      const kind = FRAME_KINDS[Math.floor(key / 2 ** 16)] ?? 'free';
      const domain = key % 2 ** 16 === NO_DOMAIN ? undefined : key % 2 ** 16;
      return {
        kind,
        ...KIND_WORDS[kind],
        ...(domain === undefined ? {} : { domain }),
        owner: ownerText(machine, kind, domain),
        count: counts[index] ?? 0,
      };
    });
    return {
      frames: kinds.length,
      states,
      runs: toBase64(runs.bytes()),
      isRunning: session.isRunning,
    };
  },
});

/** Unsigned numbers in groups of 7 bits, the lowest first. */
const createNumbers = (): { add(value: number): void; bytes(): Uint8Array } => {
  let bytes = new Uint8Array(1024);
  let length = 0;
  return {
    add(value) {
      if (length + 5 > bytes.length) {
        const larger = new Uint8Array(bytes.length * 2);
        larger.set(bytes);
        bytes = larger;
      }
      let rest = value;
      for (; rest >= 0x80; rest >>>= 7) {
        bytes[length] = (rest & 0x7f) | 0x80;
        length += 1;
      }
      bytes[length] = rest;
      length += 1;
    },
    bytes: () => bytes.subarray(0, length),
  };
};
